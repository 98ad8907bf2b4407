"""Learners from a command line, a file or standard input; loads no PyTorch."""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mooc_maml.common.errors import UserError

_COLUMNS = "the columns learner, course and, where there are several, session"
_OBJECT = '{"learner": "a", "sessions": [["c1", "c2"], ["c3"]]} or with "courses": ["c1", "c2"]'
_MOST_BYTES = 2_000_000_000


class Asked(NamedTuple):
    """Learners and what they opened: names, and for each sessions of course ids, oldest first."""

    names: list[str]
    learners: list[list[list[str]]]


def from_words(courses: str | None, sessions: str | None) -> Asked:
    """One learner, from `--courses a,b,c` or `--sessions 'a,b;c,d'`.

    Raises:
        UserError: both are given.
    """
    if courses is not None and sessions is not None:
        raise UserError("--courses and --sessions: give one of them; --sessions 'a,b;c,d' has two")
    parts = [courses or ""] if sessions is None else sessions.split(";")
    found = [[id.strip() for id in part.split(",") if id.strip()] for part in parts]
    return Asked(["you"], [[own for own in found if own]])


def read_asked(place: str) -> Asked:
    """Learners from a file, or from standard input if the place is `-`.

    CSV (with a header) and Parquet have a row a course, in order of time; JSONL a line a learner.
    Which of them it is, the content says.

    Raises:
        UserError: it cannot be read, or is of another form.
    """
    name = "standard input" if place == "-" else place
    content = _bytes(place, name)
    try:
        if content[:4] == b"PAR1":
            return _of_rows(name, _parquet_rows(name, content))
        text = content.decode("utf-8-sig")
        if text.lstrip()[:1] in ("{", "["):
            return _of_lines(name, text)
        return _of_rows(name, _csv_rows(name, text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: {error}; expected CSV (UTF-8), JSONL or Parquet") from None


def read_ids(place: str, option: str) -> list[str]:
    """Course ids of a text file, one a line; of a CSV the first column.

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = _bytes(place, f"{option} {place}").decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{option} {place}: {error}; expected a course id a line") from None
    return [row[0].strip() for row in rows if row and row[0].strip()]


def _bytes(place: str, name: str) -> bytes:
    try:
        if place == "-":
            return sys.stdin.buffer.read()
        path = Path(place)
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{name}: above 2 GB; split it into several files")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{name}: {words}; expected a file that can be read") from None


def _csv_rows(name: str, text: str) -> Iterable[tuple[str, Any, Any, Any]]:
    lines = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    _check_columns(name, lines.fieldnames or ())
    for row in lines:
        place = f"{name}: line {lines.line_num}"
        yield place, row["learner"], row.get("session"), row["course"]


def _parquet_rows(name: str, content: bytes) -> Iterable[tuple[str, Any, Any, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        words = str(error).splitlines()[0]
        raise UserError(f"{name}: no whole Parquet file ({words})") from None
    _check_columns(name, table.column_names)
    session = table["session"].to_pylist() if "session" in table.column_names else []
    rows = zip(table["learner"].to_pylist(), table["course"].to_pylist(), strict=True)
    for number, (learner, course) in enumerate(rows):
        yield f"{name}: row {number + 1}", learner, session[number] if session else None, course


def _check_columns(name: str, found: Sequence[str]) -> None:
    missing = [column for column in ("learner", "course") if column not in found]
    if missing:
        raise UserError(
            f"{name}: no column {' or '.join(missing)} (found {', '.join(map(str, found))[:100]}); "
            f"expected {_COLUMNS}, or JSON lines {_OBJECT}"
        )


def _of_rows(name: str, rows: Iterable[tuple[str, Any, Any, Any]]) -> Asked:
    """Rows (place, learner, session, course) in order of time, whatever stands between."""
    found: dict[str, dict[str, list[str]]] = {}
    for place, learner, session, course in rows:
        if learner in (None, "") or course in (None, ""):
            raise UserError(f"{place}: learner or course is empty; expected {_COLUMNS}")
        found.setdefault(str(learner), {}).setdefault(str(session), []).append(str(course))
    if not found:
        raise UserError(f"{name}: no rows; expected {_COLUMNS}")
    return Asked(list(found), [list(sessions.values()) for sessions in found.values()])


def _of_lines(name: str, text: str) -> Asked:
    """JSON lines; a list in place of an object is taken for its sessions or its courses."""
    asked = Asked([], [])
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{name}: line {number}"
        try:
            content = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"{place}: not valid JSON ({error}); expected {_OBJECT}") from None
        if isinstance(content, list):
            content = {
                "sessions" if content and isinstance(content[0], list) else "courses": content
            }
        if not isinstance(content, dict) or not {"sessions", "courses"} & set(content):
            raise UserError(f"{place}: found {line.strip()[:40]}, expected {_OBJECT}")
        sessions = content["sessions"] if "sessions" in content else [content["courses"]]
        asked.names.append(str(content.get("learner", number)))
        asked.learners.append(_checked(place, sessions))
    return asked


def _checked(place: str, sessions: Any) -> list[list[str]]:
    if not isinstance(sessions, list) or not all(isinstance(own, list) for own in sessions):
        raise UserError(f"{place}: sessions are no list of lists; expected {_OBJECT}")
    if any(type(id) not in (str, int) for own in sessions for id in own):
        raise UserError(f"{place}: a course is no text; expected {_OBJECT}")
    return [[str(id) for id in own] for own in sessions]
