"""Counts and times of requests, for Prometheus; summed over the workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

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


def forget_process(process: int) -> None:
    """Take a worker that has ended out of what is counted now; what it counted stays."""
    if SHARED in os.environ:
        mark_process_dead(process)  # type: ignore[no-untyped-call]
