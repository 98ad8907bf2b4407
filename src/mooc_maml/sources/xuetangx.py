"""XuetangX raw user activity: `[[course, {learner: {session: [[event, time], ...]}}], ...]`.

A file is walked token by token, so memory stays the same for any size of file, course or session.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
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
    NO_TEXT,
    TOO_LONG,
    ReadReport,
    all_lost,
    drop_bad,
    is_empty,
    nulls,
    shortened,
    shown,
)
from mooc_maml.sources.ids import BLANKS, canonical, trimmed
from mooc_maml.sources.json_text import mended_blocks
from mooc_maml.sources.numbers import Ways
from mooc_maml.sources.opening import open_raw
from mooc_maml.sources.streams import Blocks
from mooc_maml.sources.time_words import looks_like
from mooc_maml.sources.times import parse_iso

_SHAPE = "[[course, {learner: {session: [[event, time], ...]}}], ...]"
COURSES, LEARNERS, SESSIONS = "course entries", "learners of a course", "sessions of a course"
_OPENING = ("start_array", "start_map")
_IDS = ("courses'", "learners'", "sessions'")
Token = tuple[str, Any]


def read_events(
    files: Sequence[Path], data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    """Yield the events whose kind starts with one of `data.event_prefixes`.

    Raises:
        UserError: a file is no JSON of this nesting, or is cut off.
    """
    for path in files:
        with open_raw(path, data.encoding, report) as file:
            text = _Counted(mended_blocks(file))
            # use_float: ijson crashes on whole numbers of more digits than Python reads
            walk = _Walk(ijson.basic_parse(text, buf_size=1 << 18, use_float=True), path, report)
            try:
                yield from _batches(walk, data.event_prefixes)
            except (ijson.JSONError, UnicodeDecodeError) as error:
                raise UserError(
                    f"{shown(path)}: broken JSON within the first {text.read_so_far:,} bytes "
                    f"(unpacked), after {shortened(walk.place)}: {_one_line(error)}; "
                    f"expected {_SHAPE} as one whole; fetch the file again"
                    + "".join(f". {line}" for line in report.advice)
                ) from None


class _Counted(Blocks):
    """Blocks that know how many bytes of them were read."""

    read_so_far = 0

    def read(self, count: int) -> bytes:
        block = super().read(count)
        self.read_so_far += len(block)
        return block


def _one_line(error: Exception) -> str:
    lines = str(error).removeprefix("b'").replace("\\n", "\n").splitlines()
    return shown(lines[0].strip(), 200) if lines else type(error).__name__


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
            raise UserError(f"{shown(self.path)}: expected {_SHAPE}, found no array at the start")
        number = 0
        for token in self.tokens:
            if token[0] != "end_array":
                number += 1
                self.report.containers[COURSES] += 1
                self.place = f"entry {number}"
                yield from self._course(token)

    def _course(self, token: Token) -> Iterator[tuple[str, str, str]]:
        if token[0] != "start_array":
            return self._lose_course("expected [course, {learner: ...}]", [token])
        kind, course = token = next(self.tokens)
        if kind == "number":
            kind, course = "string", canonical(course)
        if kind != "string" or not course:
            rest = [] if kind == "end_array" else chain([token], self._up_to_the_end())
            return self._lose_course("the course id is no text", rest)
        if fault := _fault(course):
            return self._lose_course(fault, self._up_to_the_end())
        self.place = here = f"course {course!r}"
        token = next(self.tokens)
        expected = "expected {learner: {session: ...}}"
        for learner, inner in self._items(token, expected, COURSES, LEARNERS):
            self.place = f"course {course!r}, learner {learner!r}"
            expected = "expected {session: [...]}"
            for session, events in self._items(inner, expected, LEARNERS, SESSIONS):
                self.place = f"course {course!r}, learner {learner!r}, session {session!r}"
                if events[0] == "start_array":
                    yield course, learner, session
                else:
                    self._bad("expected a list of [event, time]", events, SESSIONS)
        if token[0] != "end_array" and (token := next(self.tokens))[0] != "end_array":
            self.place = here
            self._bad("expected no more than [course, {learner: ...}]", token, COURSES)
            self._skip_rest()

    def _items(
        self, token: Token, expected: str, outer: str, inner: str
    ) -> Iterator[tuple[str, Token]]:
        """Yield each key of an object with the first token of its value; both have units."""
        if token[0] != "start_map":
            return self._bad(expected, token, outer)
        here, number = self.place, 0
        for number, (kind, key) in enumerate(self.tokens, start=1):
            if kind == "end_map":
                break
            value = next(self.tokens)
            self.report.containers[inner] += 1
            if fault := _fault(key):
                self.place = f"{here}, key {number}"
                self._bad(fault, value, inner)
            else:
                yield key, value
        self.report.note(self.path, f"{outer} without anything in them", number == 1)

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
                    if second[0] == "number" and (token := next(tokens))[0] == "end_array":
                        yield first[1], canonical(second[1]) or ""
                        continue
                if token[0] != "end_array":
                    self._skip(token)
                    self._skip_rest()
            else:
                self._skip(opening)
            yield None

    def _lose_course(self, reason: str, tokens: Iterable[Token]) -> None:
        """Count a course entry whose course nobody knows, and the learners in its objects.

        Args:
            reason: why it is lost.
            tokens: each the first of one of its values; the walk stands behind it.
        """
        learners = 0
        for token in tokens:
            if token[0] != "start_map":
                self._skip(token)
                continue
            while next(self.tokens)[0] != "end_map":
                value = next(self.tokens)
                learners += value[0] == "start_map"
                self._skip(value)
        self.report.containers[LEARNERS] += learners
        self.report.bad_containers[LEARNERS] += learners
        hint = f"; {learners:,} learners are lost with it" if learners else ""
        self.report.add_bad(self.path, self.place, reason, unit=COURSES, hint=hint)

    def _up_to_the_end(self) -> Iterator[Token]:
        """The first tokens of the values left in the array that is open."""
        while (token := next(self.tokens))[0] != "end_array":
            yield token

    def _bad(self, reason: str, token: Token, unit: str) -> None:
        self.report.add_bad(self.path, self.place, reason, unit=unit)
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


def _fault(key: str) -> str:
    """What is wrong with an id; nothing if it is one."""
    if len(key) > MAX_ID:
        return TOO_LONG
    if NO_TEXT in key:
        return "bytes that are no text in an id"
    return "" if key.strip(BLANKS) else "an id is empty"


class _Pending:
    """Events not yet given out: kind and time each, everything else once a session."""

    def __init__(self, is_continued: bool = False) -> None:
        self.is_continued = is_continued  # whether the first session has begun in an earlier batch
        self.keys: list[tuple[str, str, str]] = []  # (course, learner, session)
        self.key_starts: list[int] = []  # [keys], row where each begins
        self.kinds: list[str] = []  # [rows]
        self.times: list[str] = []  # [rows]
        self.numbers: list[int] = []  # [rows], 1-based within the session

    def start(self, key: tuple[str, str, str]) -> None:
        self.keys.append(key)
        self.key_starts.append(len(self.times))

    def batch(self, walk: _Walk, is_cut: bool = False) -> pa.RecordBatch:
        """The events as a batch; `is_cut`: the last session goes on in the next one."""
        counts = np.diff([*self.key_starts, len(self.times)])
        key_of_row = np.repeat(np.arange(len(self.keys)), counts)
        course, learner, session = (
            trimmed(pa.array(part, pa.string()), f"{what} ids", walk.path, walk.report).take(
                pa.array(key_of_row)
            )
            for part, what in zip(zip(*self.keys, strict=True), _IDS, strict=True)
        )
        ways: Ways = Ways()
        times = parse_iso(pa.array(self.times, pa.string()), ways)
        for way, count in ways.items():
            walk.report.note(walk.path, f"times read as {way}", count)
        columns = {"learner": learner, "course": course, "session": session, "time": times}
        columns["event"] = pa.array(self.kinds, pa.string())

        lost: list[int] = []

        def lose(row: int, reason: str) -> None:
            lost.append(row)
            if not walk.report.wants_examples:
                return walk.report.add_bad(walk.path, "", reason)
            where = "course {!r}, learner {!r}, session {!r}".format(*self.keys[key_of_row[row]])
            place = f"{where}, event {self.numbers[row]}, time {self.times[row][:40]!r}"
            hint = looks_like(self.times[row], None)
            return walk.report.add_bad(walk.path, place, reason, hint=hint)

        empty = is_empty(learner) | is_empty(course) | is_empty(session)
        problems = [(empty, "an id is empty"), (nulls(times), "the time is none")]
        made = drop_bad(columns, problems, walk.report, lose)
        whole = range(int(self.is_continued), len(self.keys) - int(is_cut))
        lost = [row for row in lost if key_of_row[row] in whole]
        walk.report.bad_containers[SESSIONS] += all_lost(key_of_row, lost)
        return made


def _batches(walk: _Walk, prefixes: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    pending = _Pending()
    for key in walk.sessions():
        pending.start(key)
        number = shapeless = 0
        for number, event in enumerate(walk.events(), start=1):
            if event is None:
                place = f"{walk.place}, event {number}"
                walk.report.add_bad(walk.path, place, "expected [event, time], two texts")
                shapeless += 1
            elif prefixes and not event[0].startswith(prefixes):
                walk.report.other_kinds += 1
            else:
                pending.kinds.append(event[0])
                pending.times.append(event[1])
                pending.numbers.append(number)
                if len(pending.times) >= BATCH_ROWS:
                    yield pending.batch(walk, is_cut=True)
                    pending = _Pending(is_continued=True)
                    pending.start(key)
        walk.report.bad_containers[SESSIONS] += 0 < shapeless == number
        walk.report.note(walk.path, f"{SESSIONS} without anything in them", not number)
        if len(pending.keys) >= BATCH_ROWS:  # many sessions without a kept event
            yield pending.batch(walk)
            pending = _Pending()
    if pending.keys:
        yield pending.batch(walk)
