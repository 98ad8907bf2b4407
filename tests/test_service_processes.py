"""The service in its own processes: a killed worker, a new bundle and the end lose no request."""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil
import pytest
from service_helpers import Running, error_of, question, running, wait_for
from small_bundle import write_bundle

from mooc_maml.common.errors import UserError
from mooc_maml.recommend import Recommender
from mooc_maml.recommend.service.start import listen

KEY = "a key of some length"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {str(seed): write_bundle(folder / str(seed), seed) for seed in (1, 2)}


@pytest.fixture(scope="module")
def served(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the service reads."""
    return Path(shutil.copytree(bundles["1"], tmp_path_factory.mktemp("served") / "bundle"))


@pytest.fixture(scope="module")
def service(served: Path) -> Iterator[Running]:
    with running(served, "--workers", "2", "--request-seconds", "5") as own:
        yield own


def put(bundle: Path, served: Path) -> None:
    """Exchange the served bundle as a careful person does: whole or not at all."""
    new, old = served.with_name("new"), served.with_name("old")
    shutil.copytree(bundle, new)
    served.rename(old)
    new.rename(served)
    shutil.rmtree(old)


class Asking:
    """Asks over connections that stay open, as fast as answers come, until told to stop."""

    def __init__(self, port: int, connections: int) -> None:
        self._port, self._on = port, True
        self.answers: list[tuple[int, str]] = []  # status, bundle
        self.faults: list[Exception] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(connections)]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        body = json.dumps(question(1, 2, 3, 4, top=3)).encode()
        while self._on:
            try:
                connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                self.answers.append((answer.status, json.loads(answer.read()).get("bundle", "")))
            except (OSError, ValueError) as error:
                self.faults.append(error)
                connection.close()
        connection.close()


def first_courses(answer: httpx.Response) -> list[str]:
    return [row["course"]["id"] for row in answer.json()["recommendations"][0]["after"]]


def test_workers_share_the_models_memory_and_answer_as_offline(
    service: Running, served: Path
) -> None:
    assert len(service.workers()) == 2
    offline = Recommender.load(served).recommend([[[f"C{i:03d}" for i in (1, 2, 3, 4)]]], top=3)[0]
    for _ in range(6):
        answer = service.recommend(question(1, 2, 3, 4, top=3))
        assert first_courses(answer) == [row.course.id for row in offline.after]
    for worker in service.workers():
        memory = worker.memory_full_info()
        assert memory.uss < 0.6 * memory.rss, "most of a worker's memory is its siblings' too"


def test_a_killed_worker_is_replaced_and_loses_no_more_than_it_had_in_hand(
    service: Running,
) -> None:
    before = {worker.pid for worker in service.workers()}
    with Asking(service.port, 6) as asking:
        wait_for(lambda: len(asking.answers) > 20, "answers")
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len({w.pid for w in service.workers()} - before) == 1, "a new worker")
        reached = len(asking.answers)
        wait_for(lambda: len(asking.answers) > reached + 20, "more answers")
    assert len(asking.faults) <= 6, asking.faults
    assert {status for status, _ in asking.answers} == {200}


def test_a_new_bundle_is_served_without_a_failed_request(
    service: Running, served: Path, bundles: dict[str, Path]
) -> None:
    old = httpx.get(f"{service.address}/health").json()["bundle"]
    with Asking(service.port, 4) as asking:
        wait_for(lambda: len(asking.answers) > 20, "answers")
        put(bundles["2"], served)
        told = httpx.post(f"{service.address}/reload", timeout=60)
        assert told.status_code == 200, told.text
        new = told.json()["bundle"]
        assert told.json()["changed"]
        wait_for(lambda: asking.answers[-1][1] == new, "answers of the new bundle")
        place = service.log.stat().st_size
        put(bundles["1"], served)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_log(f"serves bundle {old} in place of {new}", place)
        reached = len(asking.answers)
        wait_for(lambda: len(asking.answers) > reached + 40, "more answers")
    assert asking.faults == []
    assert {status for status, _ in asking.answers} == {200}
    assert {bundle for _, bundle in asking.answers} == {old, new}
    wait_for(lambda: len(service.workers()) == 2, "the old workers' end")


def test_a_bundle_that_cannot_be_read_changes_nothing(
    service: Running, served: Path, bundles: dict[str, Path]
) -> None:
    before = httpx.get(f"{service.address}/health").json()
    (served / "maml.safetensors").write_bytes(b"no model")
    told = httpx.post(f"{service.address}/reload", timeout=60)
    put(bundles["1"], served)
    assert (told.status_code, error_of(told)["code"]) == (409, "bundle_unreadable")
    assert str(served) not in told.text
    assert "maml.safetensors" in service.log.read_text()
    assert httpx.get(f"{service.address}/health").json() == before
    assert service.recommend(question(1, 2)).status_code == 200


def send(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back on a connection until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        found = b""
        while more := connection.recv(65536):
            found += more
        return found


POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HELD = [
    ((b"no http\r\n\r\n",), 400, "no_http"),
    ((b"GET /health HTTP/1.1\r\n", b"X: " + b"a" * 40_000), 431, "headers_too_long"),
    ((b"GET /health HTTP/1.1\r\nHost: local",), 408, "slow_request"),
    (
        (b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",),
        408,
        "slow_request",
    ),
    ((POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"), 408, "slow_request"),
    (
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"ffffffffff\r\n" + b" " * (2**20 + 1)),
        413,
        "too_long",
    ),
    # two readings of where a request ends: what a proxy lets through as a body would be a request
    ((POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",), 400, "no_http"),
    ((POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",), 400, "no_http"),
]


def test_a_connection_cannot_be_held_open(service: Running) -> None:
    with ThreadPoolExecutor(len(HELD)) as threads:
        answers = threads.map(lambda held: send(service.port, *held[0], pause=0.05), HELD)
    for (_, status, code), answer in zip(HELD, answers, strict=True):
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert json.loads(body)["error"]["code"] == code
        assert b"server:" not in head.lower()


def test_the_metrics_are_those_of_all_workers(service: Running) -> None:
    def counted() -> float:
        text = httpx.get(f"{service.address}/metrics").text
        line = 'mooc_maml_learners_total{kind="adapted",model="few_shot"} '
        return float(text.split(line)[1].split("\n")[0])

    service.recommend(question(1, 2))  # what was never counted has no line
    before = counted()
    for _ in range(12):  # each over a connection of its own: one worker or the other
        service.recommend(question(1, 2))
    assert counted() == before + 12


def test_the_end_lets_requests_end(served: Path) -> None:
    body = json.dumps(question(1, 2, 3)).encode()
    head = (
        "POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    left_over = {"WEB_CONCURRENCY": "many"}  # which uvicorn would read
    with running(served, MOOC_MAML_KEY=KEY, **left_over) as own:
        assert httpx.get(f"{own.address}/model").status_code == 401
        workers = own.workers()
        with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
            connection.sendall(head + body[:5])
            time.sleep(0.3)
            own.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[5:])
            found = b""
            while more := connection.recv(65536):
                found += more
        assert found.startswith(b"HTTP/1.1 200 OK"), found
        assert b"connection: close" in found
        assert own.process.wait(20) == 0
        assert not any(worker.is_running() for worker in workers)


@pytest.mark.thorough
def test_workers_end_when_the_supervisor_is_killed(served: Path) -> None:
    with running(served) as own:
        workers = own.workers()
        own.process.kill()
        _, alive = psutil.wait_procs(workers, 20)
        assert alive == []


def test_a_port_that_is_taken_is_told_in_words(service: Running) -> None:
    with pytest.raises(UserError, match=f"127.0.0.1, port {service.port}: .*--port"):
        listen("127.0.0.1", service.port)
