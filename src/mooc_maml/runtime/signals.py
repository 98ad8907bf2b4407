"""A run that is asked to stop does so where nothing is lost."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn, Self

from mooc_maml.common.progress import say


class Stop:
    """Whether Ctrl-C or SIGTERM has asked this process to stop; the work looks between its steps.

    In a `with` statement, outside of which both do what they did before. What was asked after the
    work had looked for the last time ends the process as the statement ends: it is not lost.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for name in (signal.SIGINT, signal.SIGTERM):
            self._before[name] = signal.signal(name, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)
        if self and kind is None:
            self.end("the last step")

    def _ask(self, number: int, frame: object) -> None:
        self.number = number

    def __bool__(self) -> bool:
        return self.number != 0

    def end(self, after: str) -> NoReturn:
        """End the process, whose state is saved, with the exit status of the signal."""
        say(f"stopped after {after}; the same command goes on from there", error=True)
        sys.exit(128 + self.number)


@contextmanager
def passing_signals(first: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Let the first process act on signals that ask to stop; afterwards they mean what they did."""
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, lambda number, _: first.send_signal(number)) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def end_with_starter() -> None:
    """End this process when the one that started it is gone, somehow, and its end of our pipe.

    Without a pipe as standard input there is nobody to end with.
    """
    try:
        is_held = stat.S_ISFIFO(os.fstat(0).st_mode)
    except OSError:  # closed
        return
    if is_held:
        threading.Thread(target=_read_to_the_end, daemon=True).start()


def _read_to_the_end() -> None:
    while os.read(0, 1):
        pass
    print("ended: the program that started this one is gone", file=sys.stderr, flush=True)
    os._exit(1)
