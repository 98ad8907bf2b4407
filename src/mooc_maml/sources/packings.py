"""What raw files are packed in: told by their first bytes, never by their names."""

import gzip
import io
import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.raw_files import is_left_aside

BUFFER = 1 << 18  # bytes that can be looked at before they are read
DAMAGE = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
_BLOCK = 1 << 18
_TAR_HEAD = 512
_MAX_LAYERS = 4


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


def unpacked(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack, layers: list[str]
) -> io.BufferedReader:
    """What a raw file holds, out of all that it is packed in.

    Args:
        file: the raw file at its start.
        path: how it is called.
        report: told what else lay in an archive.
        stack: closes what is opened.
        layers: the packings found are added to it, for messages.

    Raises:
        UserError: an archive of several files, or a kind of file that is not read.
    """
    for _ in range(_MAX_LAYERS + 1):
        head = file.peek()
        _refuse_foreign(head, path)
        kind = next((kind for kind, is_it in _KINDS.items() if is_it(head)), None)
        if kind is None:
            return file
        layers.append(kind)
        file = _OPENERS[kind](file, path, report, stack)
    raise UserError(f"{shown(path)}: packed more than {_MAX_LAYERS} times over; unpack it")


def in_a_file(file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
    """The same where one can go back and forth: in a temporary file, unless it is one already."""
    if file.seekable():
        return file
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(file, copy, BUFFER)
    copy.seek(0)
    return buffered(copy)


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head[:_TAR_HEAD], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


_KINDS: dict[str, Callable[[bytes], bool]] = {
    "gzip": lambda head: head.startswith(b"\x1f\x8b"),
    "bzip2": lambda head: re.match(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", head) is not None,
    "xz": lambda head: head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")),
    "zstd": lambda head: re.match(rb"\(\xb5/\xfd|[\x50-\x5f]\*M\x18", head) is not None,
    "lz4": lambda head: head.startswith(b"\x04\x22M\x18"),
    "zip": lambda head: head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")),
    "tar": _is_tar,
}


def _open_gzip(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    return buffered(stack.enter_context(gzip.GzipFile(fileobj=file)))


def _open_arrow(codec: str) -> Callable[..., io.BufferedReader]:
    """By pyarrow, which stops at whatever follows the packed streams and is none."""

    def opened(
        file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
    ) -> io.BufferedReader:
        return buffered(
            stack.enter_context(pa.CompressedInputStream(pa.PythonFile(file, "r"), codec))
        )

    return opened


def _open_xz(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    return buffered(Blocks(_xz_blocks(file)))


def _xz_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Stream after stream, zeros between them; Python's own reader passes over other things."""
    packed = file.read(_BLOCK)
    while packed:
        packed = packed.lstrip(b"\0") or file.read(_BLOCK)
        if not packed or packed.startswith(b"\0"):
            continue
        unpack = lzma.LZMADecompressor()
        while True:
            if block := unpack.decompress(packed, _BLOCK):
                yield block
            if unpack.eof:
                packed = unpack.unused_data or file.read(_BLOCK)
                break
            packed = b""
            if unpack.needs_input and not (packed := file.read(_BLOCK)):
                raise EOFError


def _open_zip(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    archive = stack.enter_context(zipfile.ZipFile(in_a_file(file, stack)))
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if "xl/workbook.xml" in names:
        raise UserError(f"{shown(path)}: an Excel workbook; save the sheet as CSV UTF-8")
    data = [name for name in names if not _is_beside(name)]
    if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
        raise zipfile.BadZipFile("something lies before it; is it two archives?")
    _one_member(data, path, "zip", f"unzip {shown(path.name)}")
    report.note(path, "files in the zip archive left aside by their names", len(names) - 1)
    try:
        return buffered(stack.enter_context(archive.open(data[0])))
    except (RuntimeError, NotImplementedError) as error:  # a password, a rare method
        raise UserError(
            f"{shown(path)}: the zip archive cannot be unpacked here "
            f"({shown(str(error).split(' for ')[0], 100)}); unpack it: unzip {shown(path.name)}"
        ) from None


def _open_tar(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    return buffered(Blocks(_tar_blocks(file, path, report)))


def _tar_blocks(file: io.BufferedReader, path: Path, report: ReadReport) -> Iterator[bytes]:
    """The one file of the archive; that there is another is only known after it.

    Python's own reader takes a damaged header for the end, and passes over what follows the end.
    """
    data: list[str] = []
    beside, pax = 0, b""
    while (head := _exactly(file, _TAR_HEAD)).strip(b"\0"):
        entry = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        size = re.search(rb"\d+ size=(\d+)\n", pax)
        name = re.search(rb"\d+ path=([^\n]*)\n", pax)
        content = _parts(file, int(size[1]) if size else entry.size)
        if entry.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            pax = b"".join(content)
            continue
        member = name[1].decode("utf-8", "surrogateescape") if name else entry.name
        pax = b""
        if entry.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError
        if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
            beside += _is_beside(member)
            data += [] if _is_beside(member) else [member]
            if data == [member]:
                yield from content
        for _ in content:  # of other entries, and of other files
            pass
    while rest := file.read(BUFFER):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("something follows its end; is it two archives?")
    _one_member(data, path, "tar", f"tar -xf {shown(path.name)}")
    report.note(path, "files in the tar archive left aside by their names", beside)


def _parts(file: io.BufferedReader, size: int) -> Iterator[bytes]:
    """The content of an entry, block by block, and past what fills up its last record."""
    padding = -size % _TAR_HEAD
    while size:
        part = _exactly(file, min(size, _BLOCK))
        size -= len(part)
        yield part
    _exactly(file, padding)


def _exactly(file: io.BufferedReader, size: int) -> bytes:
    block = file.read(size)
    if len(block) < size:
        raise EOFError
    return block


def _is_beside(member: str) -> bool:
    return member.startswith("__MACOSX/") or is_left_aside(Path(member).name)


def _one_member(names: list[str], path: Path, kind: str, command: str) -> None:
    if len(names) == 1:
        return
    some = ", ".join(shown(name, 60) for name in names[:3]) + ", …" * (len(names) > 3)
    held = f"{len(names):,} files ({some})" if names else "no file"
    raise UserError(
        f"{shown(path)}: a {kind} archive that holds {held}; only archives of one file are read. "
        f"Unpack it here (`{command}`), then remove the archive"
    )


_OPENERS: dict[str, Callable[..., io.BufferedReader]] = {
    "gzip": _open_gzip,
    "bzip2": _open_arrow("bz2"),
    "xz": _open_xz,
    "zstd": _open_arrow("zstd"),
    "lz4": _open_arrow("lz4"),
    "zip": _open_zip,
    "tar": _open_tar,
}

_AS_CSV = "save the sheet as CSV UTF-8"
_AS_PARQUET = "write it as CSV or Parquet"
_FOREIGN: dict[bytes, tuple[str, str]] = {
    rb"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it: 7z x {name}"),
    rb"Rar!\x1a\x07": ("a RAR archive", "unpack it: unrar x {name}"),
    rb"\x1f[\x9d\xa0]": ("packed by compress", "unpack it: gzip -d {name}"),
    rb"LZIP[\0-\x08]": ("packed by lzip", "unpack it: lzip -d {name}"),
    rb"\xff\x06\0\0sNaPpY": ("packed as snappy", "unpack it: snzip -d {name}"),
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel or Office file", _AS_CSV),
    rb"%PDF-": ("a PDF document", "put the data themselves here"),
    rb"(?i)\s*(<!doctype html|<html)": ("a web page", "fetch the file itself again"),
    rb"ARROW1\0\0": ("an Arrow (Feather) file", _AS_PARQUET),
    rb"ORC[\0-\x08\x80-\xff]": ("an ORC file", _AS_PARQUET),
    rb"Obj\x01": ("an Avro file", _AS_PARQUET),
    rb"SQLite format 3\0": ("an SQLite database", _AS_PARQUET),
    rb"\x89HDF\r\n": ("an HDF5 file", _AS_PARQUET),
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a": ("a picture", "remove it"),
    rb"\x80[\2-\5][\x8a\x95c}\](K]": ("a Python pickle", _AS_PARQUET),
}


def _refuse_foreign(head: bytes, path: Path) -> None:
    for mark, (what, mend) in _FOREIGN.items():
        if re.match(mark, head):
            raise UserError(
                f"{shown(path)}: {what}, which is not read; {mend.format(name=shown(path.name))}"
            )
