"""CSV as others write it: separators found out, and the lines of records for messages."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pacsv

from mooc_maml.common.errors import UserError
from mooc_maml.sources.csv_quotes import SWALLOWED, Quotes
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.ids import BLANKS
from mooc_maml.sources.opening import open_raw
from mooc_maml.sources.streams import Blocks, buffered

BLOCK_BYTES = 1 << 22  # a row of a CSV must fit into it
_SEPARATORS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r'"?sep=(.|\\t)"?\s*', re.IGNORECASE)
_BLANKS = " \t\r\n\0\x1a"  # with what DOS and some disks put at the end of a file
_BLANK_LINE = re.compile(rb"(?<=\n)\n")
csv.field_size_limit(BLOCK_BYTES)  # Python's own is 128 KiB


@dataclass(frozen=True)
class Header:
    """The first lines of a CSV.

    Attributes:
        names: of the columns, without outer blanks.
        separator: between two columns.
        lines: how many the header takes, with blank ones and a `sep=` before it.
        size: its bytes.
    """

    names: list[str]
    separator: str
    lines: int
    size: int


def read_header(file: io.BufferedReader, path: Path, wanted: Iterable[str]) -> Header:
    """Read the names of the columns, and go past them.

    The separator is the one that gives all wanted names; of several the first of `, ; tab |`.

    Raises:
        UserError: there is no line of column names.
    """
    text = file.peek().decode(errors="ignore")
    found = [_header(text, separator) for separator in _SEPARATORS]
    headers = [header for header in found if header is not None]
    if not headers:
        raise UserError(
            f"{shown(path)}: the file is empty; expected a line of column names; fetch it again or "
            "remove it"
        )
    matching = [header for header in headers if {*wanted} <= {*header.names}]
    header = matching[0] if matching else max(headers, key=lambda header: len(header.names))
    file.read(header.size)
    return header


def _header(text: str, separator: str) -> Header | None:
    lines = _Lines(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    for record in reader:
        joined = separator.join(record)
        mark = _SEP_LINE.fullmatch(joined)
        if mark:
            separator = "\t" if mark[1] == "\\t" else mark[1]
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
            rest = next((record for record in reader if any(x.strip() for x in record)), None)
            return _made(rest, separator, lines)
        if any(cell.strip() for cell in record):
            return _made(record, separator, lines)
    return None


def _made(record: list[str] | None, separator: str, lines: "_Lines") -> Header | None:
    if record is None:
        return None
    names = [name.strip(BLANKS) for name in record]
    return Header(names, separator, lines.count, lines.size)


class _Lines:
    """Lines of a text, counted."""

    def __init__(self, text: IO[str]) -> None:
        self._text, self.count, self.size = text, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._text)
        self.count += 1
        self.size += len(line.encode())
        return line


class Records:
    """The records of a CSV after its header, as batches of text, and where each one stands."""

    def __init__(
        self,
        path: Path,
        file: io.BufferedReader,
        header: Header,
        quotes: Quotes,
        encoding: str,
        report: ReadReport,
    ) -> None:
        self._path, self._file, self._header, self._quotes = path, file, header, quotes
        self._encoding, self._report = encoding, report
        self._watched = _Watched(file, header.separator)
        self._given = 0
        self._lines_lost = 0  # more than one for a record
        self._left_out: list[int] = []  # records that pyarrow does not give, numbered from 0
        self._unplaced: list[tuple[int, dict[str, str], str]] = []  # record, example, more words

    def batches(self, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Yield batches whose columns are called by their numbers."""
        if not self._file.peek(1):
            return
        read = [str(number) for number in columns]
        batches = pacsv.open_csv(
            buffered(Blocks(self._watched.blocks())),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=[str(number) for number in range(len(self._header.names))],
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self._header.separator,
                newlines_in_values=True,
                invalid_row_handler=self._skip,
            ),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,  # it is, see `encodings`
                column_types={name: pa.string() for name in read},
                include_columns=read,
            ),
        )
        for batch in batches:
            self._given += batch.num_rows
            yield batch

    @property
    def has_quotes(self) -> bool:
        """Whether there was a quote so far."""
        return self._watched.has_quotes

    @property
    def has_quotes_behind_blanks(self) -> bool:
        """Whether there was one behind a separator and a blank."""
        return self._watched.has_quotes_behind_blanks

    def _skip(self, row: Any) -> str:
        record = row.number - 1
        self._given += 1
        if self._report.wants_examples:
            self._left_out.append(record)
        if row.text.strip(_BLANKS):
            reason = f"expected {row.expected_columns} columns, found {row.actual_columns}"
            self.add_bad(record, "", reason, lines_in(row.text))
        return "skip"

    def record(self, row: int) -> int:
        """Number from 0 of the row-th record that pyarrow gives."""
        for left_out in self._left_out:
            row += left_out <= row
        return row

    def add_bad(self, record: int, more: str, reason: str, lines: int, hint: str = "") -> None:
        """Count what is lost with a record; its line is put in at the end, if it takes a search."""
        self._lines_lost += lines - 1
        is_shown = self._report.wants_examples
        self._report.add_bad(self._path, "", reason, lines, hint=hint)
        if not is_shown:
            return
        example = self._report.examples[-1]
        if record < self._watched.plain_lines:
            example["place"] = f"line {self._header.lines + 1 + record}{more}"
        else:
            self._unplaced.append((record, example, more))

    def finish(self) -> None:
        """Read the file again where that tells more: lines of bad records, swallowed lines.

        A quote that is not closed makes all up to the next one a part of a value. Where records
        take more lines than there are records, the lines within are looked at.
        """
        unexplained = self._watched.lines - self._given - self._lines_lost
        swallows = self._watched.has_quotes and unexplained > 0
        wanted = {record for record, _, _ in self._unplaced}
        places: dict[int, int] = {}
        if swallows or wanted:
            self._read_again(wanted, places, swallows)
        for record, example, more in self._unplaced:
            place = f"line {places[record]}" if record in places else f"record {record + 1}"
            example["place"] = f"{place}{more}"

    def _read_again(self, wanted: set[int], places: dict[int, int], to_the_end: bool) -> None:
        header, last = self._header, max(wanted, default=-1)
        silent = ReadReport(self._report.folder)
        with open_raw(self._path, self._encoding, silent) as file:
            file.read(header.size)
            text = io.TextIOWrapper(file, "utf-8", errors="replace", newline="")
            reader = csv.reader(text, delimiter=header.separator)
            number, line = 0, header.lines + 1
            try:
                for record in reader:
                    if number in wanted:
                        places[number] = line
                    if to_the_end and header.lines + reader.line_num > line:
                        self._look_within(record, line)
                    number += bool(record)
                    line = header.lines + 1 + reader.line_num
                    if number > last and not to_the_end:
                        break
            except csv.Error:
                pass  # a value longer than any that is read
            text.detach()

    def _look_within(self, record: list[str], line: int) -> None:
        """Count lines within values that are records of their own."""
        lost = self._quotes.lines_within(record)
        if lost:
            self._report.add_bad(self._path, f"line {line}", SWALLOWED, lost)


def lines_in(text: str | None) -> int:
    """How many lines a quote that is not closed has taken for a part of its value."""
    return len(re.findall(r"\r\n|\r|\n", (text or "").rstrip("\r\n"))) + 1


class _Watched:
    """Passes a text on, counts its lines, and knows up to where every one of them is a record.

    Attributes:
        plain_lines: lines before the first block with a quote, a blank line or a lone carriage
            return; so many records stand each on a line of its own.
        lines: all lines but blank ones.
        has_quotes: whether there is a quote.
        has_quotes_behind_blanks: whether there is one behind a separator and a blank.
    """

    def __init__(self, file: IO[bytes], separator: str) -> None:
        self._file = file
        self._behind_blank = f'{separator} "'.encode()
        self.plain_lines = self.lines = 0
        self.has_quotes = self.has_quotes_behind_blanks = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the text."""
        plain, last = True, b"\n"
        while block := self._file.read(1 << 16):
            lines = block
            if b"\r" in block:
                lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                plain &= block.count(b"\r\n") >= block.count(b"\r") - block.endswith(b"\r")
            if last == b"\r" and block.startswith(b"\n"):
                lines = lines[1:]
            joined = b"\n" * (last in b"\r\n") + lines
            breaks = lines.count(b"\n")
            blank = len(_BLANK_LINE.findall(joined)) if b"\n\n" in joined else 0
            if b'"' in block:
                self.has_quotes = True
                self.has_quotes_behind_blanks |= self._behind_blank in block
            plain &= not (self.has_quotes or blank)
            self.plain_lines += breaks if plain else 0
            self.lines += breaks - blank
            last = block[-1:]
            yield block
        self.lines += last not in b"\r\n"
