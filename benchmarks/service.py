"""The service under load: throughput, times, errors and memory, with answers checked meanwhile.

    python -m benchmarks.service --bundle models/bundle --workers 2

Needs wrk (Debian package wrk). Load comes over 1, 10 and 100 connections that stay open; each
request asks for one learner of ten different courses. Meanwhile other requests are compared with
what `Recommender` says offline. Then a worker is killed under load. The result goes to
benchmarks/measured/service.json.

    python -m benchmarks.service --requests 108000 --workers 1

measures memory alone, before and after so many requests (an hour's at 30 a second).
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import write_json
from mooc_maml.recommend import Recommender

CONNECTIONS = (1, 10, 100)
OUT = Path(__file__).parent / "measured" / "service.json"
_SERVE = "from mooc_maml.recommend.command import main; main()"
_JSON = {"Content-Type": "application/json"}
_LUA = """
local bodies = {%s}
local at = 0
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", "/recommend", {["Content-Type"] = "application/json"}, bodies[at])
end
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write, e.timeout,
    e.status))
end
"""


def histories(courses: list[str], learners: int = 50) -> list[list[list[str]]]:
    """Learners of ten courses each, all different."""
    size = len(courses)
    return [[[courses[(37 * i + 11 * j) % size] for j in range(10)]] for i in range(learners)]


def body_of(history: list[list[str]]) -> str:
    """The question for one learner."""
    return json.dumps({"learners": [{"sessions": history}], "top": 10})


@contextmanager
def serving(bundle: Path, workers: int) -> Iterator[tuple[psutil.Process, int]]:
    """The service on a free port: its supervisor, and the port."""
    command = [sys.executable, "-c", _SERVE, "serve", "--bundle", str(bundle), "--port", "0"]
    command += ["--workers", str(workers), "--max-waiting", "128"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file)
        try:
            while not (found := re.search(r"http://\S+:(\d+)", log.read_text())):
                if process.poll() is not None:
                    raise UserError(log.read_text().strip())
                time.sleep(0.1)
            yield psutil.Process(process.pid), int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def memory_mb(supervisor: psutil.Process) -> dict[str, list[float]]:
    """Of the supervisor and each worker: own (USS), shared part included (PSS), all (RSS)."""
    found = [own.memory_full_info() for own in (supervisor, *supervisor.children())]
    return {
        name: [round(getattr(x, name) / 1e6, 1) for x in found] for name in ("uss", "pss", "rss")
    }


def load(port: int, connections: int, seconds: int, script: Path) -> dict[str, float]:
    """What wrk says of one spell of load."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if found is None:
        raise UserError(f"wrk: no result in {said[:200]!r}")
    requests, micros, p50, p99, broken, late, refused = map(int, found.groups())
    return {
        "connections": connections,
        "requests": requests,
        "requests_per_second": round(requests / (micros / 1e6), 1),
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "broken_connections": broken,
        "timeouts": late,
        "not_2xx": refused,
    }


def growth(bundle: Path, workers: int, requests: int) -> dict[str, Any]:
    """Memory of each worker before and after many requests, and what 10,000 more add.

    The first 2,000 are not counted: what they fill (pools, tables of labels) is filled once.
    """
    courses = Recommender.load(bundle).bundle.courses
    bodies = [body_of(one).encode() for one in histories(courses)]
    with serving(bundle, workers) as (process, port):
        _ask(port, bodies, 2000)
        before, begin = memory_mb(process), time.monotonic()
        _ask(port, bodies, requests)
        after, seconds = memory_mb(process), time.monotonic() - begin
    return {
        "requests": requests,
        "workers": workers,
        "requests_per_second": round(requests / seconds, 1),
        "memory_mb_before": before,
        "memory_mb_after": after,
        "growth_mb_in_10000": {
            kind: [
                round((b - a) * 10_000 / requests, 3)
                for a, b in zip(before[kind][1:], after[kind][1:], strict=True)
            ]
            for kind in before
        },
    }


def _ask(port: int, bodies: list[bytes], requests: int) -> None:
    """One after the other; a connection of its own each hundred, so that all workers get some."""
    for begin in range(0, requests, 100):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        for number in range(begin, min(begin + 100, requests)):
            connection.request("POST", "/recommend", bodies[number % len(bodies)], _JSON)
            answer = connection.getresponse()
            if answer.status != 200:
                raise UserError(f"request {number}: status {answer.status}")
            answer.read()
        connection.close()


class Comparing:
    """A connection of its own that compares answers with offline ones while load goes on."""

    def __init__(self, port: int, recommender: Recommender) -> None:
        learners = histories(recommender.bundle.courses)
        offline = recommender.recommend(learners, top=10)
        self._wanted = [
            (body_of(one), [row.course.id for row in own.after])
            for one, own in zip(learners, offline, strict=True)
        ]
        self._port, self._on = port, True
        self.equal = self.different = self.failed = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Comparing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        while self._on:
            for body, wanted in self._wanted:
                self._compare(connection, body, wanted)
                time.sleep(0.02)

    def _compare(self, connection: HTTPConnection, body: str, wanted: list[str]) -> None:
        try:
            connection.request("POST", "/recommend", body, _JSON)
            answer = connection.getresponse()
            content: Any = json.loads(answer.read())
        except OSError:
            connection.close()
            self.failed += 1
            return
        if answer.status != 200:
            self.failed += 1
            return
        (one,) = content["recommendations"]
        same = [row["course"]["id"] for row in one["after"]] == wanted
        self.equal, self.different = self.equal + same, self.different + (not same)


def measure(bundle: Path, workers: int, seconds: int) -> dict[str, Any]:
    """All figures."""
    recommender = Recommender.load(bundle)
    bodies = ", ".join(f"[==[{body_of(one)}]==]" for one in histories(recommender.bundle.courses))
    with tempfile.TemporaryDirectory() as folder, serving(bundle, workers) as (process, port):
        script = Path(folder) / "post.lua"
        script.write_text(_LUA % bodies)
        load(port, 1, 2, script)
        before = memory_mb(process)
        with Comparing(port, recommender) as compared:
            spells = [load(port, connections, seconds, script) for connections in CONNECTIONS]
        after = memory_mb(process)
        kill = _killed(process, port, seconds, script)
    return {
        "model": recommender.default_model,
        "courses": len(recommender.bundle.courses),
        "synthetic": recommender.bundle.data.synthetic,
        "workers": workers,
        "cores": os.cpu_count(),
        "load": spells,
        "answers_compared": {"equal": compared.equal, "different": compared.different},
        "memory_mb_before": before,
        "memory_mb_after": after,
        "a_worker_killed": kill,
    }


def _killed(process: psutil.Process, port: int, seconds: int, script: Path) -> dict[str, float]:
    """Load over ten connections, while a worker is killed."""
    victim = process.children()[0]
    timer = threading.Timer(seconds / 2, victim.kill)
    timer.start()
    return load(port, 10, seconds, script)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models/bundle"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=20, help="of each spell of load")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--requests", type=int, help="measure memory alone, over so many")
    own = parser.parse_args()
    if own.requests is not None:
        print(json.dumps(growth(own.bundle, own.workers, own.requests), indent=2))
        return
    if shutil.which("wrk") is None:
        raise UserError("wrk: not found; install it (Debian: apt-get install wrk)")
    found = measure(own.bundle, own.workers, own.seconds)
    write_json(own.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main_guard(main)
