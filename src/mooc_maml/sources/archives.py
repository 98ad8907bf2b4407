"""Archives of one file: zip and tar."""

import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.raw_files import is_left_aside
from mooc_maml.sources.streams import BUFFER, Blocks, buffered, in_a_file

_BLOCK = 1 << 18
_TAR_HEAD = 512


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(head[:_TAR_HEAD], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def open_zip(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    """The one file of a zip archive.

    Raises:
        UserError: it holds several files or none, is a workbook, or cannot be unpacked here.
        zipfile.BadZipFile: it is damaged.
    """
    archive = stack.enter_context(zipfile.ZipFile(in_a_file(file, stack)))
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if "xl/workbook.xml" in names:
        raise UserError(f"{shown(path)}: an Excel workbook; save the sheet as CSV UTF-8")
    data = [name for name in names if not _is_beside(name)]
    if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
        raise zipfile.BadZipFile("something lies before it; is it two archives?")
    if {"mimetype", "content.xml"} <= {*names}:
        raise UserError(f"{shown(path)}: an OpenDocument file; save the sheet as CSV UTF-8")
    _one_member(data, len(names), path, "zip", f"unzip {shown(path.name)}")
    report.note(path, "files in the zip archive left aside by their names", len(names) - 1)
    try:
        return buffered(stack.enter_context(archive.open(data[0])))
    except (RuntimeError, NotImplementedError) as error:  # a password, a rare method
        raise UserError(
            f"{shown(path)}: the zip archive cannot be unpacked here "
            f"({shown(str(error).split(' for ')[0], 100)}); unpack it: unzip {shown(path.name)}"
        ) from None


def open_tar(
    file: io.BufferedReader, path: Path, report: ReadReport, stack: ExitStack
) -> io.BufferedReader:
    """The one file of a tar archive; that there is another is known at its end.

    Raises:
        UserError: it holds several files or none.
        EOFError, tarfile.TarError: it is cut off or damaged.
    """
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
    _one_member(data, beside + len(data), path, "tar", f"tar -xf {shown(path.name)}")
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


def _one_member(names: list[str], members: int, path: Path, kind: str, command: str) -> None:
    if len(names) == 1:
        return
    if not members:
        raise UserError(
            f"{shown(path)}: a {kind} archive that holds no file; fetch it again or remove it"
        )
    some = ", ".join(shown(name, 60) for name in names[:3]) + ", …" * (len(names) > 3)
    held = f"{len(names):,} files ({some})" if names else "only files that are no data by name"
    raise UserError(
        f"{shown(path)}: a {kind} archive that holds {held}; only archives of one file are read. "
        f"Unpack it here (`{command}`), then remove the archive"
    )
