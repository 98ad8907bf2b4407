"""A service to ask: the application alone, or the whole of it in its own processes."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from small_bundle import course
from starlette.types import ASGIApp

SECONDS = 120  # that a start may take on a busy machine
PROGRAM = "from mooc_maml.recommend.command import main; main()"


def ask(app: ASGIApp, method: str, address: str, **sent: Any) -> httpx.Response:
    """The application's answer to one request from this machine."""
    return ask_many(app, [(method, address, sent)])[0]


def ask_many(app: ASGIApp, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """Its answers to requests that come at once."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = (client.request(method, at, **sent) for method, at, sent in requests)
            return list(await asyncio.gather(*asked))

    return asyncio.run(run())


def question(*numbers: int, **others: Any) -> dict[str, Any]:
    """The body of a question for one learner of these courses."""
    return {"learners": [{"courses": [course(number) for number in numbers]}], **others}


@dataclass(frozen=True)
class Running:
    """A service in its own processes; `log`: what it printed."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def workers(self) -> list[psutil.Process]:
        """Its processes that answer."""
        return psutil.Process(self.process.pid).children()

    def recommend(self, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.address}/recommend", json=body, timeout=30)

    def wait_for_log(self, words: str, after: int = 0) -> None:
        """Wait until it has printed `words` beyond the place `after`."""
        wait_for(lambda: words in self.log.read_text()[after:], f"{words!r} in {self.log}")


def wait_for(is_so: Any, what: str, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@contextmanager
def running(bundle: Path, *options: str, **environment: str) -> Iterator[Running]:
    """Serve a bundle on a free port; end with all that belongs to it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            "serve",
            "--bundle",
            str(bundle),
            "--port",
            "0",
            *options,
        ]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file, env=os.environ | environment)
        try:
            wait_for(
                lambda: "serves bundle" in log.read_text() or process.poll() is not None, "start"
            )
            found = re.search(r"http://\S+:\d+", log.read_text())
            assert found, log.read_text()
            yield Running(process, found[0], log)
        finally:
            print(f"status {process.poll()}:", log.read_text())  # shown if a test fails
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in an answer, which has no more than that."""
    content: dict[str, Any] = json.loads(response.content)
    assert set(content) == {"error"}
    assert set(content["error"]) == {"code", "message", "where"}
    error: dict[str, Any] = content["error"]
    return error
