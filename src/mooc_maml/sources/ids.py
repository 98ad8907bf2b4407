"""Ids as text, one text for one id, whatever type a column holds them in."""

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import MAX_ID, ReadReport, shown

_EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}  # bits of a float -> whole numbers held up to it
# What an id has around it and nobody sees: white space, blanks of no width (one is the byte order
# mark of a file that was joined to another) and the zeros that fill up fields of a fixed size.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\0\u180e\u200b\u2060\ufeff"
_NOTHING = pa.array(
    [
        *("nan", "NaN", "NAN", "NaT", "null", "NULL", "Null", "None", "none", "nil"),
        *("NA", "N/A", "n/a", "#N/A", "<NA>", "\\N", "-"),
    ]
)
_LONGEST_WORD = 4
_DECIMALS = r"\.0+$|(\.[0-9]*?[1-9])0+$"
# Bytes that a blank begins with
_BLANK_LEADS = np.isin(np.arange(256), [*range(33), 0xC2, 0xE1, 0xE2, 0xE3, 0xEF])
_BLANK_ENDS = np.isin(np.arange(256), [*range(33), *range(0x80, 0xC0)])  # or ends with


def as_text(column: pa.Array, name: str, path: Path, report: ReadReport) -> pa.Array:
    """A column of ids as text: the number 100, 100.0 or 100.00 is "100", text stays as it is.

    Args:
        column: [rows], of text, bytes, numbers or a dictionary of these.
        name: how the column is called.
        path: the raw file.
        report: told of blanks cut and of floats too large to tell whole numbers apart.

    Returns:
        string [rows]; null where there is no id: nothing, NaN, infinity, bytes that are no UTF-8.

    Raises:
        UserError: the column holds lists or the like.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_floating(kind):
        return _from_floats(column, name, path, report)
    if pa.types.is_decimal(kind):
        return from_decimals(column)
    if pa.types.is_nested(kind):
        raise UserError(
            f"{shown(path)}: column {name!r} holds values of type {shown(kind, 60)}; expected text "
            "or numbers"
        )
    texts = trimmed(utf8(column), f"values of column {name!r}", path, report)
    _tell_of_words(texts, name, path, report)
    return texts


def _tell_of_words(texts: pa.Array, name: str, path: Path, report: ReadReport) -> None:
    """Note ids that may not be what they seem: they stay, for somebody may be called so."""
    endings = pc.ends_with(texts, ".0")
    if pc.any(endings).as_py():
        floats = pc.match_substring_regex(texts.filter(endings), r"^-?[0-9]+\.0$")
        what = (
            f"values of column {name!r} are whole numbers with a fraction (100.0), and stay texts"
        )
        words = "; where other rows have 100, it is another id"
        report.note(path, what + words, pc.sum(floats).as_py() or 0)
    short = texts.filter(pc.less_equal(pc.binary_length(texts), _LONGEST_WORD))
    words = pc.is_in(short, _NOTHING)
    report.note(
        path,
        f"values of column {name!r} are a word for nothing (nan, NULL, ...), and stay ids",
        pc.sum(words).as_py() or 0,
    )


def plain(column: pa.Array) -> pa.Array:
    """A column without dictionary, runs, views or a type of somebody's own."""
    if isinstance(column.type, pa.UuidType):
        values = [None if v is None else str(uuid.UUID(bytes=v)) for v in _bytes(column)]
        return pa.array(values, pa.string())
    if isinstance(column, pa.ExtensionArray):
        return plain(column.storage)
    if pa.types.is_dictionary(column.type):
        return plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(column.type):
        return plain(pc.run_end_decode(column))
    if pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    if pa.types.is_binary_view(column.type):
        return column.cast(pa.binary())
    return column


def _bytes(column: pa.ExtensionArray) -> list[bytes | None]:
    values: list[bytes | None] = column.storage.to_pylist()
    return values


def is_text(kind: pa.DataType) -> bool:
    """Whether a plain column holds text or bytes."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


def utf8(column: pa.Array) -> pa.Array:
    """A plain column as text; null where bytes are no UTF-8, which a Parquet text may hold too."""
    raw = column if is_text(column.type) else column.cast(pa.string())
    try:
        return raw.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [_decode(value) for value in raw.cast(pa.binary()).to_pylist()], pa.string()
        )


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def trimmed(texts: pa.Array, what: str, path: Path, report: ReadReport) -> pa.Array:
    """Texts without outer BLANKS; `report` is told how many had some."""
    suspects = _may_have_blanks(texts)
    if not suspects.any():
        return texts
    mask = pa.array(suspects)
    before = texts.filter(mask)
    after = pc.utf8_trim(before, BLANKS)
    changed = pc.not_equal(pc.binary_length(before), pc.binary_length(after))
    report.note(path, f"{what} read without outer blanks", pc.sum(changed).as_py() or 0)
    return pc.replace_with_mask(texts, mask, after)


def _may_have_blanks(texts: pa.Array) -> NDArray[np.bool_]:
    """bool [rows]: where the first or the last byte can be one of a blank: ten times faster."""
    validity, offset_bytes, content = texts.buffers()
    offsets = np.frombuffer(offset_bytes, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    result = np.zeros(len(texts), bool)
    if content is None or not len(texts):
        return result
    characters = np.frombuffer(content, np.uint8)
    starts, ends = offsets[:-1], offsets[1:]
    full = ends > starts
    first, last = characters[starts[full]], characters[ends[full] - 1]
    result[full] = _BLANK_LEADS[first] | _BLANK_ENDS[last]
    if validity is not None:
        result &= texts.is_valid().to_numpy(zero_copy_only=False)
    return result


def _from_floats(column: pa.Array, name: str, path: Path, report: ReadReport) -> pa.Array:
    exact = _EXACT[column.type.bit_width]
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # null is NaN
    is_number = np.isfinite(numbers)
    is_whole = is_number & (np.trunc(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
    report.note(
        path,
        f"values of column {name!r} are floats beyond {exact:,.0f}, where floats pass over whole "
        "numbers, so that two ids may have become one; write them as text or as integers",
        int((is_number & (np.abs(numbers) > exact)).sum()),
    )
    whole = np.where(is_whole, numbers, 0).astype(np.int64)
    texts = pa.array(whole, mask=~is_whole).cast(pa.string())
    others = is_number & ~is_whole
    if others.any():
        mask = pa.array(others)
        shortest = (
            column.filter(mask).cast(pa.string()).to_pylist()
        )  # of a float32 1.1, not 1.1000000238
        exact_too = zip(numbers[others], shortest, strict=True)
        made = [canonical(int(x) if x.is_integer() else Decimal(text)) for x, text in exact_too]
        texts = pc.replace_with_mask(texts, mask, pa.array(made, pa.string()))
    return texts


def from_decimals(column: pa.Array) -> pa.Array:
    """Decimals as text, without zeros at the end of a fraction."""
    texts = column.cast(pa.string())
    if pc.any(pc.match_substring(texts, "E")).as_py():
        made = [None if x is None else canonical(x) for x in column.to_pylist()]
        return pa.array(made, pa.string())
    return pc.replace_substring_regex(texts, _DECIMALS, r"\1")


def canonical(value: Any) -> str | None:
    """One number as the text of an id: 100.0 is "100"; None where it is endless."""
    number = Decimal(value) if isinstance(value, Decimal | int) else Decimal(repr(value))
    if not number.is_finite() or abs(number.adjusted()) > MAX_ID:
        return None
    if number == number.to_integral_value():
        return str(int(number))
    return format(number.normalize(), "f")
