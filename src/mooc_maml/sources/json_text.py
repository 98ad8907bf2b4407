"""JSON as others write it: NaN and Infinity, halves of characters, keys that come twice."""

import json
import re
import string
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import IO, Any

import orjson

from mooc_maml.sources.events import NO_TEXT

_BLOCK = 1 << 16
_CONSTANTS = (b"NaN", b"Infinity")
_TOKEN = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"?|-?(?:NaN|Infinity)|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?', re.DOTALL
)
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19  # digits of a whole number that may be beyond 64 bits
_HIGH = (b"e000", b"E000", b"e+000", b"E+000")  # what 1e999, beyond any float, may hold
_EXPONENT = re.compile(rb"[:,\[\s]-?\d+(?:\.\d+)?[eE]\+?\d{3}")
_REST_OF_TEXT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
# Of these NaN, Infinity and escapes are made, but for the last character of an escape like \"
_WORD = (string.ascii_letters + string.digits + "-+.\\").encode()
_HALVES = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_MAY_BE_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_TEXT = json.dumps(NO_TEXT)[1:-1].encode()
_ESCAPED_LETTER = re.compile(rb"\\u00[567]")  # as a key may have it
_BETWEEN = re.compile(r"[\s,\[\]\0\x1a\x1e\ufeff]*")  # what may stand between values of a line
_MAX_DIGITS = 4_000  # of a whole number; Python reads 4,300


def mended_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The same JSON with null for NaN and Infinity, and NO_TEXT for half of a surrogate pair.

    Whole numbers beyond 64 bits, at which ijson stops, become texts of their digits, and 1e999,
    which is beyond any float, null. Text is left as it is: "NaN" between quotes stays. Blocks in
    which none of it occurs, nearly all, are passed on as they are.
    """
    in_text = False
    held = b""
    while raw := file.read(_BLOCK):
        block = held + raw
        cut = len(block.rstrip(_WORD))
        block, held = block[:cut], block[cut:]
        yield _mended(block, in_text)
        in_text ^= _quotes(block) % 2 == 1
    yield _mended(held, in_text)


def _mended(block: bytes, in_text: bool) -> bytes:
    alike = block.translate(_DIGITS_ALIKE)
    is_odd = any(constant in block for constant in _CONSTANTS) or _LONG in alike
    if not is_odd and any(high in alike for high in _HIGH):
        is_odd = _EXPONENT.search(block) is not None
    if is_odd:
        block = _without_odd_values(block, in_text)
    if b"\\u" in block and _MAY_BE_HALVES.search(block):
        block = _HALVES.sub(lambda found: found[1] or _NO_TEXT, block)
    return block


def _quotes(block: bytes) -> int:
    """How many quotes begin or end a text; the block begins with no escaped character."""
    if b"\\" not in block:
        return block.count(b'"')
    plain = block.replace(b"\\\\", b"")
    return plain.count(b'"') - plain.count(b'\\"')


def _without_odd_values(block: bytes, in_text: bool) -> bytes:
    start = 0
    if in_text:
        rest = _REST_OF_TEXT.match(block)
        start = rest.end() if rest else 0
    return block[:start] + _TOKEN.sub(_readable, block[start:])


def _readable(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if text.startswith(b'"'):
        return text
    if text.endswith((b"N", b"y")):
        return b"null"
    if text.lstrip(b"-").isdigit():
        return text if abs(float(text)) < 2**63 else b'"%b"' % text
    return text if isfinite(float(text)) else b"null"


def load_line(line: bytes, keys: tuple[str, ...]) -> Any:
    """Read one line of JSON.

    Args:
        line: UTF-8.
        keys: those that are read; one that comes twice with different values is no value at all.

    Raises:
        ValueError: it is no JSON, in a few words.
    """
    is_spelt_out = b"\\u00" not in line or not _ESCAPED_LETTER.search(line)
    if is_spelt_out and not any(line.count(quoted) > 1 for quoted in _quoted(keys)):
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
    return load_leniently(line, keys)


@cache
def _quoted(keys: tuple[str, ...]) -> list[bytes]:
    return [f'"{key}"'.encode() for key in keys]


def load_leniently(line: bytes, keys: tuple[str, ...]) -> Any:
    """Read one line of JSON by Python's own reader: NaN as null, numbers exactly.

    Raises:
        ValueError: it is no JSON, nested too deeply, or one of `keys` has two values.
    """
    try:
        found = _DECODER.decode(_text(line))
    except (ValueError, RecursionError) as error:
        raise ValueError(_fault(error)) from None
    return checked(found, keys)


def values_of(line: bytes) -> tuple[list[Any], str]:
    """The values of a line of several: of an array, or one behind the other; and what follows them.

    Returns:
        The values, read leniently, and the rest from the first one on that cannot be read.
    """
    text, values, at = _text(line), [], 0
    while at < len(text):
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        values.append(value)
    return values, text[at:]


def checked(found: Any, keys: tuple[str, ...]) -> Any:
    """The same value.

    Raises:
        ValueError: one of `keys` has two values.
    """
    if isinstance(found, _Doubled):
        for key in found.doubled & {*keys}:
            raise ValueError(f"the key {key!r} comes twice, with different values")
    return found


def _text(line: bytes) -> str:
    return _HALVES.sub(lambda found: found[1] or _NO_TEXT, line).decode()


def _fault(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "no JSON object: nested too deeply"
    return f"no JSON object: {getattr(error, 'msg', error)}"


class _Doubled(dict[str, Any]):
    """An object in which keys came with several values; it has the last ones."""

    doubled: set[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        made = _Doubled(made)
        made.doubled = {key for key, value in pairs if made[key] != value}
    return made


def _exactly(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond all
        return None


def _whole(text: str) -> int | None:
    return int(text) if len(text) <= _MAX_DIGITS else None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_whole,
    parse_float=_exactly,
    parse_constant=lambda name: None,
    strict=False,
)
