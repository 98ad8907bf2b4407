"""The section `data` of params.yaml: where the activity comes from."""

import codecs
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr

from mooc_maml.settings.types import Between, ColumnName, Number, Section, Share, Text

SourceName = Literal["synthetic", "xuetangx", "mooccubex", "table"]


_FORMATS = ("iso", "epoch", "order")
_SAMPLE = datetime(2021, 3, 14, 17, 6, 7)


def _time_format(value: str) -> str:
    if value in _FORMATS:
        return value
    expected = f"expected one of {_FORMATS}, or a pattern of strptime such as '%d.%m.%Y %H:%M'"
    if "%" not in value:
        raise ValueError(expected)
    try:
        read = datetime.strptime(_SAMPLE.strftime(value), value)
    except ValueError as error:
        raise ValueError(f"{expected}; as a pattern: {error}") from None
    if read.date() != _SAMPLE.date() or read.hour not in (0, _SAMPLE.hour):
        raise ValueError(f"{expected}; it must tell year, month and day (%I only with %p)")
    return value


def _encoding(value: str) -> str:
    expected = "expected an encoding of text such as utf-8, gb18030, cp1252 or utf-16"
    try:
        name = codecs.lookup(value).name
        works = "a,1".encode(name).decode(name) == "a,1"
        codecs.getincrementaldecoder(name)("replace").decode(b"", final=True)
    except (LookupError, ValueError, TypeError, UnicodeError):
        works = False
    if not works or name.replace("-", "_") in _NO_ENCODINGS:
        raise ValueError(expected)
    return "utf-8" if name == "utf-8-sig" else name


_NO_ENCODINGS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")


class TableParams(Section):
    """Columns of a table of one's own."""

    learner: ColumnName
    item: ColumnName
    time: ColumnName
    time_format: Annotated[StrictStr, AfterValidator(_time_format)]
    event: ColumnName | None
    session: ColumnName | None


class SyntheticParams(Section):
    """Size and nature of the synthetic platform."""

    learners: Annotated[StrictInt, AfterValidator(Between(20, 100_000_000))]
    courses: Annotated[StrictInt, AfterValidator(Between(20, 1_000_000))]
    taste_strength: Annotated[Number, AfterValidator(Between(0, 10))]


def _glob(value: str) -> str:
    if not value or value.startswith(("/", "~/")) or ".." in Path(value).parts:
        raise ValueError(
            "expected a glob inside the source's own folder, like '*.json.gz'; another folder is "
            "named in data.raw"
        )
    return value


Glob = Annotated[StrictStr, AfterValidator(_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


def _memory(value: object) -> object:
    found = (
        re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])i?B", value)
        if isinstance(value, str)
        else None
    )
    if found is None or not 1e6 <= float(found[1]) * 1000 ** ("KMGT".index(found[2]) + 1) < 1e18:
        raise ValueError("expected an amount of memory from 1MB on, such as 800MB, 2GB or 1.5GiB")
    return value


Memory = Annotated[StrictStr, BeforeValidator(_memory)]


class SparkParams(Section):
    """Which cluster, and how it is set up."""

    master: Text
    config: dict[StrictStr, StrictStr]


class DataParams(Section):
    """Where the activity comes from."""

    source: SourceName
    files: Annotated[Globs, Field(min_length=1)]
    encoding: Annotated[StrictStr, AfterValidator(_encoding)]
    event_prefixes: tuple[StrictStr, ...]
    max_bad_records: Share
    raw: Text | None
    titles: Text | None
    engine: Literal["duckdb", "spark"]
    memory_limit: Memory
    work: Text | None
    spark: SparkParams
    table: TableParams
    synthetic: SyntheticParams
