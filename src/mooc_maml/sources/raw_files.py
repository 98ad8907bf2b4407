"""Finding and opening raw files."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from mooc_maml.common.errors import UserError

_GZIP_MAGIC = b"\x1f\x8b"


def location(text: str) -> Path:
    """A folder, or what a URL (s3://, hdfs://, ...) names, with the methods of a path.

    Raises:
        UserError: a URL is given and the extra that reads them is not installed.
    """
    if "://" not in text:
        return Path(text).resolve()
    try:
        from upath import UPath
    except ImportError:
        raise UserError(
            f"{text}: URLs need the extra `spark`: pip install 'mooc-maml[spark]'"
        ) from None
    try:
        return cast(Path, UPath(text))
    except (ValueError, ImportError) as error:
        raise UserError(f"{text}: no such file system can be read: {error}") from None


def find_raw_files(folder: Path, source: str, globs: Sequence[str]) -> list[Path]:
    """The raw files of a source, sorted; hidden files and DVC's own `.dvc` files left out.

    Raises:
        UserError: the folder is missing, or no file in it matches, or a file is empty.
    """
    advice = (
        f"put the raw files of data.source = {source} into {folder}/ "
        "(or name others in data.files), or run the embedded data instead: "
        "set data.source to synthetic in params.yaml, then `dvc repro`; "
        "a queued or --temp experiment sees only what git or DVC tracks: `dvc add` the files"
    )
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {advice}")
    found = {path for glob in globs for path in folder.glob(glob) if path.is_file()}
    files = sorted(p for p in found if not p.name.startswith(".") and p.suffix != ".dvc")
    if not files:
        raise UserError(f"{folder}: no file matches data.files = {list(globs)}; {advice}")
    for path in files:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty (0 bytes); fetch it again or remove it")
    return files


class _Counted(io.RawIOBase):
    """A file that tells how many bytes were read from it."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], object]) -> None:
        self._file = file
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._on_bytes(len(block))
        return len(block)


@contextmanager
def open_raw(path: Path, on_bytes: Callable[[int], object]) -> Iterator[IO[bytes]]:
    """Open a raw file for reading bytes, unpacking it when it is gzip (told by its content).

    Raises:
        UserError: the packed file is cut off or damaged, or the file may not be read.
    """
    try:
        with path.open("rb") as raw, io.BufferedReader(_Counted(raw, on_bytes), 1 << 20) as file:
            if file.peek(2)[:2] != _GZIP_MAGIC:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(IO[bytes], unpacked)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}: the gzip file is cut off or damaged ({error}); fetch it again"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
