"""Titles of courses: an optional file of two columns, course id and title."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.bundle import JSON, read_bundle
from mooc_maml.settings.params import Params

_EXPECTED = "expected two columns, course id and title, as CSV (UTF-8) or Parquet"


def titles_of(params: Params, synthetic: Path) -> dict[str, str] | None:
    """Course id -> title, as `data.titles` says; None: there are none.

    Args:
        params: the settings.
        synthetic: the titles that the synthetic platform's own generator wrote.

    Raises:
        UserError: see `read_titles`.
    """
    if params.data.titles is not None:
        return read_titles(_place(params.data.titles))
    return read_titles(synthetic) if params.data.source == "synthetic" else None


def titles_in(bundle: Path) -> dict[str, str]:
    """Course id -> title, of the courses of a bundle that have one; no bundle, no titles.

    Raises:
        UserError: see `read_bundle`.
    """
    if not (bundle / JSON).is_file():
        return {}
    info = read_bundle(bundle)
    named = zip(info.courses, info.titles or [], strict=False)
    return {id: title for id, title in named if title}


def _place(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"data.titles: {text}: no such home folder; write the path out") from None


def read_titles(path: Path) -> dict[str, str]:
    """Read course id -> title; of an id that comes twice the last title, empty titles left out.

    A line that names the columns does no harm: no course has that id.

    Raises:
        UserError: the file is missing, is damaged, or has other columns.
    """
    rows = _of_parquet(path) if path.suffix.lower() == ".parquet" else _of_csv(path)
    try:
        return {id: title.strip() for id, title in rows if title.strip()}
    except FileNotFoundError:
        fault = "no such file"
    except (UnicodeDecodeError, csv.Error, pa.ArrowException, OSError) as error:
        fault = str(error).splitlines()[0]
    raise UserError(f"data.titles: {path}: {fault}; {_EXPECTED}, or set it to null")


def _of_csv(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        for row in lines:
            if row:
                yield _pair(path, f"line {lines.line_num}", row)


def _of_parquet(path: Path) -> Iterator[tuple[str, str]]:
    table = pq.read_table(path)
    columns: list[list[Any]] = [column.to_pylist() for column in table.columns]
    _pair(path, "the table", columns)
    for id, title in zip(*columns, strict=True):
        if id is not None and title is not None:
            yield str(id), str(title)


def _pair(path: Path, place: str, columns: list[Any]) -> tuple[Any, Any]:
    if len(columns) != 2:
        raise UserError(f"data.titles: {path}: {place}: {len(columns)} columns; {_EXPECTED}")
    return columns[0], columns[1]
