"""Bytes as a file that one can look ahead in, or move about in."""

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

BUFFER = 1 << 18  # bytes that can be looked at before they are read


class Blocks:
    """Blocks of bytes, of any size, as a file to read from."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
        given, self._rest = self._rest[:count], self._rest[count:]
        return given


class Stream(io.RawIOBase):
    """Anything with `read`, so that a BufferedReader over it can look BUFFER bytes ahead."""

    def __init__(self, file: Any, on_bytes: Callable[[int], object] = lambda count: None) -> None:
        self._file = file
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return hasattr(self._file, "seekable") and bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but at the end."""
        done = 0
        while done < len(buffer) and (block := self._file.read(len(buffer) - done)):
            buffer[done : done + len(block)] = block
            done += len(block)
        self._on_bytes(done)
        return done


def buffered(file: Any, on_bytes: Callable[[int], object] = lambda c: None) -> io.BufferedReader:
    """A file that can be looked into: `peek()` gives BUFFER bytes, or all if there are fewer."""
    return io.BufferedReader(Stream(file, on_bytes), BUFFER)


def in_a_file(file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
    """The same where one can go back and forth: in a temporary file, unless it is one already."""
    if file.seekable():
        return file
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(file, copy, BUFFER)
    copy.seek(0)
    return buffered(copy)
