"""Moments in several spellings, read a column at a time."""

import re
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mooc_maml.sources.ids import is_text, plain, utf8
from mooc_maml.sources.numbers import MAX_SECONDS, NUMBER, PLAUSIBLE, Ways, moments_of, numbers_of
from mooc_maml.sources.patterns import parse_pattern

_PLAIN = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?$"
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)
_SPELLINGS = (  # rewritten one after the other: (what, by what)
    (r"^\s*(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)", r"\1-\2-\3 \4:\5:\6"),  # compact
    (r"^\s*(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\s*$", r"\1-\2-\3 \4:\5:\6"),
    (r"^\s*(\d{4})(\d\d)(\d\d)\s*$", r"\1-\2-\3"),
    (r"^\s*(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:$|[T\s]+)", r"\1-\2-\3 "),  # year first
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d\d)-(\d) ", r"\1-0\2 "),
    (r"^(\d{4}-\d\d-\d\d) (\d:)", r"\1 0\2"),
    (r"\s+$", ""),
    (r"(?i)(:\d\d(?:[.,]\d+)?)\s*(?:UTC|GMT|Z)$", r"\1"),
    (r"(?i)\s*(?:UTC|GMT)([-+])(\d)$", r"\10\2"),
    (r"(?i)\s*(?:UTC|GMT|Z)\s*([-+]\d\d(?::?\d\d)?)$", r"\1"),  # UTC+08:00
    (r"(?i)\s*([-+]\d\d(?::?\d\d)?)\s+(?:UTC|GMT)$", r"\1"),  # +0000 UTC
    (r"(:\d\d(?:[.,]\d+)?)\s*[-+]00(?::?00)?$", r"\1"),
    (r"(:\d\d)[,.](\d{1,6})\d*", r"\1.\2"),
)
_ZONE = r":\d\d.*[-+]\d\d(:?\d\d)?$"
_COMPACT = r"^\s*\d{8}(T?\d{6})?\s*$"
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MAX_NEAR = 4 * 10**12  # order numbers up to here keep a fraction
MAX_ORDER = 2**62  # about 4.6e18; there are no moments for all of the larger ones


def read_times(column: pa.Array, time_format: str) -> tuple[pa.Array, Ways]:
    """Read a column of moments, or of order numbers.

    What can mean one thing only is read even if it is not spelt as set; a day and a month that
    could be exchanged are never guessed.

    Args:
        column: [rows], of text, numbers, dates, timestamps or a dictionary of these.
        time_format: iso, epoch, order, or a pattern of strptime.

    Returns:
        timestamp[us] [rows], a zone converted to UTC and dropped, null where there is no time;
        and how times were read that are not spelt as set.
    """
    column = plain(column)
    ways: Ways = Counter()
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        times = parse_moments(column)
        if time_format != "iso":
            ways["moments, as their type says"] = len(times) - times.null_count
        return times, ways
    if pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
        return pa.nulls(len(column), pa.timestamp("us")), ways
    if time_format == "order":
        return parse_order(column, ways), ways
    if time_format == "epoch":
        return parse_epoch(column, ways), ways
    if time_format != "iso":
        return parse_pattern(_as_texts(column), time_format), ways
    if is_text(column.type):
        return parse_iso(utf8(column), ways), ways
    return _unless_text(column, ways), ways


def _unless_text(column: pa.Array, ways: Ways) -> pa.Array:
    """Numbers under the setting iso: moments since 1970, or dates without separators."""
    times = moments_of(*numbers_of(column), ways, small=False)
    left = pc.and_(times.is_null(), column.is_valid())
    if not pc.any(left).as_py():
        return times
    return pc.replace_with_mask(times, left, parse_iso(_as_texts(column.filter(left)), ways))


def _as_texts(column: pa.Array) -> pa.Array:
    """A plain column of text, bytes or numbers as text: whole floats without a fraction."""
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        texts = [f"{x:.6f}".rstrip("0").rstrip(".") if np.isfinite(x) else None for x in numbers]
        return pa.array(texts, pa.string())
    return utf8(column)


def parse_iso(texts: pa.Array, ways: Ways | None = None) -> pa.Array:
    """Read times that begin with the year; a zone is converted to UTC and dropped.

    Args:
        texts: string [rows], like `2017-05-22T18:23:06`; also with a space for the `T`, slashes or
            dots, a fraction of a second, without seconds, with a zone or UTC, compact; or a number
            that is a moment since 1970 in a year from 1990 to 2100 in one unit only.
        ways: counts the numbers read, and the times moved to UTC.

    Returns:
        timestamp[us] [rows], without a zone; null where the text is no time.
    """
    ways = Counter() if ways is None else ways
    try:
        return _sane_years(texts.cast(pa.timestamp("us")))
    except pa.ArrowInvalid:
        pass
    times = _plain(texts)
    rest = pc.and_(times.is_null(), texts.is_valid())
    if not pc.any(rest).as_py():
        return times
    return pc.replace_with_mask(times, rest, _spelt_otherwise(texts.filter(rest), ways))


def _spelt_otherwise(texts: pa.Array, ways: Ways) -> pa.Array:
    rewritten = texts
    for spelling, by in _SPELLINGS:
        rewritten = pc.replace_substring_regex(rewritten, spelling, by)
    times = _plain(rewritten)
    is_compact = pc.and_(pc.match_substring_regex(texts, _COMPACT), times.is_valid())
    if pc.any(is_compact).as_py():
        times = pc.if_else(pc.and_(is_compact, pc.invert(is_plausible(times))), None, times)
        ways["YYYYMMDD, without separators"] += pc.sum(
            pc.and_(is_compact, times.is_valid())
        ).as_py()
    left = times.is_null()
    others = rewritten.filter(left)
    found = pa.array(map(_parse_one, others.to_pylist()), pa.timestamp("us"))
    zoned = pc.and_(pc.match_substring_regex(others, _ZONE), found.is_valid())
    ways["UTC by their zone; those without a zone count as UTC, too"] += pc.sum(zoned).as_py() or 0
    times = pc.replace_with_mask(times, left, found)
    left = times.is_null()
    return pc.replace_with_mask(
        times, left, moments_of(*numbers_of(texts.filter(left)), ways, False)
    )


def _plain(texts: pa.Array) -> pa.Array:
    """Times that Arrow reads by itself; null for the others."""
    is_plain = pc.match_substring_regex(texts, _PLAIN)
    try:
        return _sane_years(pc.if_else(is_plain, texts, None).cast(pa.timestamp("us")))
    except pa.ArrowInvalid:  # some 31 February; find it value by value
        values = zip(texts.to_pylist(), is_plain.to_pylist(), strict=True)
        return pa.array([_parse_one(x) if ok else None for x, ok in values], pa.timestamp("us"))


def is_plausible(times: pa.Array) -> pa.Array:
    """Whether each moment lies in the years in which logs of courses are written."""
    low, high = (pa.scalar(x * 10**6).cast(pa.timestamp("us")) for x in PLAUSIBLE)
    return pc.fill_null(pc.and_(pc.greater_equal(times, low), pc.less_equal(times, high)), False)


def _sane_years(times: pa.Array) -> pa.Array:
    """The same without the year 0, which Arrow reads and no calendar has."""
    least, first = pc.min(times), pa.scalar(datetime(1, 1, 1), pa.timestamp("us"))
    if not least.is_valid or pc.greater_equal(least, first).as_py():
        return times
    return pc.if_else(pc.less(times, first), None, times)


def _parse_one(text: str | None) -> datetime | None:
    if text is None or not _ISO.fullmatch(text.strip()):
        return None
    try:
        time = datetime.fromisoformat(text.strip().replace(",", "."))
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def parse_moments(moments: pa.Array) -> pa.Array:
    """Read a column of dates or timestamps of any unit; a zone is converted to UTC and dropped.

    Returns:
        timestamp[us] [rows]; null where the year is none that people write.
    """
    if pa.types.is_date(moments.type):
        moments = moments.cast(pa.timestamp("s" if moments.type.bit_width == 32 else "ms"))
    count = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
    sane = np.abs(count / _A_SECOND[moments.type.unit]) <= MAX_SECONDS  # False where null
    return pc.if_else(pa.array(sane), moments, None).cast(pa.timestamp("us"), safe=False)


def parse_epoch(column: pa.Array, ways: Ways | None = None) -> pa.Array:
    """Read moments since 1970 in seconds, or in the smaller unit that alone gives a likely year.

    Args:
        column: [rows], numbers or texts of numbers; other texts are read by `parse_iso`.
        ways: counts what was no number of seconds.

    Returns:
        timestamp[us] [rows]; null where there is no finite number of a sane size.
    """
    ways = Counter() if ways is None else ways
    times = moments_of(*numbers_of(column), ways, small=True)
    if not is_text(column.type):
        return times
    texts = utf8(column)
    words = pc.and_(texts.is_valid(), pc.invert(pc.match_substring_regex(texts, NUMBER)))
    words = pc.fill_null(words, False)
    if not pc.any(words).as_py():
        return times
    found = parse_iso(texts.filter(words), ways)
    ways["dates (data.table.time_format: iso)"] += len(found) - found.null_count
    return pc.replace_with_mask(times, words, found)


def parse_order(column: pa.Array, ways: Ways | None = None) -> pa.Array:
    """Read order numbers as moments that come in their order.

    Up to 4e12 they are seconds, to the microsecond, and beyond that each whole number is a
    microsecond; so up to MAX_ORDER none becomes another.

    Args:
        column: [rows], numbers or texts of numbers.
        ways: counts those of which the fraction is not compared.

    Returns:
        timestamp[us] [rows]; null where there is no number, or a larger one.
    """
    whole, is_whole, others = numbers_of(column)
    size = np.abs(np.where(is_whole, whole.astype(np.float64), others))
    near, far = size <= _MAX_NEAR, (size > _MAX_NEAR) & (size <= MAX_ORDER)  # False for NaN
    if ways is not None:
        ways["order numbers without their fraction"] += int((far & ~is_whole).sum())
    rounded = np.rint(np.where(far & ~is_whole, others, 0)).astype(np.int64)
    exact = np.where(is_whole, whole, rounded)
    micro = np.rint(np.where(near & ~is_whole, others, 0) * 1e6).astype(np.int64)
    seconds = np.where(is_whole, np.where(near, whole, 0) * 10**6, micro)
    beyond = exact + np.sign(exact) * (_MAX_NEAR * 10**6 - _MAX_NEAR)
    order = np.where(near, seconds, np.where(far, beyond, 0))
    return pa.array(order, mask=~(near | far)).cast(pa.timestamp("us"))
