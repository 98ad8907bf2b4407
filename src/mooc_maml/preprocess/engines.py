"""Engines that run `mooc_maml.preprocess.session_tables`: one file and one line in ENGINES each.

The tables are defined once, as SQL that both engines take as it stands: sub-queries, joins and
window functions, with no function or type that one of them lacks. sqlglot 30.30.0 translates it
from DuckDB 2.0.0 to Spark 4.3.0 by adding NULLS LAST and nothing else, which changes nothing where
no ordered column holds a null, as here. Ibis 12.0.0 would hold PySpark at 4.0. So either would be
one more thing to keep in step with both engines, and give nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from mooc_maml.preprocess.duckdb_engine import open_duckdb
from mooc_maml.preprocess.spark_engine import open_spark
from mooc_maml.settings.params import Params
from mooc_maml.sources.events import ReadReport


class Engine(Protocol):
    """Reads raw files into the table `raw_events` and runs SQL on it, out of core."""

    def read(self, files: Sequence[Path], report: ReadReport) -> None:
        """Make the table `raw_events` of the files."""

    def create(self, name: str, select: str) -> None:
        """Make a table."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a result of any size, in the order that the query says."""


ENGINES: dict[str, Callable[[Params, Path], AbstractContextManager[Engine]]] = {
    "duckdb": open_duckdb,
    "spark": open_spark,
}
