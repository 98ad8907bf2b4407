"""DuckDB, embedded: one machine, out of core under a memory limit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

import duckdb
import pyarrow as pa

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import scratch_folder
from mooc_maml.preprocess.event_shards import write_shards
from mooc_maml.settings.params import Params
from mooc_maml.sources.events import ReadReport

_BATCH_ROWS = 1 << 17
# The third where the disk fills up at the end of a table, the fourth where it cannot be undone.
_NO_ROOM = (
    duckdb.OutOfMemoryException,
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.FatalException,
)


class DuckDBEngine:
    """See `Engine`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, params: Params, work: Path) -> None:
        self._connection, self._params, self._work = connection, params, work

    def read(self, files: Sequence[Path], report: ReadReport) -> None:
        """See `Engine`; at most hardware.threads files at a time."""
        shards = self._work / "events"
        shards.mkdir()
        write_shards(files, shards, self._params.data, report, self._params.hardware.threads)
        self._connection.read_parquet(str(shards / "*.parquet")).create_view("raw_events")

    def create(self, name: str, select: str) -> None:
        """See `Engine`."""
        self._connection.execute(f"CREATE TABLE {name} AS {select}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """See `Engine`."""
        return self._connection.execute(query).fetchall()

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """See `Engine`."""
        yield from self._connection.sql(query).to_arrow_reader(_BATCH_ROWS)


@contextmanager
def open_duckdb(params: Params, work: Path) -> Iterator[DuckDBEngine]:
    """Open an engine that keeps tables, and what does not fit into memory, in the folder `work`.

    Raises:
        UserError: the memory limit or the disk is too small, or `work` is no folder.
    """
    if not isinstance(work, PosixPath | WindowsPath):
        raise UserError(
            f"data.work: found {str(work)!r}, but data.engine = duckdb spills to a local disk; "
            "name a folder, or null"
        )
    with scratch_folder(work / "preprocess") as scratch:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": params.data.memory_limit,
            "threads": params.hardware.threads,
            "temp_directory": str(scratch / "spill"),
            "preserve_insertion_order": False,  # every output says its order
        }
        try:
            with duckdb.connect(str(scratch / "work.duckdb"), config=settings) as connection:
                yield DuckDBEngine(connection, params, scratch)
        except _NO_ROOM as error:
            fault = str(error).splitlines()[0]  # the rest is advice to those who write SQL
            raise UserError(
                f"sessions could not be cut: {fault}; nothing was written; raise "
                f"data.memory_limit (now {params.data.memory_limit}) or free disk space in {work}"
            ) from None
        except (RuntimeError, duckdb.InterruptException) as error:
            if "interrupted" in str(error).lower():  # Ctrl-C while DuckDB was at work
                raise KeyboardInterrupt from None
            raise
