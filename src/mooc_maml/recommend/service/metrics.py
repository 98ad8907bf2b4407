"""Counts and times of requests, for Prometheus; summed over the workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from mooc_maml.common.files import naming

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the library's own name; to be set before it is imported
_PATHS = ("/", "/recommend", "/courses", "/model", "/health", "/metrics", "/reload", "/docs")
_METHODS = ("GET", "POST", "HEAD", "OPTIONS")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """What a worker counts. Names and values of a request never become labels unless listed."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mooc_maml_requests",
            "Requests answered.",
            ("method", "path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "mooc_maml_request_seconds",
            "Time from a request's headers to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._learners = Counter(
            "mooc_maml_learners",
            "Learners for whom a list was made.",
            ("model", "kind"),
            registry=self._registry,
        )
        self._now = Gauge(
            "mooc_maml_requests_in_progress",
            "Requests being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Count a request as being answered meanwhile."""
        with self._now.track_inprogress():
            yield

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered; status 0: the caller left."""
        known = path if path in _PATHS else "other"
        kind = method if method in _METHODS else "other"
        self._requests.labels(kind, known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def count_learners(self, model: str, kind: str, learners: int) -> None:
        """Count lists that a model made."""
        self._learners.labels(model, kind).inc(learners)

    def exposition(self) -> bytes:
        """All counts in Prometheus' text format, of all workers where there are several."""
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


_LIVE = "gauge_livesum"  # of a process that runs; the library's own name, as are the others
_FILES = ("counter", "histogram", _LIVE)
_BYTES = 1 << 18  # of a file; all labels that there are take less than half


def reserve(place: int) -> None:
    """Make the files that the worker in a place counts in, with their room on the disk.

    The library maps files with holes into memory: on a full disk a worker would be killed, by
    SIGBUS, when it counts what it did not count before.

    Raises:
        OSError: there is no room; it names the file.
    """
    for path in _files(place):
        with naming(path), path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _BYTES)


def count_in(place: int) -> None:
    """Let this process go on with the counts of a place, before it makes its `Metrics`.

    By itself the library gives each process files of its own, and keeps them: after many reloads
    thousands would be read for every GET /metrics.
    """
    if SHARED in os.environ:
        values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def leave(place: int) -> None:
    """Take a worker that has ended out of what is counted now; what it counted stays."""
    for path in _files(place):
        if path.name.startswith(_LIVE) and path.exists():
            with path.open("r+b") as file:
                file.write(bytes(8))  # the number of bytes in use


def _files(place: int) -> list[Path]:
    folder = os.environ.get(SHARED)
    return [Path(folder) / f"{name}_{place}.db" for name in _FILES] if folder else []
