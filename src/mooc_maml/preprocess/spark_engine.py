"""Apache Spark: a cluster, or the threads of one machine. PySpark is the optional extra `spark`."""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PosixPath, WindowsPath
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import scratch_folder
from mooc_maml.preprocess.event_shards import write_shard
from mooc_maml.preprocess.spark_session import (
    check_master,
    first_lines,
    spark_errors,
    spark_session,
)
from mooc_maml.settings.data import DataParams
from mooc_maml.settings.params import Params
from mooc_maml.sources.events import ReadReport

_SECONDS_WITHOUT_WORKERS = 60.0
_BATCH_ROWS = 1 << 17


class SparkEngine:
    """See `Engine`. Every table is a folder of Parquet files in `work`, which all workers reach."""

    def __init__(self, session: Any, params: Params, work: Path) -> None:
        self._session, self._params, self._work = session, params, work

    def read(self, files: Sequence[Path], report: ReadReport) -> None:
        """See `Engine`; each file is read by one task, by the code that one machine runs."""
        shards, data = self._work / "raw_events", self._params.data
        # Workers have working folders of their own.
        folder = None if report.folder is None else _absolute(report.folder)
        files = [_absolute(path) for path in files]
        shards.mkdir()
        context = self._session.sparkContext
        read = context.accumulator(0)

        def read_file(numbered: tuple[int, Path]) -> tuple[str, ReadReport | str]:
            number, raw = numbered
            # A name of its own for every attempt: what a lost one wrote is not looked at.
            shard = shards / f"{number:06d}-{uuid.uuid4().hex}.parquet"
            return shard.name, _read_file(raw, shard, data, folder, read)

        with _telling(read, report):
            tasks = context.parallelize(list(enumerate(files)), len(files))
            done = tasks.map(read_file).collect()
        for _, found in done:
            if isinstance(found, str):
                raise UserError(found)
            report.add(found)
        paths = [str(shards / name) for name, _ in done]
        self._session.read.parquet(*paths).createOrReplaceTempView("raw_events")

    def create(self, name: str, select: str) -> None:
        """See `Engine`."""
        self._written(name, select).createOrReplaceTempView(name)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """See `Engine`."""
        return [tuple(row) for row in self._session.sql(query).collect()]

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """See `Engine`."""
        name = f"result_{uuid.uuid4().hex}"
        self._written(name, query)
        # A sorted result is written in parts that are numbered in its order.
        for part in sorted((self._work / name).glob("part-*.parquet"), key=lambda path: path.name):
            with part.open("rb") as file:
                yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS)

    def _written(self, name: str, select: str) -> Any:
        folder = str(self._work / name)
        self._session.sql(select).write.parquet(folder)
        return self._session.read.parquet(folder)


def _read_file(
    raw: Path, shard: Path, data: DataParams, folder: Path | None, read: Any
) -> ReadReport | str:
    """Read one raw file on a worker; give what was counted, or what the user is to be told."""
    report = ReadReport(folder, on_bytes=read.add)
    try:
        write_shard(raw, shard, data, report)
    except UserError as error:
        return str(error)
    return report.without_listener()


def _absolute(path: Path) -> Path:
    return path.resolve() if isinstance(path, type(Path())) else path  # a URL is absolute


@contextmanager
def _telling(read: Any, report: ReadReport) -> Iterator[None]:
    """Pass on how many bytes the finished tasks have read."""
    done = threading.Event()

    def tell() -> None:
        told = 0
        while not done.wait(0.5):
            now = int(read.value)
            report.on_bytes(now - told)
            told = now

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def open_spark(params: Params, work: Path) -> Iterator[SparkEngine]:
    """Open an engine on the cluster `params.data.spark.master`, with its tables in `work`.

    Raises:
        UserError: PySpark, Java or the cluster is not there, or the cluster gave up.
    """
    errors = spark_errors()
    check_master(params.data.spark.master)
    with (
        _scratch(work) as folder,
        TemporaryDirectory() as code,
        spark_session(params, Path(code), errors) as session,
    ):
        lost = _Watch(session)
        try:
            yield SparkEngine(session, params, folder)
        except errors as error:
            raise UserError(_in_words(error, params, lost)) from None
        finally:
            lost.end()


@contextmanager
def _scratch(work: Any) -> Iterator[Path]:
    """A folder in `work`, a path or what a URL names, that is deleted at the end."""
    if isinstance(work, PosixPath | WindowsPath):
        with scratch_folder(work / "preprocess") as folder:
            yield folder
        return
    remote = work / f"preprocess-{uuid.uuid4().hex}"
    remote.mkdir(parents=True)
    try:
        yield remote
    finally:
        remote.fs.rm(remote.path, recursive=True)


class _Watch:
    """Ends the work when a cluster has had no worker for a while: Spark would wait for ever."""

    def __init__(self, session: Any) -> None:
        self.without_workers = False
        self._context = session.sparkContext
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if not str(self._context.master).startswith("local"):
            self._thread.start()

    def end(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._done.wait(min(1.0, _SECONDS_WITHOUT_WORKERS / 5)):
            try:
                executors = self._context._jsc.sc().getExecutorMemoryStatus().size() - 1
            except Exception:  # the context has stopped: the work has ended already
                return
            if executors > 0:
                last = time.monotonic()
            elif time.monotonic() - last > _SECONDS_WITHOUT_WORKERS:
                self.without_workers = True
                self._context.cancelAllJobs()
                return


def _in_words(error: Exception, params: Params, lost: _Watch) -> str:
    master = params.data.spark.master
    if lost.without_workers:
        return (
            f"data.spark.master: {master!r} has had no worker for this run for "
            f"{_SECONDS_WITHOUT_WORKERS:g} s: they died, are busy, or have less memory or cores "
            f"than data.memory_limit = {params.data.memory_limit} and data.spark.config ask for; "
            "nothing was written; mend the cluster and run the same command again"
        )
    text = first_lines(error)
    if "OutOfMemory" in str(error) or "heap space" in str(error):
        return (
            f"Spark ran out of memory: {text}; raise data.memory_limit "
            f"(now {params.data.memory_limit}); nothing was written"
        )
    return (
        f"Spark at {master!r} gave up: {text}; nothing was written; look at the workers "
        "(did one die or fill its disk?) and run the same command again"
    )
