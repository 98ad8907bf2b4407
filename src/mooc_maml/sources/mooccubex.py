"""MOOCCubeX's user.json: one learner a line, enrolments as parallel lists.

`{"id": "U_1", "course_order": [682129, ...], "enroll_time": ["2019-10-12 10:31:55", ...], ...}`
There are no sessions of study in it: a learner's enrolments are one history.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from mooc_maml.settings.data import DataParams
from mooc_maml.sources.events import BATCH_ROWS, WHOLE_HISTORY, ReadReport, drop_bad, nulls
from mooc_maml.sources.raw_files import open_raw
from mooc_maml.sources.times import parse_iso

Row = tuple[str, str | None, str | None, int, int]  # learner, course, time, line, number in it


def read_events(
    files: Sequence[Path], data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    """Yield every enrolment as one event; `data.event_prefixes` does not apply.

    Raises:
        UserError: a packed file is cut off or damaged.
    """
    for path in files:
        rows: list[Row] = []
        with open_raw(path, report.on_bytes) as file:
            for number, line in enumerate(file, start=1):
                rows += _enrolments(line, number, path, report)
                if len(rows) >= BATCH_ROWS:
                    yield _batch(rows, path, report)
                    rows = []
        if rows:
            yield _batch(rows, path, report)


def _enrolments(line: bytes, number: int, path: Path, report: ReadReport) -> list[Row]:
    if not line.strip():
        return []
    try:
        user = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        report.add_bad(path, f"line {number}", f"no JSON object: {error.msg}")
        return []
    reason = _fault(user)
    if reason:
        report.add_bad(path, f"line {number}", reason)
        return []
    pairs = zip(user["course_order"], user["enroll_time"], strict=True)
    return [
        (str(user["id"]), _id(course), time if isinstance(time, str) else None, number, index)
        for index, (course, time) in enumerate(pairs, start=1)
    ]


def _fault(user: Any) -> str:
    if not isinstance(user, dict):
        return "expected an object with id, course_order and enroll_time"
    if not _id(user.get("id")):
        return "no id"
    courses, times = user.get("course_order"), user.get("enroll_time")
    if not isinstance(courses, list) or not isinstance(times, list):
        return "expected course_order and enroll_time, two lists"
    if len(courses) != len(times):
        return "course_order and enroll_time are not of one length"
    return ""


def _id(value: Any) -> str | None:
    """An id as text; None for what is none."""
    usable = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) or None if usable else None


def _batch(rows: list[Row], path: Path, report: ReadReport) -> pa.RecordBatch:
    learner, course, time, line, number = zip(*rows, strict=True)
    columns = {
        "learner": pa.array(learner, pa.string()),
        "course": pa.array(course, pa.string()),
        "event": pa.nulls(len(rows), pa.string()),
        "time": parse_iso(pa.array(time, pa.string())),
        "session": pa.array([WHOLE_HISTORY] * len(rows), pa.string()),
    }
    problems = [
        (nulls(columns["course"]), "no course id"),
        (nulls(columns["time"]), "the time is none"),
    ]

    def place(row: int) -> str:
        return f"line {line[row]}, enrolment {number[row]}"

    return drop_bad(columns, problems, report, path, place)
