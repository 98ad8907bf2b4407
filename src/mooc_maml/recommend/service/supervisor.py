"""The process that starts workers, replaces those that die, and changes the bundle.

It loads a bundle once and forks: workers share its memory. A new bundle gets new workers; when all
of them answer, the old ones finish what they have and end. All listen on one socket, which stays
open throughout, so that no request finds it closed.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.recommender import Recommender
from mooc_maml.recommend.service.about import offered, revision
from mooc_maml.recommend.service.metrics import count_in, leave, reserve
from mooc_maml.recommend.service.schemas import ReloadAnswer
from mooc_maml.recommend.service.settings import ServiceSettings
from mooc_maml.recommend.service.worker import BUSY, FAILED, READY, RELOAD, work

_TRIES = 5  # workers in a row that die before they are ready
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass
class Generation:
    """A bundle, and whether it is the one that is served. `asked_by`: the worker to tell."""

    recommender: Recommender
    name: str
    asked_by: "Worker | None" = None


@dataclass(eq=False)
class Worker:
    """A process that answers requests. `place`: that it has among those that run, from 0."""

    process: int
    place: int
    control: socket.socket
    generation: Generation
    ready: bool = False
    ending: bool = False
    begun: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps as many workers as wanted; one thread, which waits for signals and lines of workers.

    Args:
        settings: of the service.
        load: reads a bundle with all models that may be asked.
        say: where a line about what happens goes.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        load: Callable[[ServiceSettings], Recommender],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._load, self._say = settings, load, say
        self._workers: list[Worker] = []
        self._stopping = False
        self._died = 0  # workers, before they were ready, since the last that was
        self._again = False  # whether a signal to reload came while another was under way
        self._next: Generation | None = None  # whose workers are not all ready
        for place in range(2 * settings.workers):  # of one bundle, and of the next beside them
            reserve(place)
        recommender = load(settings)
        self._now = Generation(recommender, revision(recommender))

    def run(self, listening: socket.socket) -> None:
        """Serve until SIGTERM or Ctrl-C, then let every request end.

        Raises:
            UserError: workers die before they answer anything.
        """
        self._listening = listening
        self._wake = socket.socketpair()
        for end in self._wake:
            end.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        try:
            self._fill(self._now)
            while self._workers:
                self._step(self._wake[0])
            self._say("has ended")
        finally:
            self._kill()
            signal.set_wakeup_fd(-1)
            for end in self._wake:
                end.close()

    def _step(self, wake: socket.socket) -> None:
        """Wait for something to happen, and see to it."""
        talking = {worker.control: worker for worker in self._workers}
        heard, _, _ = select.select([wake, *talking], [], [], 1.0 if self._stopping else None)
        for one in heard:
            if one is wake:
                self._signals(wake.recv(4096))
            else:
                self._hear(talking[one])
        self._bury()
        if self._stopping and time.monotonic() > self._until:
            self._kill()

    def _signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            if self._stopping:
                self._kill()
            self._stop()
        elif signal.SIGHUP in numbers:
            self._reload(None)

    def _hear(self, worker: Worker) -> None:
        try:
            said = worker.control.recv(4096)
        except OSError:
            return
        if READY in said:
            worker.ready, self._died = True, 0
            if worker.ending:
                _end(worker)  # what was said while it began, it did not hear
            self._change_over()
        if RELOAD in said:
            self._reload(worker)

    def _fill(self, generation: Generation) -> None:
        """Start the workers that a bundle lacks."""
        there = [w for w in self._workers if w.generation is generation and not w.ending]
        for _ in range(self._settings.workers - len(there)):
            self._workers.append(self._fork(generation))

    def _fork(self, generation: Generation) -> Worker:
        ours, theirs = socket.socketpair()
        place = self._free_place()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        gc.collect()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none for one may reach the other
        process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            theirs.close()
            return Worker(process, place, ours, generation)
        others = [ours, *self._wake, *(worker.control for worker in self._workers)]
        count_in(place)
        _become_worker(generation.recommender, self._settings, self._listening, theirs, others)

    def _free_place(self) -> int:
        taken = {worker.place for worker in self._workers}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        if place >= 2 * self._settings.workers:  # workers of old bundles that are long in ending
            with suppress(OSError):
                reserve(place)
        return place

    def _bury(self) -> None:
        """Forget workers that have ended; replace those that had no leave to."""
        for worker in list(self._workers):
            if not _has_ended(worker.process):
                continue
            worker.control.close()
            self._workers.remove(worker)
            leave(worker.place)
            if worker.ending or self._stopping:
                continue
            self._died += not worker.ready
            if worker.generation is self._next:
                self._give_up()
            elif self._died >= _TRIES:
                self._stop()
                raise UserError("workers end before they answer; what they printed says why")
            else:
                self._say(f"worker {worker.process} has died; another takes its place")
                self._fill(worker.generation)

    def _reload(self, asked_by: Worker | None) -> None:
        if self._next is not None or self._stopping:
            self._again = asked_by is None  # who asks by signal is not told to ask later
            _tell(asked_by, BUSY)
            return
        self._again = False
        try:
            recommender = self._load(self._settings)
            found = Generation(recommender, revision(recommender), asked_by)
        except (UserError, OSError) as error:
            self._say(f"the bundle was not changed: {error}")
            _tell(asked_by, FAILED)
            return
        self._next = found
        self._fill(found)

    def _change_over(self) -> None:
        """When all workers of the new bundle answer, let the others end."""
        new = [worker for worker in self._workers if worker.generation is self._next]
        if self._next is None or not all(worker.ready for worker in new):
            self._announce()
            return
        old, self._now, self._next = self._now, self._next, None
        answer = ReloadAnswer(bundle=self._now.name, changed=self._now.name != old.name)
        _tell(self._now.asked_by, answer.model_dump_json().encode())
        self._now.asked_by = None
        for worker in self._workers:
            if worker not in new:
                _end(worker)
        self._say(f"serves bundle {self._now.name} in place of {old.name}")
        if self._again:
            self._reload(None)

    def _give_up(self) -> None:
        """A worker of the new bundle died before all were ready: the old bundle stays."""
        assert self._next is not None
        self._say(f"bundle {self._next.name} cannot be served; {self._now.name} stays")
        for worker in self._workers:
            if worker.generation is self._next:
                _end(worker)
        _tell(self._next.asked_by, FAILED)
        self._next, self._died = None, 0
        if self._again:
            self._reload(None)

    def _announce(self) -> None:
        first = [worker for worker in self._workers if worker.ready]
        if not self._announced and len(first) == self._settings.workers:
            self._announced = True
            host, port = self._listening.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            self._say(
                f"serves bundle {self._now.name} at http://{name}:{port} (a page at /, the "
                f"interface at /docs) with {len(first)} worker{'s' * (len(first) > 1)}; "
                "Ctrl-C ends it"
            )

    _announced = False

    def _stop(self) -> None:
        """Let every worker end what it has begun."""
        self._stopping = True
        self._until = time.monotonic() + self._settings.limits.request_seconds + 4
        self._listening.close()
        for worker in self._workers:
            _end(worker)

    def _kill(self) -> None:
        for worker in self._workers:
            _signal(worker.process, signal.SIGKILL)


def load_all(settings: ServiceSettings) -> Recommender:
    """A bundle with every model that may be asked read, so that workers share them.

    Raises:
        UserError: it cannot be read.
    """
    recommender = Recommender.load(settings.bundle)
    for name in offered(recommender, settings.with_learners):
        recommender.read(name)
    return recommender


def _become_worker(
    recommender: Recommender,
    settings: ServiceSettings,
    listening: socket.socket,
    control: socket.socket,
    others: Sequence[socket.socket],
) -> NoReturn:
    """In the new process: drop what is the supervisor's, serve, end."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which tells
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for other in others:
            other.close()  # so that workers see when the supervisor is gone
        work(recommender, settings, listening, control)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _has_ended(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True


def _end(worker: Worker) -> None:
    worker.ending = True
    _signal(worker.process, signal.SIGTERM)


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _tell(worker: Worker | None, words: bytes) -> None:
    if worker is None:
        return
    with suppress(OSError):  # it died meanwhile
        worker.control.sendall(words)
