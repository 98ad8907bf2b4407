"""Moments in several spellings, read a column at a time."""

import re
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PLAIN = r"^[1-9]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?$"
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MAX_SECONDS = 2.5e11  # the year 9892; larger ones are milliseconds by mistake


def parse_iso(texts: pa.Array) -> pa.Array:
    """Read ISO times; a zone is converted to UTC and dropped.

    Args:
        texts: string [rows], like `2017-05-22T18:23:06`; also with a space for the `T`, a fraction
            of a second, a zone.

    Returns:
        timestamp[us] [rows], without a zone; null where the text is no time.
    """
    plain = pc.match_substring_regex(texts, _PLAIN)
    try:
        times = pc.if_else(plain, texts, None).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # some 31 February; find it value by value
        plain = pa.array(np.zeros(len(texts), bool))
        times = pa.nulls(len(texts), pa.timestamp("us"))
    rest = pc.invert(pc.fill_null(plain, True))
    if not pc.any(rest).as_py():
        return times
    slow = [_parse_one(text) for text in texts.filter(rest).to_pylist()]
    return pc.replace_with_mask(times, rest, pa.array(slow, pa.timestamp("us")))


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

    Raises:
        pyarrow.ArrowNotImplementedError: the column is a time of day or a duration.
    """
    if pa.types.is_date(moments.type):
        moments = moments.cast(pa.timestamp("s" if moments.type.bit_width == 32 else "ms"))
    elif not pa.types.is_timestamp(moments.type):
        return moments.cast(pa.timestamp("us"))
    count = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
    sane = np.abs(count / _A_SECOND[moments.type.unit]) <= _MAX_SECONDS  # False where null
    return pc.if_else(pa.array(sane), moments, None).cast(pa.timestamp("us"), safe=False)


def parse_seconds(numbers: pa.Array) -> pa.Array:
    """Read seconds since 1970, or order numbers seen for such seconds.

    Args:
        numbers: [rows], numbers or texts of numbers.

    Returns:
        timestamp[us] [rows]; null where there is no finite number of a sane size.
    """
    if pa.types.is_string(numbers.type):
        is_number = pc.match_substring_regex(numbers, _NUMBER)
        numbers = pc.utf8_trim_whitespace(pc.if_else(is_number, numbers, None))
    seconds = numbers.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    sane = np.abs(seconds) <= _MAX_SECONDS  # False for NaN, which null became
    microseconds = np.rint(np.where(sane, seconds, 0) * 1e6).astype(np.int64)
    return pa.array(microseconds, pa.int64(), mask=~sane).cast(pa.timestamp("us"))
