"""Work killed, or robbed of its disk, at a chosen moment, in a forked process."""

import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def killed_before(change: int, work: Callable[[], object]) -> bool:
    """Do `work`, killed just before its change number `change` of the disk (from 0).

    Changes are files opened for writing, renamed and deleted, and folders made and deleted.

    Returns:
        Whether it was killed; False: it ended before, with success.
    """
    status = _forked(lambda: (sys.addaudithook(_killer(change)), work()))
    assert status in (0, -signal.SIGKILL), f"exit status {status}"
    return status != 0


def _killer(change: int) -> Callable[[str, tuple[Any, ...]], None]:
    numbers = itertools.count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and bool(arguments[2] & WRITING))
        if changes and next(numbers) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def said_without(work: Callable[[], object], file_size: int) -> tuple[int, str]:
    """Do `work` where no file may grow beyond so many bytes; its exit status and standard error."""
    import resource

    reading, writing = os.pipe()

    def limited() -> None:
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        work()

    status = _forked(limited)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        return status, said.read()


def _forked(work: Callable[[], object]) -> int:
    """Exit status of `work` done in a forked process; negative: the signal that ended it."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    status = 70
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not the handler of pytest-timeout
        signal.alarm(120)
        work()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(status)
