"""What raw files are packed in: told by their first bytes, never by their names."""

import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pyarrow as pa

from mooc_maml.common.errors import UserError
from mooc_maml.sources.archives import is_tar, open_tar, open_zip
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.streams import Blocks, buffered

DAMAGE = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
_BLOCK = 1 << 18
_MAX_LAYERS = 4


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


_KINDS: dict[str, Callable[[bytes], bool]] = {
    "gzip": lambda head: head.startswith(b"\x1f\x8b"),
    "bzip2": lambda head: re.match(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", head) is not None,
    "xz": lambda head: head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")),
    "zstd": lambda head: re.match(rb"\(\xb5/\xfd|[\x50-\x5f]\*M\x18", head) is not None,
    "lz4": lambda head: head.startswith(b"\x04\x22M\x18"),
    "zip": lambda head: head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")),
    "tar": is_tar,
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


_OPENERS: dict[str, Callable[..., io.BufferedReader]] = {
    "gzip": _open_gzip,
    "bzip2": _open_arrow("bz2"),
    "xz": _open_xz,
    "zstd": _open_arrow("zstd"),
    "lz4": _open_arrow("lz4"),
    "zip": open_zip,
    "tar": open_tar,
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
    rb"\x93NUMPY": ("a NumPy file", _AS_PARQUET),
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
