"""Both engines of data.engine: the same bytes, and a clear word when one cannot go on."""

import csv
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import sha256
from mooc_maml.preprocess import spark_engine
from mooc_maml.preprocess.duckdb_engine import open_duckdb
from mooc_maml.preprocess.event_shards import write_shards
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.preprocess.spark_session import first_lines
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.sources.events import ReadReport
from mooc_maml.synthetic.activity import simulate
from mooc_maml.synthetic.dump import write_dump

# Little data: what pays for itself with much is left out.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
FOR_LITTLE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
COLUMNS = ["learner", "course", "time", "event", "session"]
TABLE = {"time_format": "epoch", "event": "event", "session": "session"}


def skip_without_spark() -> None:
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, and there is none")


@pytest.fixture
def spark() -> None:
    skip_without_spark()


def write_table(folder: Path, rows) -> Path:
    folder.mkdir()
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return folder


def tied_log(events: int = 4_000) -> list[tuple[object, ...]]:
    """Events of 60 learners, many at one moment, some twice, with ids that sort by their bytes."""
    learner = ["a", "Z", "é", "清", "10", "9"]
    return [
        (
            f"{learner[i % 6]}{i * 7919 % 10}",
            f"{learner[i * i % 5]}{i * i % 7}",
            i * 104_729 % 9_000 // 3 * 3,
            ("video", "")[i % 2],
            ("", "s1", "s2")[i % 3],
        )
        for i in range(events)
    ]


@pytest.fixture
def table_of_ties(tmp_path) -> Path:
    return write_table(tmp_path / "ties", tied_log())


def made(raw: Path, pairs: Path, make_params, data, **changes):
    """The account, and digests of the files."""
    params = make_params(data={"event_prefixes": []} | data, **changes)
    account = preprocess(raw, pairs, params)
    return account, {path.name: sha256(path) for path in pairs.iterdir()}


def assert_alike(raw, tmp_path, make_params, data, spark_data, **changes) -> None:
    embedded = made(raw, tmp_path / "duckdb", make_params, data, **changes)
    data = data | {"engine": "spark", "spark": spark_data}
    assert made(raw, tmp_path / "spark", make_params, data, **changes) == embedded
    assert embedded[0]["pairs"] > 100
    left = [path.name for path in tmp_path.iterdir() if "preprocess" in path.name]
    assert left == [], "tables in between are deleted"


LOCAL = {"master": "local[2]", "config": FOR_LITTLE}


class Cluster:
    """A standalone master and two workers on this machine."""

    def __init__(self, folder: Path) -> None:
        import pyspark

        self._home = Path(pyspark.__file__).parent
        self._folder = folder
        self._all: list[subprocess.Popen[bytes]] = []
        said = self._start("master.Master", "--host", "127.0.0.1", "--port", "0")
        self.master = self._wait_for(said, r"Starting Spark master at (spark://\S+)")
        self.workers = [self.add_worker() for _ in range(2)]

    def add_worker(self) -> subprocess.Popen[bytes]:
        log = self._start(
            "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g",
            "--work-dir", str(self._folder / "work"), self.master,
        )  # fmt: skip
        self._wait_for(log, r"(Successfully registered with master)")
        return self._all[-1]

    def _start(self, program: str, *arguments: str) -> Path:
        log = self._folder / f"{len(self._all)}.log"
        environment = os.environ | {"SPARK_HOME": str(self._home), "SPARK_DAEMON_MEMORY": "256m"}
        environment["SPARK_DAEMON_JAVA_OPTS"] = QUICK
        with log.open("wb") as file:
            command = [str(self._home / "bin" / "spark-class")]
            command += [f"org.apache.spark.deploy.{program}", "--webui-port", "0", *arguments]
            self._all.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        return log

    def _wait_for(self, log: Path, pattern: str) -> str:
        for _ in range(600):
            found = re.search(pattern, log.read_text(errors="replace"))
            if found:
                return found[1]
            time.sleep(0.1)
        raise AssertionError(log.read_text(errors="replace"))

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """As a machine that loses power: the worker and all that it runs."""
        for process in (*psutil.Process(worker.pid).children(recursive=True), worker):
            process.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        for process in self._all:
            if process.poll() is None:
                self.kill(process)


@pytest.fixture(scope="module")
def any_cluster(tmp_path_factory) -> Iterator[Cluster]:
    skip_without_spark()
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()


@pytest.fixture
def cluster(any_cluster) -> Cluster:
    while len(any_cluster.workers) < 2:
        any_cluster.workers.append(any_cluster.add_worker())
    return any_cluster


def on(cluster: Cluster) -> dict[str, object]:
    return {"master": cluster.master, "config": FOR_LITTLE}


SMALL = {"memory_limit": "800MB"}


@pytest.mark.thorough
@pytest.mark.parametrize("boundary", ["gap", "platform"])
def test_local_spark_gives_the_same_bytes_ties_included(
    spark, table_of_ties, tmp_path, make_params, boundary
):
    data = {"source": "table", "table": TABLE, "event_prefixes": ["video", ""]} | SMALL
    assert_alike(table_of_ties, tmp_path, make_params, data, LOCAL, sessions={"boundary": boundary})


@pytest.mark.thorough
def test_a_cluster_gives_the_same_bytes_and_outlives_a_worker_but_not_both(
    cluster, tmp_path, make_params, monkeypatch
):
    activity = simulate(SyntheticParams(learners=150, courses=25, taste_strength=1.0), 3)
    write_dump(activity, tmp_path / "raw", 3)
    work = (tmp_path / "shared").as_uri()  # any file system, by its URL
    data = {"source": "synthetic", "event_prefixes": ["video", "problem", "load", "seek"]} | SMALL
    embedded = made(tmp_path / "raw", tmp_path / "duckdb", make_params, data)
    data |= {"engine": "spark", "spark": on(cluster), "work": work}
    data |= {"raw": (tmp_path / "raw").as_uri()}
    create = spark_engine.SparkEngine.create

    def kill_before(name: str) -> None:
        def killing(engine, table, select):
            if table == name:
                cluster.kill(cluster.workers.pop())
            create(engine, table, select)

        monkeypatch.setattr(spark_engine.SparkEngine, "create", killing)

    kill_before("sessions")
    assert made(tmp_path / "nowhere", tmp_path / "spark", make_params, data) == embedded
    before = {path.name: sha256(path) for path in (tmp_path / "spark").iterdir()}
    kill_before("learners")
    monkeypatch.setattr(spark_engine, "_SECONDS_WITHOUT_WORKERS", 3.0)
    with pytest.raises(UserError, match=r"has had no worker for this run for 3 s.*nothing was wri"):
        made(tmp_path / "nowhere", tmp_path / "spark", make_params, data)
    assert {path.name: sha256(path) for path in (tmp_path / "spark").iterdir()} == before
    assert list((tmp_path / "shared").iterdir()) == []


MARS = {"learner": "user_id", "item": "item_id", "time": "created_at"}


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["local", "cluster"])
@pytest.mark.parametrize("name", ["mars_implicit_ratings_en.csv", "kdd15_xuetangx_raw.json.gz"])
def test_real_clicks_give_the_same_bytes(
    spark, request, real_data, tmp_path, make_params, name, place
):
    path: Path = real_data(name)
    data = {"files": name, "source": "table", "table": MARS} | SMALL
    if name.startswith("kdd"):
        data |= {"source": "xuetangx", "event_prefixes": ["video", "problem", "access"]}
    where = LOCAL if place == "local" else on(request.getfixturevalue("cluster"))
    assert_alike(path.parent, tmp_path, make_params, data, where)


@pytest.mark.thorough
def test_a_bad_file_says_the_same_on_spark(spark, tmp_path, make_params):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.json").write_text('[["c", {"7"')
    data = {"source": "xuetangx", "engine": "spark", "spark": LOCAL}
    with pytest.raises(UserError, match=r"a\.json: broken JSON within the first"):
        made(raw, tmp_path / "pairs", make_params, data)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_an_engine_that_does_not_exist_is_named_with_those_that_do(make_params):
    with pytest.raises(UserError, match=r"data\.engine: found 'hive'; .*'duckdb' or 'spark'"):
        make_params(data={"engine": "hive"})


def run_on_spark(raw, tmp_path, make_params, **data):
    settings = {"source": "table", "table": TABLE, "engine": "spark", "spark": LOCAL}
    return made(raw, tmp_path / "pairs", make_params, settings | data)


def test_without_the_extra_or_java_the_message_says_what_to_install(
    table_of_ties, tmp_path, make_params, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyspark.errors", None)
        with pytest.raises(UserError, match=r"PySpark is not installed; .*mooc-maml\[spark\]"):
            run_on_spark(table_of_ties, tmp_path, make_params)
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UserError, match=r"there is no Java: .*install Java 17"):
        run_on_spark(table_of_ties, tmp_path, make_params)
    assert [path.name for path in tmp_path.iterdir()] == ["ties"]


def test_an_extra_or_a_java_that_does_not_work_is_told_from_one_that_is_not_there(
    table_of_ties, tmp_path, make_params, monkeypatch
):
    broken = tmp_path / "broken"
    broken.mkdir()
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "pyspark"]:
            patch.delitem(sys.modules, name)
        (broken / "pyspark.py").write_text("raise ImportError('too old')")
        patch.syspath_prepend(broken)
        with pytest.raises(UserError, match=r"PySpark cannot be imported \(too old\); install"):
            run_on_spark(table_of_ties, tmp_path, make_params)
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    monkeypatch.setenv("JAVA_HOME", str(broken))
    with pytest.raises(UserError, match=r"JAVA_HOME = .*broken holds no bin/java.* or unset it"):
        run_on_spark(table_of_ties, tmp_path, make_params)
    (broken / "bin").mkdir()
    (broken / "bin" / "java").write_text("#!/bin/sh\necho 'no room' >&2\nexit 1\n")
    (broken / "bin" / "java").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr("pyspark.SparkContext._gateway", None)  # of earlier tests
        with pytest.raises(UserError, match=r"Java ended, for the.* 17 or later.*now 2GB"):
            run_on_spark(table_of_ties, tmp_path, make_params)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "ties"]


@pytest.mark.thorough
def test_workers_of_this_machine_run_the_python_that_runs_the_stage(
    spark, table_of_ties, tmp_path, make_params, monkeypatch
):
    other = tmp_path / "bin" / "python3"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(other.parent), os.environ["PATH"]]))
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    assert run_on_spark(table_of_ties, tmp_path, make_params)


def test_of_a_traceback_of_a_worker_the_error_is_shown():
    said = (
        "[X] thrown from the Python worker: Traceback (most recent call last):\n"
        '  File "worker.py", line 1, in f\n    import pyarrow\n'
        "ModuleNotFoundError: No module named 'pyarrow'\n SQLSTATE: 38000\n\tat org.apache.X\n"
    )
    assert first_lines(Exception(said)) == "ModuleNotFoundError: No module named 'pyarrow'"
    assert first_lines(Exception("one\n two\nthree")) == "one two"


@pytest.mark.thorough
def test_a_cluster_that_cannot_be_reached_is_named_at_once(
    spark, table_of_ties, tmp_path, make_params
):
    settings = {"master": "spark://127.0.0.1:1", "config": {}}
    start = time.monotonic()
    with pytest.raises(UserError, match=r"spark://127\.0\.0\.1:1', but nobody answers there"):
        run_on_spark(table_of_ties, tmp_path, make_params, spark=settings)
    assert time.monotonic() - start < 10
    assert [path.name for path in tmp_path.iterdir()] == ["ties"]


@pytest.mark.thorough
def test_a_master_that_spark_does_not_know_is_named(spark, table_of_ties, tmp_path, make_params):
    settings = {"master": "yam", "config": {}}
    with pytest.raises(UserError, match=r"'yam' gives no Spark session"):
        run_on_spark(table_of_ties, tmp_path, make_params, spark=settings)


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.thorough)])
def test_too_little_memory_stops_with_the_setting_and_without_output(
    request, tmp_path, make_params, engine
):
    if engine == "spark":
        request.getfixturevalue("spark")
    raw = write_table(tmp_path / "raw", tied_log(100_000))
    data = {"source": "table", "table": TABLE, "engine": engine, "memory_limit": "4MB"}
    with pytest.raises(UserError, match=r"\A.*data\.memory_limit \(now 4MB\).*\Z"):  # one line
        made(raw, tmp_path / "pairs", make_params, data | {"spark": LOCAL})
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_disk_that_fills_up_between_the_tables_is_told(table_of_ties, tmp_path, make_params):
    resource = pytest.importorskip("resource", reason="no limits on this system")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))  # the log is read, no more
    try:
        with pytest.raises(UserError, match=r"could not be cut: .*free disk space in .*\Z"):
            made(
                table_of_ties, tmp_path / "pairs", make_params, {"source": "table", "table": TABLE}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["ties"]


def test_duckdb_takes_no_url_to_work_in(table_of_ties, tmp_path, make_params):
    pytest.importorskip("upath", reason="the extra `spark` is not installed")
    data = {"source": "table", "table": TABLE, "work": "memory://somewhere"}
    with pytest.raises(UserError, match=r"data\.work: .*spills to a local disk"):
        made(table_of_ties, tmp_path / "pairs", make_params, data)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("file", "it is a file; name a folder"),
        ("file/inside", "Not a directory; name a folder"),
        ("closed", "it may not be written to; name a folder"),
    ],
)
def test_a_place_for_tables_that_cannot_be_used_is_named(
    table_of_ties, tmp_path, make_params, monkeypatch, work, said
):
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    if work == "closed":  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    data = {"source": "table", "table": TABLE, "work": str(tmp_path / work)}
    with pytest.raises(UserError, match=rf"data\.work: found '.*{work}': {said}"):
        made(table_of_ties, tmp_path / "pairs", make_params, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "file", "ties"]
    assert list((tmp_path / "closed").iterdir()) == []


def two_files(folder: Path) -> Path:
    write_table(folder, tied_log())
    shutil.copy(folder / "log.csv", folder / "more.csv")
    return folder


def test_files_read_side_by_side_give_the_same_as_one_after_the_other(
    tmp_path, make_params, monkeypatch
):
    raw = two_files(tmp_path / "raw")
    (raw / "more.csv").write_bytes(b"learner,course,time,event,session\nu,c,never,,\nu,c,1,,\n")
    data = {"source": "table", "table": TABLE}
    after = made(raw, tmp_path / "after", make_params, data)
    monkeypatch.setattr("mooc_maml.preprocess.event_shards._WORTH_PROCESSES", 0)
    params = make_params(data={"event_prefixes": []} | data)
    told: list[int] = []

    class Show:
        def __init__(self, total: int) -> None:
            self.total = total

        def __enter__(self):
            return told.append

        def __exit__(self, *error: object) -> None:
            assert sum(told) >= self.total  # the head of a table is read twice

    account = preprocess(raw, tmp_path / "beside", params, Show)
    assert (account, [sha256(p) for p in sorted((tmp_path / "beside").iterdir())]) == (
        after[0],
        [digest for _, digest in sorted(after[1].items())],
    )


@pytest.mark.parametrize(
    ("said", "becomes"), [("Query interrupted", KeyboardInterrupt), ("no", RuntimeError)]
)
def test_what_duckdb_answers_to_ctrl_c_is_ctrl_c(tmp_path, make_params, said, becomes):
    """DuckDB 2.0's answer, as a real Ctrl-C in a long query showed; main_guard knows nothing of it.

    No real signal here: the query that it left behind ran on, and its process with it.
    """
    with pytest.raises(becomes), open_duckdb(make_params(), tmp_path):
        raise RuntimeError(said)


@pytest.mark.parametrize("number", [1, 2])
def test_a_reading_process_that_dies_stops_the_run_without_output(
    tmp_path, make_params, monkeypatch, number
):
    """One is killed as soon as there are so many: with 1, while the second is being started."""
    monkeypatch.setattr("mooc_maml.preprocess.event_shards._WORTH_PROCESSES", 0)
    raw = two_files(tmp_path / "raw")

    def kill_one() -> None:
        for _ in range(100_000):
            children = multiprocessing.active_children()
            if len(children) >= number:
                os.kill(children[-1].pid or 0, signal.SIGKILL)
                return
            time.sleep(0.0001)

    for _ in range(5):
        killer = threading.Thread(target=kill_one)
        killer.start()
        with pytest.raises(
            UserError, match=r"process that read raw files .*died.*hardware\.threads"
        ):
            made(raw, tmp_path / "pairs", make_params, {"source": "table", "table": TABLE})
        killer.join()
        assert not multiprocessing.active_children()
        assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_fault_in_a_reading_process_shows_where_it_is(tmp_path, make_params, monkeypatch):
    monkeypatch.setattr("mooc_maml.preprocess.event_shards._WORTH_PROCESSES", 0)
    raw = two_files(tmp_path / "raw")
    params = make_params(data={"source": "table", "table": TABLE})
    broken = params.data.model_copy(update={"event_prefixes": 3})
    (tmp_path / "shards").mkdir()
    with pytest.raises(RuntimeError, match=r"in a reading process:\n(.*\n)*.*data\.event_prefixes"):
        write_shards(sorted(raw.iterdir()), tmp_path / "shards", broken, ReadReport(), 2)
    assert not multiprocessing.active_children()


def test_a_bad_file_stops_the_other_processes(tmp_path, make_params, monkeypatch):
    monkeypatch.setattr("mooc_maml.preprocess.event_shards._WORTH_PROCESSES", 0)
    raw = two_files(tmp_path / "raw")
    (raw / "more.csv").write_text("who,what\n")
    with pytest.raises(UserError, match=r"more\.csv: no column 'learner'"):
        made(raw, tmp_path / "pairs", make_params, {"source": "table", "table": TABLE})
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
