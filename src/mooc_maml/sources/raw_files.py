"""Finding and opening raw files."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from mooc_maml.errors import UserError

_GZIP_MAGIC = b"\x1f\x8b"


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


class _CountedFile(io.FileIO):
    """A file that tells how many bytes were read from it."""

    def __init__(self, path: Path, on_bytes: Callable[[int], object]) -> None:
        super().__init__(path)
        self._on_bytes = on_bytes

    def readinto(self, buffer: bytearray) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self._on_bytes(count or 0)
        return count


@contextmanager
def open_raw(path: Path, on_bytes: Callable[[int], object]) -> Iterator[IO[bytes]]:
    """Open a raw file for reading bytes, unpacking it when it is gzip (told by its content).

    Raises:
        UserError: the packed file is cut off or damaged, or the file may not be read.
    """
    try:
        raw: io.FileIO = _CountedFile(path, on_bytes)
        with io.BufferedReader(raw, 1 << 20) as file:
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
