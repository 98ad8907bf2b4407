"""Raw activity -> sessions -> course sequences -> pairs, through an engine of `data.engine`."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, sha256
from mooc_maml.preprocess.engines import ENGINES, Engine
from mooc_maml.preprocess.session_tables import COUNTS, OUTPUTS, PREFIX_LENGTHS, session_tables
from mooc_maml.settings.data import DataParams
from mooc_maml.settings.params import Params
from mooc_maml.sources import check_boundary, has_clock
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.raw_files import find_raw_files, location

_ROW_GROUP = 1 << 20  # a fixed size, so that the files do not depend on how rows arrive
_COLUMN_TYPES = {
    "learner": pa.int32(),
    "session": pa.int32(),
    "position": pa.int32(),
    "course": pa.int32(),
    "time": pa.int64(),
    "is_pair": pa.bool_(),
    "events": pa.int32(),
    "kinds": pa.int16(),
    "duration": pa.int64(),
    "id": pa.string(),
    "steps": pa.int64(),
}


Show = Callable[[int], AbstractContextManager[Callable[[int], object]]]


def _show_nothing(total: int) -> AbstractContextManager[Callable[[int], object]]:
    return nullcontext(lambda count: None)


def _tell_nobody(line: str) -> None:
    """Say nothing."""


def preprocess(
    raw: Path,
    pairs: Path,
    params: Params,
    show: Show = _show_nothing,
    tell: Callable[[str], object] = _tell_nobody,
) -> dict[str, object]:
    """Turn the raw files of `params.data.source` into the folder `pairs`.

    The folder holds courses.parquet (course 1..C, id, steps), learners.parquet (learner 0..N-1,
    id), sessions.parquet (events, duration; a row for each session from 0) and steps.parquet
    (learner, session, position, course, time, is_pair, events, kinds), a row for each step of a
    session's course sequence. Times are in microseconds since 1970, durations in microseconds, 0
    where a source has no clock. A step with `is_pair` is the label of the pair whose prefix is the
    steps before it, all strictly earlier. A step's `events` counts the events of its session till
    its course was opened, that event included, `kinds` the prefixes of `data.event_prefixes` that
    they begin with (0 in a source without kinds). The files are the same bytes whichever engine
    makes them.

    Args:
        raw: folder of the raw files, unless `params.data.raw` names another.
        pairs: folder to write; replaced whole.
        params: all settings.
        show: given the number of raw bytes, opens what is told how many were read, each time.
        tell: told in a line, as soon as it is known, what needs a word and is no fault: files left
            aside, values read that were not spelt as set.

    Returns:
        An account of every raw record: what was kept, what was dropped and why.

    Raises:
        UserError: no raw file, unreadable input, nothing left of it, or the engine gave up.
    """
    source = params.data.source
    check_boundary(params.data, params.sessions)
    raw = raw if params.data.raw is None else location(params.data.raw)
    notes: list[str] = []
    files = find_raw_files(raw, source, params.data.files, notes.append)
    for line in notes:
        tell(line)
    work = pairs.parent.resolve() if params.data.work is None else _work(params.data.work)
    with ENGINES[params.data.engine](params, work) as engine:
        with show(sum(path.stat().st_size for path in files)) as on_bytes:
            report = ReadReport(raw, on_bytes)
            engine.read(files, report)
        for line in report.lines():
            tell(line)
        _check(report, raw, params.data)
        counts = _make_pairs(engine, pairs, params)
    names = [report.name(path) for path in files]
    hashes = {
        "raw_sha256": {name: sha256(path) for name, path in zip(names, files, strict=True)},
        "pairs_sha256": {path.name: sha256(path) for path in sorted(pairs.glob("*.parquet"))},
    }
    about = {"source": source, "synthetic": source == "synthetic", "files": names}
    about["notes"] = notes + report.lines()
    return about | hashes | _account(report, counts)


def _work(text: str) -> Path:
    """data.work, made if it is not there."""
    work = location(text)
    if "://" in text:
        return work
    try:
        work.mkdir(parents=True, exist_ok=True)
        fault = "" if os.access(work, os.W_OK) else "it may not be written to"
    except OSError as error:
        fault = "it is a file" if os.path.isfile(work) else str(error.strerror)
    if fault:
        raise UserError(
            f"data.work: found {text!r}: {fault}; name a folder to write tables in between to, "
            "or null for the one that the pairs lie in"
        )
    return work


def _check(report: ReadReport, raw: Path, data: DataParams) -> None:
    report.check(data.max_bad_records)
    if not report.records:
        raise UserError(f"{shown(raw)}: the raw files hold no record, only a header or nothing")
    if not report.kept:
        raise UserError(
            f"{shown(raw)}: no event is left of {report.records:,} raw ones; "
            f"{report.other_kinds:,} are of kinds that data.event_prefixes = "
            f"{list(data.event_prefixes)} does not keep"
        )


def _make_pairs(engine: Engine, pairs: Path, params: Params) -> dict[str, int]:
    """Run the definition over the raw events; write the folder; return the counts."""
    kinds = len(params.data.event_prefixes)
    for name, select in session_tables(params.sessions, kinds, has_clock(params.data)).items():
        engine.create(name, select)
    counts = {name: int(engine.rows(query)[0][0]) for name, query in COUNTS.items()}
    if not counts["sessions"]:
        raise UserError(
            f"no session has sessions.min_events = {params.sessions.min_events} events: all "
            f"{counts['rows_after_duplicates']:,} that differ fall into shorter ones; lower "
            "sessions.min_events, raise sessions.gap_seconds, or look at the times of the events"
        )
    counts |= _prefix_lengths(engine.batches(PREFIX_LENGTHS), counts["pairs"])
    with atomic_path(pairs) as folder:
        folder.mkdir()
        for name, query in OUTPUTS.items():
            _write_rows(engine.batches(query), folder / f"{name}.parquet")
    return counts


def _prefix_lengths(rows: Iterator[pa.RecordBatch], pairs: int) -> dict[str, int]:
    """Quantiles of the pairs' prefix lengths: the least that this share of pairs does not pass.

    A session of millions of steps has as many lengths, so they are not held together.

    Args:
        rows: (length, pairs of it), ascending.
        pairs: all of them.
    """
    left, found, seen = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}, {}, 0
    for batch in rows:
        lengths, numbers = (column.to_numpy() for column in batch.columns)
        shares = (seen + np.cumsum(numbers)) / pairs
        for name, share in list(left.items()):
            if shares[-1] >= share:
                found[f"prefix_length_{name}"] = int(lengths[np.searchsorted(shares, share)])
                del left[name]
        seen += int(numbers.sum())
    return found


def _write_rows(rows: Iterator[pa.RecordBatch], path: Path) -> None:
    first = next(rows)
    schema = pa.schema([pa.field(n, _COLUMN_TYPES[n], False) for n in first.schema.names])
    checked = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(path, schema, **checked) as writer:
        for table in _fixed_size(chain([first], rows)):
            writer.write_table(table.cast(schema).combine_chunks(), row_group_size=_ROW_GROUP)


def _fixed_size(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of _ROW_GROUP rows, the last one shorter."""
    waiting: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while waiting.num_rows >= _ROW_GROUP:
            yield waiting.slice(0, _ROW_GROUP)
            waiting = waiting.slice(_ROW_GROUP)
    if waiting is not None and waiting.num_rows:
        yield waiting


def _account(report: ReadReport, counts: dict[str, int]) -> dict[str, object]:
    """Where every raw event and every step went; each group adds up."""
    return {
        "raw_events": report.records,
        "dropped": {
            "bad_records": report.bad_records,
            "event_kind": report.other_kinds,
            "duplicates": report.kept - counts["rows_after_duplicates"],
            "short_sessions": counts["rows_after_duplicates"] - counts["events_in_sessions"],
        },
        "consecutive_repeats": counts["events_in_sessions"] - counts["steps"],
        "pairs_not_strictly_later": counts["pairs_all"] - counts["pairs"],
        "bad_records": {"by_reason": dict(report.bad), "first": report.examples},
    } | counts
