"""A session on a Spark cluster, or the reason why there is none."""

import os
import re
import shutil
import socket
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mooc_maml
from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams
from mooc_maml.settings.params import Params

_SECONDS_TO_ANSWER = 5.0


def spark_errors() -> tuple[type[Exception], ...]:
    """What Spark raises.

    Raises:
        UserError: PySpark or Java is not there.
    """
    try:
        from py4j.protocol import Py4JError, Py4JNetworkError
        from pyspark.errors import PySparkException
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError)
        fault = "is not installed" if is_missing else f"cannot be imported ({error})"
        raise UserError(
            f"data.engine: found 'spark', but PySpark {fault}; install the extra "
            "(pip install 'mooc-maml[spark]'), or set data.engine to duckdb"
        ) from None
    home = os.environ.get("JAVA_HOME")
    if home and not (Path(home) / "bin" / "java").is_file():
        raise UserError(
            f"data.engine: found 'spark', but JAVA_HOME = {home} holds no bin/java, and Spark "
            "looks nowhere else; set JAVA_HOME to Java 17 or later, or unset it where `java` is on "
            "PATH, or set data.engine to duckdb"
        )
    if not home and shutil.which("java") is None:
        raise UserError(
            "data.engine: found 'spark', but there is no Java: neither `java` on PATH nor "
            "JAVA_HOME; install Java 17 or later, or set data.engine to duckdb"
        )
    return Py4JError, Py4JNetworkError, PySparkException, ConnectionError


def check_master(master: str) -> None:
    """Ask a standalone master whether it is there, since Spark itself takes a minute to say no.

    Raises:
        UserError: nobody answers.
    """
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
def spark_session(params: Params, code: Path, errors: tuple[type[Exception], ...]) -> Iterator[Any]:
    """A session on `params.data.spark.master`, whose workers have this code.

    Args:
        params: all settings.
        code: an empty local folder to pack this package into.
        errors: what Spark raises.

    Raises:
        UserError: Spark does not start, or the cluster does not take it.
    """
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
    if data.spark.master.startswith("local"):  # else whatever python3 stands first on PATH
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("mooc-maml preprocess").master(data.spark.master)
    for key, value in (settings | data.spark.config).items():
        builder = builder.config(key, value)
    failures: tuple[type[Exception], ...] = (*errors, RuntimeError)
    try:
        session = builder.getOrCreate()
    except failures as error:
        raise UserError(_why_none(error, data)) from None
    try:
        session.sparkContext.addPyFile(str(_packed(code)))
        yield session
    finally:
        session.stop()


def _why_none(error: Exception, data: DataParams) -> str:
    """Why there is no session, and what to look at."""
    text, java = first_lines(error), ""
    if "JAVA_GATEWAY_EXITED" in text:
        text = "Java ended, for the reason that it gives above"
        java = ", whether `java -version` (of JAVA_HOME, if that is set) is 17 or later"
    elif "stopped SparkContext" in text:
        text = "the master did not take this run"
    return (
        f"data.spark.master: {data.spark.master!r} gives no Spark session: {text}; look at the "
        f"cluster{java}, at data.spark.config and at data.memory_limit (now {data.memory_limit})"
    )


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


def first_lines(error: Exception) -> str:
    """The telling lines of an error that holds Java's."""
    text = str(getattr(error, "java_exception", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"(\w+\.)*\w+(Error|Exception): ", line)]
    if raised and "Traceback" in lines[0]:  # of a worker's Python
        return raised[-1][:400]
    return " ".join(lines[:2])[:400] or type(error).__name__
