"""MOOCCubeX's user.json: one learner a line, enrolments as parallel lists.

`{"id": "U_1", "course_order": [682129, ...], "enroll_time": ["2019-10-12 10:31:55", ...], ...}`
There are no sessions of study in it: a learner's enrolments are one history.
"""

import codecs
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams
from mooc_maml.sources.encodings import has_no_text
from mooc_maml.sources.events import (
    BATCH_ROWS,
    MAX_ID,
    NO_TEXT,
    TOO_LONG,
    WHOLE_HISTORY,
    ReadReport,
    all_lost,
    drop_bad,
    is_empty,
    nulls,
    shown,
)
from mooc_maml.sources.ids import BLANKS, canonical, trimmed
from mooc_maml.sources.json_text import checked, load_leniently, load_line, values_of
from mooc_maml.sources.numbers import Ways
from mooc_maml.sources.opening import open_raw
from mooc_maml.sources.time_words import looks_like
from mooc_maml.sources.times import parse_iso

Row = tuple[str, str | None, str | None, int, int]  # learner, course, time, line, number in it
_KEYS = ("id", "course_order", "enroll_time")
_MAX_LINE = 1 << 28  # bytes; a learner's line is a thousandth of it
_EXACT = 2**53  # floats from here on pass over whole numbers
LEARNERS = "learners"  # the unit of lines
_OUTSIDE = b" \t\r\n\v\f\0\x1a\x1e"  # white space, and what some tools put between or behind lines
_NO_ENROLMENT = "learners without an enrolment left out"
_ADVICE = (
    "A learner seems to take several lines. Write each on one, for example with "
    "`jq -c 'if type == \"array\" then .[] else . end' FILE > FILE.jsonl`"
)


def read_events(
    files: Sequence[Path], data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    """Yield every enrolment as one event; `data.event_prefixes` does not apply.

    Raises:
        UserError: a packed file is cut off or damaged, or a line has no end.
    """
    for path in files:
        rows: list[Row] = []
        with open_raw(path, data.encoding, report) as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                if len(line) == _MAX_LINE:
                    raise UserError(
                        f"{shown(path)}: line {number} is longer than {_MAX_LINE >> 20} MB; "
                        "expected one learner a line (JSON lines)"
                    )
                for part in _parts(line):
                    rows += _enrolments(part, number, path, report)
                    number += part.endswith(b"\r")
                if len(rows) >= BATCH_ROWS:
                    yield _batch(rows, path, report)
                    rows = []
        if rows:
            yield _batch(rows, path, report)


def _parts(line: bytes) -> list[bytes]:
    """A line, or those that lone carriage returns make of it unless they stand in a text."""
    if line.find(b"\r", 0, -2) < 0:
        return [line]
    try:
        load_leniently(line, _KEYS)
    except ValueError:
        return line.replace(b"\r\n", b"\n").splitlines(keepends=True)
    return [line]


def _enrolments(line: bytes, number: int, path: Path, report: ReadReport) -> list[Row]:
    """The enrolments of the learner of a line; of all, where it holds several."""
    line = line.strip(_OUTSIDE).removeprefix(codecs.BOM_UTF8).strip(_OUTSIDE).removesuffix(b",")
    if line in (b"", b"[", b"]"):  # of an array with a learner a line
        return []
    try:
        try:
            rows = _rows(load_line(line, _KEYS), number)
        except _InexactError:  # a whole number that became a float
            rows = _rows(load_leniently(line, _KEYS), number)
    except ValueError as error:
        return _several(line, str(error), number, path, report)
    report.containers[LEARNERS] += 1
    if not rows:
        report.note(path, _NO_ENROLMENT)
    return rows


def _several(line: bytes, fault: str, number: int, path: Path, report: ReadReport) -> list[Row]:
    """The enrolments of all learners of a line that is not one: an array, or one behind the other.

    What cannot be read is as many lost learners as it names the key of their courses, at least one.
    """
    values, rest = values_of(line)
    if not any(isinstance(value, dict) and _KEYS[1] in value for value in values):
        values, rest = [], line.decode()
    rows: list[Row] = []
    for value in values:
        report.containers[LEARNERS] += 1
        try:
            rows += (found := _rows(checked(value, _KEYS), number))
        except ValueError as error:
            report.add_bad(path, f"line {number}", str(error), unit=LEARNERS)
        else:
            report.note(path, _NO_ENROLMENT, not found)
    if rest:
        lost = max(1, rest.count(f'"{_KEYS[1]}"'))
        report.containers[LEARNERS] += lost
        report.add_bad(path, f"line {number}", fault, lost, LEARNERS)
    if line == b"{":
        report.advice[_ADVICE] = None
    return rows


class _InexactError(Exception):
    """A number is a float that may stand for several whole numbers."""


def _rows(user: Any, number: int) -> list[Row]:
    """The enrolments of one learner.

    Raises:
        ValueError: it is no learner with two lists of one length.
    """
    if reason := _fault(user):
        raise ValueError(reason)
    learner = _text(user["id"]) or ""
    pairs = zip(user["course_order"], user["enroll_time"], strict=True)
    return [
        (
            learner,
            str(course) if type(course) is int else _text(course),
            time if type(time) is str else _text(time),
            number,
            index,
        )
        for index, (course, time) in enumerate(pairs, start=1)
    ]


def _fault(user: Any) -> str:
    if not isinstance(user, dict):
        found = "; found an array" * isinstance(user, list)
        return f"expected an object with id, course_order and enroll_time{found}"
    learner = (_text(user.get("id")) or "").strip(BLANKS)
    if not learner:
        return "no id"
    if NO_TEXT in learner:
        return "bytes that are no text in the learner's id"
    if len(learner) > MAX_ID:
        return TOO_LONG
    courses, times = user.get("course_order"), user.get("enroll_time")
    if not isinstance(courses, list) or not isinstance(times, list):
        return "expected course_order and enroll_time, two lists"
    if len(courses) != len(times):
        return "course_order and enroll_time are not of one length"
    return ""


def _text(value: Any) -> str | None:
    """An id, or a time in numbers, as text; None for what is neither text nor number."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        if abs(value) >= _EXACT and value.is_integer():
            raise _InexactError
        return canonical(value)
    if isinstance(value, Decimal):
        return canonical(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else None


def _batch(rows: list[Row], path: Path, report: ReadReport) -> pa.RecordBatch:
    learner, course, time, line, number = zip(*rows, strict=True)
    ways: Ways = Ways()
    columns = {
        "learner": trimmed(pa.array(learner, pa.string()), "learners' ids", path, report),
        "course": trimmed(pa.array(course, pa.string()), "courses' ids", path, report),
        "event": pa.nulls(len(rows), pa.string()),
        "time": parse_iso(pa.array(time, pa.string()), ways),
        "session": pa.array([WHOLE_HISTORY] * len(rows), pa.string()),
    }
    for way, count in ways.items():
        report.note(path, f"times read as {way}", count)
    no_time = "the time is none"
    problems = [
        (is_empty(columns["course"]), "no course id"),
        (is_empty(columns["learner"]), "no id"),
        (has_no_text(columns["course"]), "bytes that are no text in the course's id"),
        (nulls(columns["time"]), no_time),
    ]

    lost: list[int] = []

    def lose(row: int, reason: str) -> None:
        lost.append(row)
        if not report.wants_examples:
            return report.add_bad(path, "", reason)
        place, hint = f"line {line[row]}, enrolment {number[row]}", ""
        if sum(n == 1 for at, n in zip(line, number, strict=True) if at == line[row]) > 1:
            place = f"line {line[row]}, learner {shown(learner[row], 40)}, enrolment {number[row]}"
        if reason == no_time and time[row] is not None:
            place += f", time {shown(repr(time[row]), 40)}"
            hint = looks_like(time[row], None)
        return report.add_bad(path, place, reason, hint=hint)

    batch = drop_bad(columns, problems, report, lose)
    if lost:  # a learner's rows are in one batch
        report.bad_containers[LEARNERS] += all_lost(np.cumsum(np.array(number) == 1) - 1, lost)
    return batch
