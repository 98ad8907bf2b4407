"""The event table that every source gives, and the account of what was read."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams

EVENT_SCHEMA = pa.schema(
    [
        pa.field("learner", pa.string(), nullable=False),
        pa.field("course", pa.string(), nullable=False),
        pa.field("event", pa.string()),  # null: the source has no kinds of event
        pa.field("time", pa.timestamp("us"), nullable=False),  # UTC or local, as the source has it
        pa.field("session", pa.string()),  # null: the source has no sessions of its own
    ]
)
WHOLE_HISTORY = "history"  # the one session of each learner of a source without a clock
BATCH_ROWS = 100_000
MAX_EXAMPLES = 20
MAX_ID = 1_000  # characters; a longer one is damage, and would be repeated with every event
TOO_LONG = f"an id is longer than {MAX_ID:,} characters"
NO_TEXT = "\uffff"  # stands for bytes that are no text; no text holds this code point
EVENTS = "raw records"  # the unit of most losses: single events
_MAX_PLACE = 300  # characters of a place that are shown


def _nobody(count: int) -> None:
    """Tell nobody."""


@dataclass
class ReadReport:
    """What became of every raw record: records = kept + other_kinds + bad.

    Attributes:
        folder: raw files are named relative to it, so that a report reads the same anywhere.
        on_bytes: told the number of raw bytes each time some are read.
        bad: reason -> unreadable records, of any unit.
        containers: unit -> how many were met of what holds several events, good and bad; a learner
            of a file with a learner a line, say.
        bad_containers: unit -> how many of them are unreadable, or have nothing readable in them.
        bad_wholes: those that are unreadable, all units together; in `bad` too.
        notes: (what, file) -> how often something was read that needs a word, and is no loss.
        advice: what to do against some of the bad records, in words.
        examples: the first bad records: file, place in it, reason.
    """

    folder: Path | None = None
    on_bytes: Callable[[int], object] = _nobody
    kept: int = 0
    other_kinds: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    containers: Counter[str] = field(default_factory=Counter)
    bad_containers: Counter[str] = field(default_factory=Counter)
    bad_wholes: int = 0
    notes: Counter[tuple[str, str]] = field(default_factory=Counter)
    advice: dict[str, None] = field(default_factory=dict)  # in order, each once
    examples: list[dict[str, str]] = field(default_factory=list)

    @property
    def bad_records(self) -> int:
        """Number of unreadable records."""
        return self.bad.total()

    @property
    def records(self) -> int:
        """Number of raw records seen."""
        return self.kept + self.other_kinds + self.bad_records

    @property
    def wants_examples(self) -> bool:
        """Whether places of bad records are still noted."""
        return len(self.examples) < MAX_EXAMPLES

    def name(self, path: Path) -> str:
        """How messages and reports name a raw file."""
        inside = self.folder is not None and path.is_relative_to(self.folder)
        return shown(path.relative_to(self.folder) if inside and self.folder else path.name)

    def add_bad(
        self,
        path: Path,
        place: str,
        reason: str,
        count: int = 1,
        unit: str = EVENTS,
        hint: str = "",
    ) -> None:
        """Count one unreadable record, or several in one place.

        Args:
            path: the raw file.
            place: where in it.
            reason: why; one of few.
            count: how many records.
            unit: what they are; whatever is not EVENTS is counted in `containers` by the source.
            hint: what more is said in the example.
        """
        self.bad[reason] += count
        if unit != EVENTS:
            self.bad_containers[unit] += count
            self.bad_wholes += count
        if self.wants_examples:
            example = {"file": self.name(path), "place": shortened(place), "reason": reason + hint}
            self.examples.append(example)

    def note(self, path: Path, what: str, count: int = 1) -> None:
        """Count what needs a word: "times read as ...", 18 of them."""
        if count:
            self.notes[what, self.name(path)] += count

    def lines(self) -> list[str]:
        """The notes, a line for each thing: in which files, what, how often."""
        whats: dict[str, list[str]] = {}
        for what, file in self.notes:
            whats.setdefault(what, []).append(file)
        return [
            f"{files[0]}{f' and {len(files) - 1:,} more files' if files[1:] else ''}: "
            f"{what}: {sum(self.notes[what, file] for file in files):,}"
            for what, files in whats.items()
        ]

    def add(self, other: "ReadReport") -> None:
        """Count what another file's report counted; call in the order of the files."""
        self.kept += other.kept
        self.other_kinds += other.other_kinds
        self.bad.update(other.bad)
        self.containers.update(other.containers)
        self.bad_containers.update(other.bad_containers)
        self.bad_wholes += other.bad_wholes
        self.notes.update(other.notes)
        self.advice |= other.advice
        self.examples += other.examples[: MAX_EXAMPLES - len(self.examples)]

    def without_listener(self) -> "ReadReport":
        """The same for another process, which `on_bytes` cannot be sent to."""
        return replace(self, on_bytes=_nobody)

    def check(self, max_bad_share: float) -> None:
        """Stop when too much of what was read is unreadable, each unit for itself.

        A learner who is lost counts among the learners: events of others do not make it less.

        Raises:
            UserError: the share of bad records of a unit is above `max_bad_share`.
        """
        limit = Fraction(repr(max_bad_share))  # 29 of 100 are 0.29, but 0.29 * 100 < 29
        wholes = self.bad_wholes
        counts = {EVENTS: (self.bad_records - wholes, self.records - wholes)}
        counts |= {unit: (self.bad_containers[unit], n) for unit, n in self.containers.items()}
        for unit, (bad, met) in counts.items():
            if bad > limit * met:
                raise UserError(
                    f"{bad:,} of {met:,} {unit} cannot be read, more than data.max_bad_records = "
                    f"{max_bad_share:g} allows; check data.source and the columns in data.table, "
                    "mend the files, or raise the limit. The first ones:\n"
                    + "\n".join([self.describe_examples(), *self.advice])
                )

    def describe_examples(self, count: int = 5) -> str:
        """The first bad records, one a line."""
        return "\n".join(
            f"  {e['file']}: {e['place']}: {e['reason']}" for e in self.examples[:count]
        )


def shown(name: object, most: int = 0) -> str:
    """A file's name, or text from outside, as a message shows it: no control or odd bytes.

    Args:
        name: a path or text; a name that is no UTF-8 holds surrogates, which nothing can print.
        most: characters shown; 0: all.
    """
    text = str(name).replace(NO_TEXT, "\ufffd")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return text if not most or len(text) <= most else f"{text[:most]}…"


def shortened(place: str) -> str:
    """A place whose ids may be of any length, as it is shown."""
    return place if len(place) <= _MAX_PLACE else f"{place[:_MAX_PLACE]}…"


def _escaped(character: str) -> str:
    code = ord(character)
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # of a name that is no UTF-8
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"


class Reader(Protocol):
    """Reads raw files in constant memory into batches of EVENT_SCHEMA."""

    def __call__(
        self, files: Sequence[Path], data: DataParams, report: ReadReport
    ) -> Iterator[pa.RecordBatch]:
        """Yield batches; count every record in `report`."""


def drop_bad(
    columns: dict[str, pa.Array],
    problems: Iterable[tuple[NDArray[np.bool_], str]],
    report: ReadReport,
    lose: Callable[[int, str], object],
) -> pa.RecordBatch:
    """Make a batch of the rows without a problem; count the others under their first problem.

    Args:
        columns: the columns of EVENT_SCHEMA, each [rows]; null where unreadable.
        problems: (bool [rows], reason) for each kind of problem.
        report: counts the rows without one.
        lose: told row and reason of each of the others, to count it.
    """
    first = np.full(len(columns["time"]), -1)  # [rows], which problem, -1: none
    reasons = []
    too_long = np.zeros(len(first), bool)
    for name in ("learner", "course", "session"):
        too_long |= _too_long(columns[name])
    for number, (faulty, reason) in enumerate([*problems, (too_long, TOO_LONG)]):
        first[faulty & (first < 0)] = number
        reasons.append(reason)
    good = first < 0
    report.kept += int(good.sum())
    arrays: list[Any] = [columns[name] for name in EVENT_SCHEMA.names]
    if not good.all():
        for row in np.flatnonzero(~good):
            lose(int(row), reasons[first[row]])
        arrays = [column.filter(pa.array(good)) for column in arrays]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_SCHEMA)


def all_lost(container: NDArray[np.int64], lost: Iterable[int]) -> int:
    """How many containers have rows and lost all of them.

    Args:
        container: [rows], the number of each row's container.
        lost: rows.
    """
    rows = np.fromiter(lost, np.int64)
    if not len(rows):
        return 0
    size = int(container.max()) + 1
    met, gone = np.bincount(container, minlength=size), np.bincount(container[rows], minlength=size)
    return int(((met > 0) & (met == gone)).sum())


def has(texts: pa.Array, part: str) -> NDArray[np.bool_]:
    """bool [rows]: where a text has this part."""
    return _is_true(pc.match_substring(texts, part))


def _too_long(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where an id has more than MAX_ID characters, and so at least as many bytes."""
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest <= MAX_ID:
        return np.zeros(len(column), bool)
    return _is_true(pc.greater(pc.utf8_length(column), MAX_ID))


def _is_true(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a column of truth values holds true, and not nothing."""
    mask: NDArray[np.bool_] = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return mask


def nulls(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a column holds nothing."""
    mask: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return mask


def is_empty(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a text is none or has no character."""
    mask: NDArray[np.bool_] = pc.fill_null(pc.equal(pc.binary_length(column), 0), True).to_numpy(
        zero_copy_only=False
    )
    return mask
