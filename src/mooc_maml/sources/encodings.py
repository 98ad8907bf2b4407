"""Text of any encoding as UTF-8."""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import NO_TEXT, ReadReport, has, shown
from mooc_maml.sources.streams import Blocks, buffered

_NO_TEXT = NO_TEXT.encode()
_BLOCK = 1 << 16
_LOOKED_AT = 4096  # bytes by which text is told from other things
_MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"\x84\x31\x95\x33": "gb18030",
}
_LEGACY = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp1252")
_CONTROL = bytes({*range(32), 127} - set(b"\t\n\r\f\x1b\x1a"))
codecs.register_error("mooc_maml.no_text", lambda error: (NO_TEXT, error.end))  # type: ignore


def as_utf8(
    file: io.BufferedReader, path: Path, encoding: str, report: ReadReport
) -> io.BufferedReader:
    """The same text in UTF-8, with NO_TEXT for bytes that are none, so that they spoil no more.

    A byte order mark is taken off, and says the encoding, whatever `encoding` is.

    Args:
        file: at its start.
        path: how it is called.
        encoding: of text without a mark.
        report: told what the encoding was where it was not as set, and what to do about bytes that
            are no text.

    Raises:
        UserError: the file is no text.
    """
    head = file.peek()[:_LOOKED_AT]
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    if mark:
        file.read(len(mark))
        encoding = _MARKS[mark]
    elif (name := codecs.lookup(encoding).name) in ("utf-16", "utf-32"):
        encoding = _encoding_by_zeros(head) or ("utf-8" if _is_utf8(head) else f"{name}-le")
    elif name == "utf-8":
        by_zeros = _encoding_by_zeros(head)
        if by_zeros:
            encoding = by_zeros
            report.note(path, f"file without a byte order mark read as {by_zeros} by its zeros")
    elif not head.isascii() and _is_utf8(head):
        report.note(
            path,
            f"file read as data.encoding = {encoding}, but the bytes are those of UTF-8; if its "
            "letters come out odd, convert the other files to UTF-8 and set data.encoding: utf-8",
        )
    if not encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        _refuse_binary(head[len(mark) :], path)
    return buffered(Blocks(_utf8_blocks(file, encoding, report)))


def has_no_text(texts: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where a text has bytes in it that were none."""
    content = texts.buffers()[2]
    if content is None or content.to_pybytes().find(_NO_TEXT) < 0:  # nearly always
        return np.zeros(len(texts), bool)
    return has(texts, NO_TEXT)


def _encoding_by_zeros(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, by the half of each Latin character that is zero."""
    whole = len(head) // 4 * 4
    if whole < 8:
        return None
    first, second, third, fourth = (head[n:whole:4].count(0) / (whole // 4) for n in range(4))
    if min(third, fourth) > 0.9 and first < 0.5:
        return "utf-32-le"
    if min(first, second) > 0.9 and fourth < 0.5:
        return "utf-32-be"
    even, odd = (first + third) / 2, (second + fourth) / 2
    if max(even, odd) < 0.1 or min(even, odd) > max(even, odd) / 4:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8, but for a character that the end cuts; of UTF-16 they hardly are."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _refuse_binary(head: bytes, path: Path) -> None:
    if head.startswith(b"PAR1"):
        raise UserError(f"{shown(path)}: a Parquet file, which data.source: table reads")
    controls = len(head) - len(head.translate(None, _CONTROL))
    if len(head) >= 512 and controls > 0.05 * len(head):
        raise UserError(
            f"{shown(path)}: no text and no kind of file that is read (it begins with the bytes "
            f"{head[:8].hex(' ')}); remove it, or name the files to read in data.files"
        )


def _utf8_blocks(file: IO[bytes], encoding: str, report: ReadReport) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("mooc_maml.no_text")
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    advised = False
    rest = False  # whether the decoder holds the beginning of a character
    while raw := file.read(_BLOCK):
        if is_utf8 and not rest and raw.isascii():
            yield raw
            continue
        text = decoder.decode(raw)
        rest = bool(decoder.getstate()[0])
        if not advised and NO_TEXT in text:
            advised = True
            report.advice[_advice(raw, encoding)] = None
        yield text.encode("utf-8", "mooc_maml.no_text_out")
    text = decoder.decode(b"", final=True)
    if NO_TEXT in text:
        report.advice[_advice(b"", encoding)] = None
    yield text.encode("utf-8", "mooc_maml.no_text_out")


# Some decoders give halves of surrogate pairs, which are no text either.
codecs.register_error("mooc_maml.no_text_out", lambda error: (NO_TEXT, error.end))  # type: ignore


def _advice(sample: bytes, encoding: str) -> str:
    """What to do about bytes that are no text: the encodings that read them, and how they would."""
    lines = [line for line in re.split(rb"[\r\n]+", sample)[1:-1] if not line.isascii()]
    odd = b"\n".join(lines or [sample])
    runs = re.findall(rb"[\x80-\xff]+", odd)
    # Letters of the West stand alone among others; characters of two bytes do not.
    is_western = 2 * sum(len(run) == 1 for run in runs) > len(runs)
    readings = []
    for other in reversed(_LEGACY) if is_western else _LEGACY:
        with suppress(UnicodeDecodeError):
            words = re.search(r"\w*[^\x00-\x7f]\w*", odd.decode(other))
            if words:
                readings.append(f"{other} (as {shown(words[0], 12)})")
    example = readings[0].split()[0] if readings else _LEGACY[0]
    read_by = f"; read by {', '.join(readings)}" if readings else ""
    return (
        f"Some bytes are no {encoding} text{read_by}. Set data.encoding to what the files were "
        f"written in, for example `data.encoding: {example}`"
    )
