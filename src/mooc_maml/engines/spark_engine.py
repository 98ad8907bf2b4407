"""Apache Spark: a cluster, or the threads of one machine. PySpark is the optional extra `spark`."""

import os
import re
import shutil
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import mooc_maml
from mooc_maml.errors import UserError
from mooc_maml.event_shards import write_shard
from mooc_maml.params import DataParams, Params
from mooc_maml.sources.events import ReadReport

_SECONDS_WITHOUT_WORKERS = 60.0
_SECONDS_TO_ANSWER = 5.0
_BATCH_ROWS = 1 << 17


class SparkEngine:
    """See `Engine`. Every table is a folder of Parquet files in `work`, which all workers reach."""

    def __init__(self, session: Any, params: Params, work: Path) -> None:
        self._session, self._params, self._work = session, params, work

    def read(self, files: Sequence[Path], report: ReadReport) -> None:
        """See `Engine`; each file is read by one task, by the code that one machine runs."""
        shards, data, folder = self._work / "raw_events", self._params.data, report.folder
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
    errors = _errors()
    _check_master(params.data.spark.master)
    folder = work / f".preprocess.{uuid.uuid4().hex}.spark"
    folder.mkdir(parents=True)
    try:
        with TemporaryDirectory() as code, _session(params, Path(code), errors) as session:
            lost = _Watch(session)
            try:
                yield SparkEngine(session, params, folder)
            except errors as error:
                raise UserError(_in_words(error, params, lost)) from None
            finally:
                lost.end()
    finally:
        _delete(folder)


def _errors() -> tuple[type[Exception], ...]:
    """What Spark raises, where PySpark and Java are there."""
    try:
        from py4j.protocol import Py4JError, Py4JNetworkError
        from pyspark.errors import PySparkException
    except ImportError:
        raise UserError(
            "data.engine: found 'spark', but PySpark is not installed; install the extra "
            "(pip install 'mooc-maml[spark]'), or set data.engine to duckdb"
        ) from None
    if shutil.which("java") is None and not _java_home():
        raise UserError(
            "data.engine: found 'spark', but there is no Java: neither `java` on PATH nor "
            "JAVA_HOME; install Java 17 or later, or set data.engine to duckdb"
        )
    return Py4JError, Py4JNetworkError, PySparkException, ConnectionError


def _java_home() -> bool:
    home = os.environ.get("JAVA_HOME")
    return bool(home) and (Path(str(home)) / "bin" / "java").is_file()


def _check_master(master: str) -> None:
    """Ask a standalone master whether it is there, since Spark itself takes a minute to say no."""
    found = re.fullmatch(r"spark://(.+)", master)
    if found is None:
        return
    faults = []
    for address in found[1].split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
            return
        except (OSError, ValueError) as error:
            faults.append(f"{address}: {error}")
    raise UserError(
        f"data.spark.master: found {master!r}, but nobody answers there ({'; '.join(faults)}); "
        "start the cluster, mend the address, or use local[2]"
    )


@contextmanager
def _session(params: Params, code: Path, errors: tuple[type[Exception], ...]) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    data = params.data
    memory = f"{_mebibytes(data.memory_limit)}m"
    settings = {
        "spark.driver.memory": memory,
        "spark.executor.memory": memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.parquet.compression.codec": "zstd",
    }
    builder = SparkSession.builder.appName("mooc-maml preprocess").master(data.spark.master)
    for key, value in (settings | data.spark.config).items():
        builder = builder.config(key, value)
    failures: tuple[type[Exception], ...] = (*errors, RuntimeError)
    try:
        session = builder.getOrCreate()
    except failures as error:
        raise UserError(
            f"data.spark.master: {data.spark.master!r} gives no Spark session: {_first(error)}; "
            "look at the cluster, at data.spark.config and at data.memory_limit "
            f"(now {data.memory_limit})"
        ) from None
    try:
        session.sparkContext.addPyFile(str(_packed(code)))
        yield session
    finally:
        session.stop()


def _mebibytes(limit: str) -> int:
    """A limit such as 2GB in units of 2^20 bytes, as Java counts."""
    number, unit = re.fullmatch(r"([\d.]+)\s?([KMGT]i?)B", limit).groups()  # type: ignore[union-attr]
    base = 1024 if unit.endswith("i") else 1000
    return max(1, int(float(number) * base ** ("KMGT".index(unit[0]) + 1)) >> 20)


def _packed(folder: Path) -> Path:
    """This package as a zip file, so that workers run the same code."""
    root = Path(mooc_maml.__file__).parent
    path = folder / "mooc_maml.zip"
    with zipfile.ZipFile(path, "w") as file:
        for module in sorted(root.rglob("*.py")):
            file.write(module, Path("mooc_maml") / module.relative_to(root))
    return path


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
    text = _first(error)
    if "OutOfMemory" in str(error) or "heap space" in str(error):
        return (
            f"Spark ran out of memory: {text}; raise data.memory_limit "
            f"(now {params.data.memory_limit}); nothing was written"
        )
    return (
        f"Spark at {master!r} gave up: {text}; nothing was written; look at the workers "
        "(did one die or fill its disk?) and run the same command again"
    )


def _first(error: Exception) -> str:
    """The telling lines of an error that holds Java's."""
    text = str(getattr(error, "java_exception", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__


def _delete(folder: Any) -> None:
    if hasattr(folder, "fs"):
        folder.fs.rm(folder.path, recursive=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
