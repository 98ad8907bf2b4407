"""Files that appear whole or not at all."""

import errno
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or a folder to; move it there at the end.

    Whatever stood at `path` stays whole until then, and for good if the writing fails. A file is
    replaced in one step. A folder takes two: a kill between them leaves the old one beside, and
    the next call brings it back.

    Raises:
        OSError: the disk is full, or the place may not be written to; it names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    temporary = _beside(path, "partial")
    try:
        with naming(path, temporary):
            yield temporary
            _sync_all(temporary)
            _move(temporary, path)
    finally:
        _delete(temporary)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` for work in between, deleted at the end.

    What a killed process left is deleted by the next call.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    folder = _beside(path, "partial")
    folder.mkdir()
    try:
        yield folder
    finally:
        _delete(folder)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError that names no file, or the temporary one, name `path`."""
    try:
        yield
    except OSError as error:
        known = "" if error.filename is None else str(error.filename)
        if known and (temporary is None or not known.startswith(str(temporary))):
            raise
        words = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, words, str(path)) from error


def _beside(path: Path, ending: str, process: int | None = None) -> Path:
    return path.with_name(f".{path.name}.{process or os.getpid()}.{ending}")


def _move(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir():
        old = _beside(path, "old")
        os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            os.replace(old, path)
            raise
        _sync(path.parent)
        _delete(old)
    else:
        os.replace(temporary, path)
        _sync(path.parent)


def _tidy(path: Path) -> None:
    """Undo or delete what processes that were killed while writing `path` left beside it."""
    for left in sorted(path.parent.glob(f".{glob.escape(path.name)}.*.*")):
        found = _LEFT.search(left.name)
        if found is None or _is_running(int(found[1])):
            continue
        if found[2] == "old" and not path.exists():
            os.replace(left, path)
        else:
            _delete(left)


_LEFT = re.compile(r"\.(\d+)\.(partial|old)$")


def _is_running(process: int) -> bool:
    """Whether another process of that number runs; where that cannot be told, it does."""
    if process == os.getpid():
        return False  # in a container every run may have the same number
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _sync_all(path: Path) -> None:
    """Bring a file, or a folder with all that is in it, to the disk itself."""
    for inner in path.rglob("*") if path.is_dir() else ():
        _sync(inner)
    _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # only POSIX opens folders
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    """Delete a file or folder; what cannot be deleted now is tidied up by a later call."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file; the same array, the same bytes.

    NumPy writes to a real file past Python, and forgets why the disk refused: 40 requested and 8
    written. To anything else it writes through Python, which says: No space left on device.
    """
    with path.open("wb") as file:
        np.save(_Through(file), array, allow_pickle=False)


class _Through:
    """A file in all but its type."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def write_json(path: Path, content: object) -> None:
    """Write JSON that is the same bytes for the same content: sorted keys, two-space indent."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    encoded = orjson.dumps(content, option=options | orjson.OPT_SERIALIZE_NUMPY)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier stage wrote.

    Raises:
        UserError: the file is missing or is no JSON.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); run `dvc repro --force`") from None


@contextmanager
def open_parquet(path: Path, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file that `preprocess` wrote and that has these columns.

    Raises:
        UserError: the file is missing, damaged (each page has a checksum), or lacks a column.
    """
    again = "run `dvc repro --force preprocess`"
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            found = file.schema_arrow.names
            missing = [name for name in columns if name not in found]
            if missing:
                raise UserError(
                    f"{path}: no column {', '.join(missing)} (found {', '.join(found)}); {again}"
                )
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro preprocess` to make it") from None
    except (pa.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a whole Parquet file ({words}); {again}") from None


def read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of a file that `open_parquet` can open, in memory."""
    with open_parquet(path, columns) as file:
        return file.read(columns=list(columns))


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
