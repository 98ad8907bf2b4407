"""What lies where DVC does not look: raw files outside data/raw/<source>/, by size and time.

DVC hashes the folder data/raw/<source>/, so it notices a change there itself. It knows nothing of a
folder named in data.raw, nor of what a link leads to. A listing of those files that is the same
bytes as long as they are the same files lets `preprocess` be skipped without reading them again.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from mooc_maml.common.errors import UserError
from mooc_maml.common.results import Result
from mooc_maml.settings.data import DataParams
from mooc_maml.sources.events import shown
from mooc_maml.sources.raw_files import find_raw_files, location, matches


class RawFile(Result):
    """A file that is read, as the file system knows it.

    `size`: bytes. `changed`: nanoseconds since 1970.
    """

    name: str
    size: int
    changed: int


class RawListing(Result):
    """The raw files outside data/raw/<source>/, by name; `not_watched`: a URL, not looked into."""

    files: list[RawFile] = Field(default_factory=list)
    not_watched: str | None = None


def list_raw(raw: Path, data: DataParams) -> RawListing:
    """List the raw files that do not lie in the folder that DVC hashes.

    Args:
        raw: that folder, where the raw files are unless `data.raw` names another. What is missing
            there may be made yet, by `simulate`; `preprocess` says so if it is not.
        data: the source, and which files of it are read.

    Raises:
        UserError: no raw file in data.raw, as `find_raw_files` has it, or DVC could not hash `raw`.
    """
    _check_names(raw)
    if data.raw is None:
        files = [path for path in sorted(set().union(*matches(raw, data.files))) if path.is_file()]
        return RawListing(files=_entries(files, raw, raw.resolve()))
    if "://" in data.raw:
        return RawListing(not_watched=data.raw)
    folder = location(data.raw)
    found = find_raw_files(folder, data.source, data.files)
    return RawListing(files=_entries(found, folder, raw.resolve()))


def _check_names(hashed: Path) -> None:
    """DVC hashes no name that is not UTF-8; its error would name no file.

    Where the locale is of another encoding, a name in UTF-8 is read as another one, or as none.
    """
    for path in hashed.rglob("*"):
        try:
            name = os.fsencode(path).decode()
        except UnicodeDecodeError:
            raise UserError(
                f"{shown(path)}: the name is not in UTF-8, and DVC cannot keep such a file; rename "
                "it, or keep the raw files outside the project and name their folder in data.raw"
            ) from None
        if name != str(path):
            raise UserError(
                f"{name}: the name is in UTF-8, and the locale has names read as "
                f"{sys.getfilesystemencoding()}; run the command with PYTHONUTF8=1 before it"
            )


def _entries(files: Sequence[Path], folder: Path, hashed: Path) -> list[RawFile]:
    found = []
    for path in files:
        if path.resolve().is_relative_to(hashed):
            continue
        try:
            about = path.stat()
        except OSError as error:  # it was there a moment ago
            raise UserError(
                f"{shown(path)}: {error.strerror}; run the same command again"
            ) from None
        name = shown(path.relative_to(folder))
        found.append(RawFile(name=name, size=about.st_size, changed=about.st_mtime_ns))
    return found
