"""The section `data` of params.yaml: where the activity comes from."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr

from mooc_maml.settings.types import ColumnName, Number, Section, Share, Text

SourceName = Literal["synthetic", "xuetangx", "mooccubex", "table"]


class TableParams(Section):
    """Columns of a table of one's own."""

    learner: ColumnName
    item: ColumnName
    time: ColumnName
    time_format: Literal["iso", "epoch", "order"]
    event: ColumnName | None
    session: ColumnName | None


class SyntheticParams(Section):
    """Size and nature of the synthetic platform."""

    learners: Annotated[StrictInt, Field(ge=20)]
    courses: Annotated[StrictInt, Field(ge=20)]
    taste_strength: Annotated[Number, Field(ge=0, le=10)]


def _glob(value: str) -> str:
    if not value or value.startswith("/") or ".." in Path(value).parts:
        raise ValueError("expected a glob inside the source's own folder, like '*.json.gz'")
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
    event_prefixes: tuple[StrictStr, ...]
    max_bad_records: Share
    raw: Text | None
    engine: Literal["duckdb", "spark"]
    memory_limit: Memory
    work: Text | None
    spark: SparkParams
    table: TableParams
    synthetic: SyntheticParams
