"""XuetangX raw user activity: `[[course, {learner: {session: [[event, time], ...]}}], ...]`.

A file is walked token by token, so memory stays the same for any size of file, course or session.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ijson
import numpy as np
import pyarrow as pa

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams
from mooc_maml.sources.events import (
    BATCH_ROWS,
    MAX_ID,
    TOO_LONG,
    ReadReport,
    drop_bad,
    nulls,
    shortened,
)
from mooc_maml.sources.raw_files import open_raw
from mooc_maml.sources.times import parse_iso

_SHAPE = "[[course, {learner: {session: [[event, time], ...]}}], ...]"
_OPENING = ("start_array", "start_map")
Token = tuple[str, Any]


def read_events(
    files: Sequence[Path], data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    """Yield the events whose kind starts with one of `data.event_prefixes`.

    Raises:
        UserError: a file is no JSON of this nesting, or is cut off.
    """
    for path in files:
        with open_raw(path, report.on_bytes) as file:
            # use_float: ijson crashes on whole numbers of more digits than Python reads
            walk = _Walk(ijson.basic_parse(file, buf_size=1 << 18, use_float=True), path, report)
            try:
                yield from _batches(walk, data.event_prefixes)
            except (ijson.JSONError, UnicodeDecodeError) as error:
                raise UserError(
                    f"{path}: broken JSON within the first {file.tell():,} bytes (unpacked), after "
                    f"{shortened(walk.place)}: {_one_line(error)}; fetch the file again"
                ) from None


def _one_line(error: Exception) -> str:
    lines = str(error).removeprefix("b'").replace("\\n", "\n").splitlines()
    return lines[0].strip() if lines else type(error).__name__


class _Walk:
    """Walks one file's tokens; knows where it is; counts what has another shape."""

    def __init__(self, tokens: Iterator[Token], path: Path, report: ReadReport) -> None:
        self.tokens = tokens
        self.path = path
        self.report = report
        self.place = "the start"

    def sessions(self) -> Iterator[tuple[str, str, str]]:
        """Yield (course, learner, session) with the walk standing before the session's events."""
        if next(self.tokens)[0] != "start_array":
            raise UserError(f"{self.path}: expected {_SHAPE}, found no array at the start")
        number = 0
        for token in self.tokens:
            if token[0] != "end_array":
                number += 1
                self.place = f"entry {number}"
                yield from self._course(token)

    def _course(self, token: Token) -> Iterator[tuple[str, str, str]]:
        if token[0] != "start_array":
            return self._bad("expected [course, {learner: ...}]", token)
        kind, course = token = next(self.tokens)
        if kind != "string" or not course:
            self._bad("the course id is no text", token)
            return self._skip_rest() if kind != "end_array" else None
        if len(course) > MAX_ID:
            self._bad(TOO_LONG, token)
            return self._skip_rest()
        self.place = f"course {course!r}"
        token = next(self.tokens)
        for learner, inner in self._items(token, "expected {learner: {session: ...}}"):
            self.place = f"course {course!r}, learner {learner!r}"
            for session, events in self._items(inner, "expected {session: [...]}"):
                self.place = f"course {course!r}, learner {learner!r}, session {session!r}"
                if events[0] == "start_array":
                    yield course, learner, session
                else:
                    self._bad("expected a list of [event, time]", events)
        if token[0] != "end_array" and (token := next(self.tokens))[0] != "end_array":
            self._bad("expected no more than [course, {learner: ...}]", token)
            self._skip_rest()

    def _items(self, token: Token, expected: str) -> Iterator[tuple[str, Token]]:
        """Yield each key of an object with the first token of its value."""
        if token[0] != "start_map":
            return self._bad(expected, token)
        for kind, key in self.tokens:
            if kind == "end_map":
                return
            value = next(self.tokens)
            if 0 < len(key) <= MAX_ID:
                yield key, value
            else:
                self._bad(TOO_LONG if key else "an id is empty", value)

    def events(self) -> Iterator[tuple[str, str] | None]:
        """Yield (kind, time) of each event of the session; None for another shape."""
        tokens = self.tokens
        for opening in tokens:
            if opening[0] == "end_array":
                return
            token = opening
            if opening[0] == "start_array":  # spelt out: half of the time goes by here
                token = first = next(tokens)
                if first[0] == "string":
                    token = second = next(tokens)
                    if second[0] == "string" and (token := next(tokens))[0] == "end_array":
                        yield first[1], second[1]
                        continue
                if token[0] != "end_array":
                    self._skip(token)
                    self._skip_rest()
            else:
                self._skip(opening)
            yield None

    def _bad(self, reason: str, token: Token) -> None:
        self.report.add_bad(self.path, self.place, reason)
        self._skip(token)

    def _skip(self, token: Token) -> None:
        if token[0] in _OPENING:
            self._skip_rest()

    def _skip_rest(self) -> None:
        """Pass over everything up to the end of the array or object that is open."""
        depth = 1
        while depth:
            kind = next(self.tokens)[0]
            depth += (kind in _OPENING) - (kind in ("end_array", "end_map"))


class _Pending:
    """Events not yet given out: kind and time each, everything else once a session."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, str, str]] = []  # (course, learner, session)
        self.key_starts: list[int] = []  # [keys], row where each begins
        self.kinds: list[str] = []  # [rows]
        self.times: list[str] = []  # [rows]
        self.numbers: list[int] = []  # [rows], 1-based within the session

    def start(self, key: tuple[str, str, str]) -> None:
        self.keys.append(key)
        self.key_starts.append(len(self.times))

    def batch(self, walk: _Walk) -> pa.RecordBatch:
        counts = np.diff([*self.key_starts, len(self.times)])
        key_of_row = np.repeat(np.arange(len(self.keys)), counts)
        course, learner, session = (
            pa.array(part, pa.string()).take(pa.array(key_of_row))
            for part in zip(*self.keys, strict=True)
        )
        times = parse_iso(pa.array(self.times, pa.string()))
        columns = {"learner": learner, "course": course, "session": session, "time": times}
        columns["event"] = pa.array(self.kinds, pa.string())

        def place(row: int) -> str:
            where = "course {!r}, learner {!r}, session {!r}".format(*self.keys[key_of_row[row]])
            return f"{where}, event {self.numbers[row]}, time {self.times[row][:40]!r}"

        problems = [(nulls(times), "the time is none")]
        return drop_bad(columns, problems, walk.report, walk.path, place)


def _batches(walk: _Walk, prefixes: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    pending = _Pending()
    for key in walk.sessions():
        pending.start(key)
        for number, event in enumerate(walk.events(), start=1):
            if event is None:
                place = f"{walk.place}, event {number}"
                walk.report.add_bad(walk.path, place, "expected [event, time], two texts")
            elif prefixes and not event[0].startswith(prefixes):
                walk.report.other_kinds += 1
            else:
                pending.kinds.append(event[0])
                pending.times.append(event[1])
                pending.numbers.append(number)
                if len(pending.times) >= BATCH_ROWS:
                    yield pending.batch(walk)
                    pending = _Pending()
                    pending.start(key)
        if len(pending.keys) >= BATCH_ROWS:  # many sessions without a kept event
            yield pending.batch(walk)
            pending = _Pending()
    if pending.keys:
        yield pending.batch(walk)
