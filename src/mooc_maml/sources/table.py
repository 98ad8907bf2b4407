"""Any table: CSV or Parquet, columns named in `data.table`."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams, TableParams
from mooc_maml.sources.csv_quotes import SWALLOWED, Quotes, unquoted
from mooc_maml.sources.csv_text import Records, lines_in, read_header
from mooc_maml.sources.encodings import has_no_text
from mooc_maml.sources.events import (
    BATCH_ROWS,
    WHOLE_HISTORY,
    ReadReport,
    drop_bad,
    is_empty,
    nulls,
    shown,
)
from mooc_maml.sources.ids import as_text
from mooc_maml.sources.opening import is_parquet, open_raw
from mooc_maml.sources.time_words import looks_like
from mooc_maml.sources.times import is_plausible, read_times

_SHOWN = 40  # characters of a value


def boundaries(data: DataParams) -> tuple[str, ...]:
    """Which values of sessions.boundary a table of these columns can give."""
    if data.table.time_format == "order":
        return ("platform",)
    return ("gap",) if data.table.session is None else ("gap", "platform")


def read_events(
    files: Sequence[Path], data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the tables; where a kind of event is named, only those of kept kinds.

    Raises:
        UserError: a named column is missing, or the file is no table.
    """
    for path in files:
        with open_raw(path, data.encoding, report, parquet_too=True) as file:
            try:
                if is_parquet(file):
                    yield from _parquet_events(path, file, data, report)
                else:
                    yield from _csv_events(path, file, data, report)
            except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
                words = shown(str(error), 200)
                if "straddling" in words:
                    words = "a row is longer than 4 MB; is a quote not closed?"
                raise UserError(f"{shown(path)}: cannot be read as a table: {words}") from None


def _named(table: TableParams) -> dict[str, str]:
    """Each role that a column is named for -> the column's name."""
    roles = {"learner": table.learner, "item": table.item, "time": table.time}
    optional = {"event": table.event, "session": table.session}
    return roles | {role: name for role, name in optional.items() if name is not None}


def _check_columns(
    path: Path, found: Sequence[str], table: TableParams, advice: Sequence[str] = ()
) -> None:
    for role, name in _named(table).items():
        if name not in found:
            odd = "; if they look odd, set data.encoding" * (not "".join(found).isascii())
            if found[0].startswith(("[", "{")):
                odd = "; if this is JSON, set data.source to what it comes from"
            names = ", ".join(f"'{shown(other, _SHOWN)}'" for other in found[:30])
            raise UserError(
                f"{shown(path)}: no column {name!r} (data.table.{role}); found [{names}]{odd}; "
                f"name the right column in data.table.{role}, as the first line of a CSV has it"
                + "".join(f". {line}" for line in advice)
            )
        if found.count(name) > 1:
            raise UserError(
                f"{shown(path)}: {found.count(name)} columns are called {name!r} "
                f"(data.table.{role}); rename all but one"
            )


def _parquet_events(
    path: Path, file: io.BufferedReader, data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    _check_columns(path, parquet.schema_arrow.names, data.table)
    names = _named(data.table)
    first = 1  # number of a batch's first row

    def lose(row: int, reason: str, value: str, hint: str) -> None:
        report.add_bad(path, f"row {first + row}{value}", reason, hint=hint)

    for batch in parquet.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names.values()))):
        columns = {role: batch.column(name) for role, name in names.items()}
        yield _events(columns, data, path, report, lose)
        first += batch.num_rows


def _csv_events(
    path: Path, file: io.BufferedReader, data: DataParams, report: ReadReport
) -> Iterator[pa.RecordBatch]:
    names = _named(data.table)
    header = read_header(file, path, names.values())
    _check_columns(path, header.names, data.table, list(report.advice))
    numbers = {role: header.names.index(name) for role, name in names.items()}
    quotes = Quotes(header.separator, header.names, numbers, _time_teller(data.table.time_format))
    records = Records(path, file, header, quotes, data.encoding, report)
    first = 0
    for batch in records.batches(sorted({*numbers.values()})):
        columns = {role: batch.column(str(number)) for role, number in numbers.items()}
        if records.has_quotes_behind_blanks:
            columns = {
                role: _unquoted(column, names[role], path, report)
                for role, column in columns.items()
            }
        left_out = _no_records(columns, names, path, report)

        def lose(
            row: int, reason: str, value: str, hint: str, first: int = first, of: Any = batch
        ) -> None:
            lines = 1 + sum(lines_in(column[row].as_py()) - 1 for column in of.columns)
            records.add_bad(records.record(first + row), value, reason, lines, hint)

        for row in quotes.torn(columns) if records.has_quotes else ():
            left_out[row] = True
            lose(row, SWALLOWED, "", "")
        yield _events(columns, data, path, report, lose, left_out)
        first += batch.num_rows
    records.finish()


def _time_teller(time_format: str) -> Callable[[list[str]], NDArray[np.bool_]]:
    """Tells which of some texts are times."""
    return lambda texts: ~nulls(read_times(pa.array(texts, pa.string()), time_format)[0])


def _unquoted(column: pa.Array, name: str, path: Path, report: ReadReport) -> pa.Array:
    bare, count = unquoted(column)
    report.note(path, f"values of column {name!r} read without the quotes behind a blank", count)
    return bare


def _no_records(
    columns: dict[str, pa.Array], names: dict[str, str], path: Path, report: ReadReport
) -> NDArray[np.bool_]:
    """bool [rows]: rows of nothing, and lines of column names, as files joined to one have them."""
    blank = np.logical_and.reduce([is_empty(column) for column in columns.values()])
    report.note(path, "rows with nothing in any named column left out", int(blank.sum()))
    header = blank
    if pc.any(pc.equal(columns["time"], names["time"])).as_py():
        texts = {role: pc.utf8_trim(column, " \t\ufeff") for role, column in columns.items()}
        same = [pc.equal(texts[role], name) for role, name in names.items()]
        header = np.logical_and.reduce([np.asarray(x.to_numpy(zero_copy_only=False)) for x in same])
        report.note(path, "lines of column names within the file left out", int(header.sum()))
    either: NDArray[np.bool_] = blank | header
    return either


def _events(
    columns: dict[str, pa.Array],
    data: DataParams,
    path: Path,
    report: ReadReport,
    lose: Callable[[int, str, str, str], object],
    left_out: NDArray[np.bool_] | None = None,
) -> pa.RecordBatch:
    """The events of some rows.

    Args:
        columns: role -> [rows], as they are in the file.
        data: the settings.
        path: the raw file.
        report: counts the rows.
        lose: told row, reason, value of the time, and what it looks like, of each bad row.
        left_out: bool [rows], rows that are none.
    """
    table = data.table
    rows = np.arange(len(columns["time"]))
    kept = np.ones(len(rows), bool) if left_out is None else ~left_out
    if table.event is not None:
        columns = columns | {"event": as_text(columns["event"], table.event, path, report)}
        if data.event_prefixes:
            is_kept = _begins(columns["event"], data.event_prefixes)
            report.other_kinds += int((kept & ~is_kept).sum())
            kept &= is_kept
    if not kept.all():
        columns = {role: column.filter(pa.array(kept)) for role, column in columns.items()}
        rows = rows[kept]
    times, ways = read_times(columns["time"], table.time_format)
    for way, count in ways.items():
        report.note(path, f"times of column {table.time!r} read as {way}", count)
    if table.time_format != "order":
        odd = len(times) - times.null_count - pc.sum(is_plausible(times), min_count=0).as_py()
        what = f"times of column {table.time!r} before 1990 or after 2100; is time_format right?"
        report.note(path, what, odd)
    texts = {
        "learner": as_text(columns["learner"], table.learner, path, report),
        "course": as_text(columns["item"], table.item, path, report),
        "event": columns.get("event", pa.nulls(len(rows), pa.string())),
        "time": times,
        "session": _sessions(columns, table, len(rows), path, report),
    }
    spelling = table.time_format if "%" not in table.time_format else repr(table.time_format)
    no_time = f"no {spelling} time in column {table.time!r}"
    problems = [
        (is_empty(texts["learner"]), f"no text in column {table.learner!r}"),
        (is_empty(texts["course"]), f"no text in column {table.item!r}"),
        (has_no_text(texts["learner"]), f"bytes that are no text in column {table.learner!r}"),
        (has_no_text(texts["course"]), f"bytes that are no text in column {table.item!r}"),
        (nulls(times), no_time),
    ]
    if table.session is not None:
        bad = has_no_text(texts["session"])
        problems.append((bad, f"bytes that are no text in column {table.session!r}"))

    def lost(row: int, reason: str) -> None:
        value = hint = ""
        if reason == no_time and report.wants_examples:
            found = _value(columns["time"][row])
            if found is not None:
                value = f", time '{shown(found, _SHOWN)}'"
                hint = looks_like(str(found), table.time_format)
        lose(int(rows[row]), reason, value, hint)

    return drop_bad(texts, problems, report, lost)


def _value(scalar: pa.Scalar) -> Any:
    """A value for people to see; a moment beyond Python's calendar as its number."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return str(scalar.cast(pa.int32() if scalar.type == pa.date32() else pa.int64()))


def _begins(event: pa.Array, prefixes: Sequence[str]) -> NDArray[np.bool_]:
    """bool [rows]: whether a kind of event is one of those kept."""
    event = pc.fill_null(event, "")
    kept = np.zeros(len(event), bool)
    for prefix in prefixes:
        kept |= pc.starts_with(event, prefix).to_numpy(zero_copy_only=False)
    return kept


def _sessions(
    columns: dict[str, pa.Array], table: TableParams, rows: int, path: Path, report: ReadReport
) -> pa.Array:
    if table.session is not None:
        texts = as_text(columns["session"], table.session, path, report)
        what = f"rows without a session in column {table.session!r}: one session of each learner"
        report.note(path, what, int(is_empty(texts).sum()))
        return texts
    if table.time_format == "order":
        return pa.array([WHOLE_HISTORY] * rows, pa.string())
    return pa.nulls(rows, pa.string())
