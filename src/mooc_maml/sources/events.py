"""The event table that every source gives, and the account of what was read."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
_MAX_PLACE = 300  # characters of a place that are shown


def _nobody(count: int) -> None:
    """Tell nobody."""


@dataclass
class ReadReport:
    """What became of every raw record: records = kept + other_kinds + bad.

    Attributes:
        folder: raw files are named relative to it, so that a report reads the same anywhere.
        on_bytes: told the number of raw bytes each time some are read.
        examples: the first bad records: file, place in it, reason.
    """

    folder: Path | None = None
    on_bytes: Callable[[int], object] = _nobody
    kept: int = 0
    other_kinds: int = 0
    bad: Counter[str] = field(default_factory=Counter)
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
        return str(path.relative_to(self.folder)) if inside and self.folder else path.name

    def add_bad(self, path: Path, place: str, reason: str, count: int = 1) -> None:
        """Count one unreadable record, or several in one place."""
        self.bad[reason] += count
        if self.wants_examples:
            where = shortened(place)
            self.examples.append({"file": self.name(path), "place": where, "reason": reason})

    def add(self, other: "ReadReport") -> None:
        """Count what another file's report counted; call in the order of the files."""
        self.kept += other.kept
        self.other_kinds += other.other_kinds
        self.bad.update(other.bad)
        self.examples += other.examples[: MAX_EXAMPLES - len(self.examples)]

    def without_listener(self) -> "ReadReport":
        """The same for another process, which `on_bytes` cannot be sent to."""
        return replace(self, on_bytes=_nobody)

    def check(self, max_bad_share: float) -> None:
        """Stop when too much of what was read is unreadable.

        Raises:
            UserError: the share of bad records is above `max_bad_share`.
        """
        if self.bad_records <= max_bad_share * self.records:
            return
        raise UserError(
            f"{self.bad_records:,} of {self.records:,} raw records cannot be read, "
            f"more than data.max_bad_records = {max_bad_share:g} allows; check data.source and "
            f"the columns in data.table, mend the files, or raise the limit. The first ones:\n"
            f"{self.describe_examples()}"
        )

    def describe_examples(self, count: int = 5) -> str:
        """The first bad records, one a line."""
        return "\n".join(
            f"  {e['file']}: {e['place']}: {e['reason']}" for e in self.examples[:count]
        )


def shortened(place: str) -> str:
    """A place whose ids may be of any length, as it is shown."""
    return place if len(place) <= _MAX_PLACE else f"{place[:_MAX_PLACE]}…"


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
    path: Path,
    place: Callable[[int], str],
    lines: Callable[[int], int] = lambda row: 1,
) -> pa.RecordBatch:
    """Make a batch of the rows without a problem; count the others under their first problem.

    Args:
        columns: the columns of EVENT_SCHEMA, each [rows]; null where unreadable.
        problems: (bool [rows], reason) for each kind of problem.
        report: counts both kinds of rows.
        path: the raw file.
        place: row -> where in the file it stands.
        lines: row -> how many records were lost with it.
    """
    first = np.full(len(columns["time"]), -1)  # [rows], which problem, -1: none
    reasons = []
    too_long = np.zeros(len(first), bool)
    for name in ("learner", "course", "session"):
        too_long |= _is_true(pc.greater(pc.utf8_length(columns[name]), MAX_ID))
    for number, (faulty, reason) in enumerate([*problems, (too_long, TOO_LONG)]):
        first[faulty & (first < 0)] = number
        reasons.append(reason)
    for row in np.flatnonzero(first >= 0):
        where = place(int(row)) if report.wants_examples else ""
        report.add_bad(path, where, reasons[first[row]], lines(int(row)))
    good = first < 0
    report.kept += int(good.sum())
    arrays: list[Any] = [columns[name].filter(pa.array(good)) for name in EVENT_SCHEMA.names]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_SCHEMA)


def _is_true(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a column of truth values holds true, and not nothing."""
    mask: NDArray[np.bool_] = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return mask


def nulls(column: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a column holds nothing."""
    mask: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return mask
