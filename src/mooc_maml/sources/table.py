"""Any table: CSV (plain or .gz) or Parquet, columns named in `data.table`."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams, TableParams
from mooc_maml.sources.events import BATCH_ROWS, WHOLE_HISTORY, ReadReport, drop_bad, nulls
from mooc_maml.sources.raw_files import open_raw
from mooc_maml.sources.times import parse_iso, parse_moments, parse_seconds

_BLOCK_BYTES = 1 << 22  # a row of a CSV must fit into it
_NO_TEXT = "\uffff"  # stands for bytes that are no UTF-8; no text holds this code point
codecs.register_error("mooc_maml.no_text", lambda error: (_NO_TEXT, error.end))  # type: ignore


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
        with open_raw(path, report.on_bytes) as file:
            magic = file.read(4)
            file.seek(0)
            skipped: list[int] = []  # CSV rows of the wrong width, 0-based
            try:
                is_csv = magic != b"PAR1"
                if not is_csv:
                    batches = _parquet_batches(path, file, data.table)
                else:
                    batches = _csv_batches(path, file, data.table, report, skipped)
                first_row = 0
                for rows in batches:
                    yield _events(rows, first_row, skipped, is_csv, path, data, report)
                    first_row += rows.num_rows
            except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
                raise UserError(f"{path}: cannot be read as a table: {error}") from None


def _named(table: TableParams) -> dict[str, str]:
    """Each role that a column is named for -> the column's name."""
    roles = {"learner": table.learner, "item": table.item, "time": table.time}
    optional = {"event": table.event, "session": table.session}
    return roles | {role: name for role, name in optional.items() if name is not None}


def _check_columns(path: Path, found: list[str], table: TableParams) -> list[str]:
    """The columns to read, each once."""
    for role, name in _named(table).items():
        if name not in found:
            raise UserError(
                f"{path}: no column {name!r} (data.table.{role}); found {list(found)}; "
                f"name the right column in data.table.{role}"
            )
        if found.count(name) > 1:
            raise UserError(
                f"{path}: {found.count(name)} columns are called {name!r} (data.table.{role}); "
                "rename all but one"
            )
    return list(dict.fromkeys(_named(table).values()))


def _parquet_batches(path: Path, file: IO[bytes], table: TableParams) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    columns = _check_columns(path, parquet.schema_arrow.names, table)
    yield from parquet.iter_batches(BATCH_ROWS, columns=columns)


def _csv_batches(
    path: Path, file: IO[bytes], table: TableParams, report: ReadReport, skipped: list[int]
) -> Iterator[pa.RecordBatch]:
    columns = _check_columns(path, _csv_header(path, file), table)

    def skip(row: Any) -> str:
        if report.wants_examples:
            skipped.append(row.number - 2)  # numbered from 1, the header included
        reason = f"expected {row.expected_columns} columns, found {row.actual_columns}"
        report.add_bad(path, f"row {row.number}", reason, _lines(row.text))
        return "skip"

    yield from pacsv.open_csv(
        io.BufferedReader(_Utf8(file), 1 << 20),  # type: ignore[type-var]
        read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in columns}, include_columns=columns
        ),
    )


class _Utf8(io.RawIOBase):
    """A file with _NO_TEXT for what is no UTF-8, so that a foreign byte spoils its row only."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("mooc_maml.no_text")
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        raw = self._waiting or b"more"
        while raw and not self._waiting:
            raw = self._file.read(1 << 16)
            self._waiting = self._decoder.decode(raw, final=not raw).encode()
        count = min(len(buffer), len(self._waiting))
        buffer[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        return count


def _csv_header(path: Path, file: IO[bytes]) -> list[str]:
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    header = next(csv.reader(text), None)
    text.detach()
    file.seek(0)
    if header is None:
        raise UserError(f"{path}: the file is empty; expected a line of column names")
    return header


def _events(
    rows: pa.RecordBatch,
    first_row: int,
    skipped: list[int],
    is_csv: bool,
    path: Path,
    data: DataParams,
    report: ReadReport,
) -> pa.RecordBatch:
    table = data.table
    number = np.arange(first_row, first_row + rows.num_rows)
    if table.event is not None and data.event_prefixes:
        event = pc.fill_null(_text(rows.column(table.event)), "")
        kept = np.zeros(len(event), bool)
        for prefix in data.event_prefixes:
            kept |= pc.starts_with(event, prefix).to_numpy(zero_copy_only=False)
        report.other_kinds += int((~kept).sum())
        rows, number = rows.filter(pa.array(kept)), number[kept]
    columns = _columns(rows, table)
    problems = [
        (_empty(columns["learner"]), f"no text in column {table.learner!r}"),
        (_empty(columns["course"]), f"no text in column {table.item!r}"),
        (nulls(columns["time"]), f"no {table.time_format} time in column {table.time!r}"),
    ]

    def place(row: int) -> str:
        return f"row {_row_number(int(number[row]), skipped)}"

    def lines(row: int) -> int:
        texts = [column[row].as_py() for column in rows.columns] if is_csv else []
        return 1 + sum(_lines(text) - 1 for text in texts)

    return drop_bad(columns, problems, report, path, place, lines)


def _lines(text: str | None) -> int:
    """How many lines a quote that is not closed has seen for a part of its value."""
    return len(re.findall(r"\r\n|\r|\n", (text or "").rstrip("\r\n"))) + 1


def _columns(rows: pa.RecordBatch, table: TableParams) -> dict[str, pa.Array]:
    """The columns of EVENT_SCHEMA."""
    none = pa.nulls(rows.num_rows, pa.string())
    session = none if table.session is None else _text(rows.column(table.session))
    if table.time_format == "order" and table.session is None:
        session = pa.array([WHOLE_HISTORY] * rows.num_rows, pa.string())
    return {
        "learner": _text(rows.column(table.learner)),
        "course": _text(rows.column(table.item)),
        "event": none if table.event is None else _text(rows.column(table.event)),
        "time": _time(rows.column(table.time), table.time_format),
        "session": session,
    }


def _time(column: pa.Array, time_format: str) -> pa.Array:
    if pa.types.is_binary(column.type):
        column = _text(column)
    if time_format != "iso":
        return parse_seconds(column)
    if pa.types.is_temporal(column.type):
        return parse_moments(column)
    return parse_iso(_text(column))


def _text(column: pa.Array) -> pa.Array:
    """A column as text; null where bytes are no UTF-8, which a Parquet text may hold too."""
    is_binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    raw = column if is_binary else column.cast(pa.string()).cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decode(value) for value in raw.to_pylist()], pa.string())


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _empty(column: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    none = pc.or_(pc.equal(column, ""), pc.match_substring(column, _NO_TEXT))
    empty = pc.fill_null(none, True)
    return np.asarray(empty.to_numpy(zero_copy_only=False), bool)


def _row_number(row: int, skipped: list[int]) -> int:
    """Number from 1, the header included as spreadsheets show it, of the row-th readable row."""
    for skip in skipped:
        row += skip <= row
    return row + 2
