"""What results/preprocess.json holds: an account of everything read, kept and dropped."""

import sys

from pydantic import Field

from mooc_maml.common.results import Result


class BadRecord(Result):
    """One record that could not be read."""

    file: str
    place: str
    reason: str


class BadRecords(Result):
    """How many records could not be read, by reason, and the first of them."""

    by_reason: dict[str, int]
    first: list[BadRecord]


class Dropped(Result):
    """Events that were left out, by reason."""

    bad_records: int
    event_kind: int
    duplicates: int
    short_sessions: int


class PreprocessResult(Result):
    """Counts of raw events, sessions and pairs, and hashes of what was read and written.

    `source`: the data source, data.source. `notes`: lines on what needs a word and is no fault,
    such as files left aside and how times were read. Prefix lengths are quantiles over pairs, in
    courses; absent without pairs.
    """

    source: str
    synthetic: bool
    files: list[str]
    notes: list[str] = Field(default_factory=list)
    raw_events: int
    dropped: Dropped
    bad_records: BadRecords
    rows_after_duplicates: int
    consecutive_repeats: int
    sessions: int
    events_in_sessions: int
    learners: int
    learners_with_pairs: int
    items: int
    steps: int
    pairs_all: int
    pairs: int
    pairs_not_strictly_later: int
    prefix_length_p50: int | None = None
    prefix_length_p90: int | None = None
    prefix_length_p99: int | None = None
    prefix_length_max: int | None = None
    raw_sha256: dict[str, str]
    pairs_sha256: dict[str, str]


def show_account(result: PreprocessResult) -> None:
    """Print what was kept and dropped; the first unreadable records to standard error."""
    for bad in result.bad_records.first:
        to_stderr(f"unreadable: {bad.file}: {bad.place}: {bad.reason}")
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in result.dropped)
    print(f"{result.raw_events:,} raw events; dropped: {dropped}".replace("_", " "))
    counts = result.model_dump(include={"sessions", "learners", "items", "pairs"})
    print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


def to_stderr(line: str) -> None:
    """Print a line to standard error at once."""
    print(line, file=sys.stderr, flush=True)
