"""Finding and opening raw files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import shown

# Files that lie beside data: marks and checksums of other tools, and what explains them.
_NO_DATA = re.compile(
    r"\..*|~\$.*|.*~|_SUCCESS|_metadata|_common_metadata|_(started|committed)_.*|desktop\.ini|"
    r"(eh)?thumbs\.db|(readme|licen[sc]e|changelog|citation)(\.(txt|rst|html|pdf))?|"
    r"(md5|sha1|sha256|sha512)sums(\.txt)?|.*\.(dvc|crc|md|md5|sha1|sha256|sha512|lnk|swp)",
    re.IGNORECASE,
)
_NO_DATA_FOLDERS = ("__MACOSX", "_temporary")
_OUR_OWN = re.compile(r"\.git(ignore|keep|attributes)|.*\.dvc")  # of which nobody need be told


def is_left_aside(name: str) -> bool:
    """Whether a file of this name, without folders, is no data: _SUCCESS, README.md, hidden."""
    return _NO_DATA.fullmatch(name) is not None


def location(text: str) -> Path:
    """A folder, or what a URL (s3://, hdfs://, ...) names, with the methods of a path.

    Raises:
        UserError: a URL is given and the extra that reads them is not installed, or `~` is the home
            of nobody.
    """
    if "://" not in text:
        try:
            return Path(text).expanduser().resolve()
        except RuntimeError:
            raise UserError(f"{text}: no such home folder; write the path out") from None
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


def find_raw_files(
    folder: Path,
    source: str,
    globs: Sequence[str],
    tell: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """The raw files of a source, sorted; files that are no data by their names left aside.

    Args:
        folder: where they lie.
        source: data.source, for messages.
        globs: each the name of a file, which is then read whatever it is called, or a glob.
        tell: told in a line what is left aside.

    Raises:
        UserError: the folder is missing, or no file in it matches, or a file is empty or gone.
    """
    advice = (
        f"put the raw files of data.source = {source} into {shown(folder)}/ "
        "(or name others in data.files), or run the embedded data instead: "
        "set data.source to synthetic in params.yaml, then `dvc repro`; "
        "a queued or --temp experiment sees only what git or DVC tracks: `dvc add` the files"
    )
    if not _is_folder(folder):
        raise UserError(f"{shown(folder)}: no such folder; {advice}")
    named, found = matches(folder, globs)
    _check_globs(folder, globs, tell)
    folders = sorted(path for path in found if path.is_dir())
    aside = sorted(path for path in found - {*folders} if _is_beside(path, folder))
    files = sorted(named | (found - {*folders, *aside}))
    _tell_aside([p for p in aside if not _OUR_OWN.fullmatch(p.name)], folders, files, folder, tell)
    if not files:
        inside = f"; found the folders {_listed(folders, folder)}" if folders else ""
        raise UserError(
            f"{shown(folder)}: no file matches data.files = {list(globs)}{inside}; {advice}"
        )
    for path in files:
        if not path.is_file():
            raise UserError(f"{shown(path)}: a link to what is not there, or no file; remove it")
        if path.stat().st_size == 0:
            raise UserError(
                f"{shown(path)}: the file is empty (0 bytes); fetch it again or remove it"
            )
    return files


def _check_globs(folder: Path, globs: Sequence[str], tell: Callable[[str], object]) -> None:
    """Say which names and globs of several are of no file: a file forgotten is learners lost.

    Raises:
        UserError: a name, without *, ? or [, is not there.
    """
    for glob in globs if len(globs) > 1 else ():
        if _is_file(folder / glob) or any(folder.glob(glob)):
            continue
        if not re.search(r"[*?[]", glob):
            raise UserError(
                f"{shown(folder)}: no file {shown(glob)!r} (data.files = {list(globs)}); put it "
                "there, or take it out of data.files"
            )
        tell(f"data.files: {shown(glob)!r} matches no file")


def matches(folder: Path, globs: Sequence[str]) -> tuple[set[Path], set[Path]]:
    """Files that are named as they are called, `log[1].csv`; and what globs find besides."""
    named = {folder / glob for glob in globs if _is_file(folder / glob)}
    rest = [glob for glob in globs if folder / glob not in named]
    return named, {path for glob in rest for path in folder.glob(glob)} - named


def _is_folder(folder: Path) -> bool:
    """Whether a folder is there.

    Raises:
        UserError: a URL that cannot be reached; the packages that reach it raise what they like.
    """
    try:
        return folder.is_dir()
    except Exception as error:
        if "://" not in str(folder):
            raise
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{shown(folder)}: cannot be reached ({shown(why, 300)}); look after the address, the "
            "package for such URLs and your rights there"
        ) from None


def _is_beside(path: Path, folder: Path) -> bool:
    """Whether a file, or a folder that it lies in, is no data by its name."""
    *folders, name = path.relative_to(folder).parts
    hidden = any(part.startswith(".") or part in _NO_DATA_FOLDERS for part in (*folders, name))
    return hidden or is_left_aside(name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a glob that no file can be called
        return False


def _tell_aside(
    aside: list[Path],
    folders: list[Path],
    files: list[Path],
    folder: Path,
    tell: Callable[[str], object],
) -> None:
    if aside:
        why = "no data, by name; name a file in data.files to read it"
        tell(f"left aside: {_listed(aside, folder)} ({why})")
    read = {folder for file in files for folder in file.parents}
    unread = [p for p in folders if p not in read and not _is_beside(p, folder)]
    links = [path for path in unread if path.is_symlink()]
    others = [path for path in unread if path not in links and _holds_data(path, folder)]
    if links:
        some = links[0].relative_to(folder)
        why = f"links to folders; data.files: ['*', '{shown(some)}/*'] would read the files in one"
        tell(f"left aside: {_listed(links, folder)} ({why})")
    if others:
        why = "folders, whose files data.files: '**/*' would read"
        tell(f"left aside: {_listed(others, folder)} ({why})")


def _holds_data(inside: Path, folder: Path) -> bool:
    return any(p.is_file() and not _is_beside(p, folder) for p in inside.rglob("*"))


def _listed(paths: list[Path], folder: Path) -> str:
    names = [shown(path.relative_to(folder)) for path in paths]
    return ", ".join(names[:10]) + f" and {len(names) - 10:,} more" * (len(names) > 10)
