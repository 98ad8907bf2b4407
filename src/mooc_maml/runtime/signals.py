"""A run that is asked to stop does so where nothing is lost."""

import signal
import sys
from types import TracebackType
from typing import Any, NoReturn, Self


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
        print(f"stopped after {after}; the same command goes on from there", file=sys.stderr)
        sys.exit(128 + self.number)
