"""The one kind of error that a user can mend, and how a stage shows it."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something outside the code is wrong; the message names it and says what to do."""


_STOPPED = "stopped by Ctrl-C; run the same command again to go on"


def end_at_ctrl_c() -> None:
    """Until `main_guard` takes over, let Ctrl-C end the process at once, with one line.

    For the seconds in which modules are imported: there is nothing to save, and an import that is
    broken off may turn the interrupt into another error. Where Ctrl-C is ignored or already has
    another meaning, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: object) -> None:
    print(_STOPPED, file=sys.stderr, flush=True)
    os._exit(128 + number)


def main_guard(main: Callable[[], None]) -> None:
    """Run a stage's main; show a `UserError` or a fault of the disk as one line, with status 1."""
    try:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _print_every_letter()
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: {_in_words(error)}", file=sys.stderr)
        sys.exit(1)
    except MemoryError:
        print(
            "error: out of memory; close other programs, or lower hardware.tasks_at_once, "
            "data.memory_limit or the batch sizes in params.yaml",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _print_every_letter() -> None:
    """Where the terminal's encoding lacks a letter, print its code: a name shall not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


_FULL = "free some disk space"
_FORBIDDEN = "give yourself the right to it, or choose another place"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENOENT: "make it first (`dvc repro` runs what makes it)",
}


def _in_words(error: OSError) -> str:
    """disk.csv: No space left on device; free some disk space, then run the same command again."""
    place = "" if error.filename is None else f"{error.filename}: "
    advice = _ADVICE.get(error.errno or 0, "look after the disk or the device it lies on")
    return f"{place}{error.strerror or error}; {advice}, then run the same command again"
