"""Times spelt by a pattern of strptime, such as %d.%m.%Y %H:%M."""

import re
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

_DIGITS = {  # directive -> its digits
    "Y": r"\d{4}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "H": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "f": r"\d{1,6}",
}


def parse_pattern(texts: pa.Array, pattern: str) -> pa.Array:
    """Read times by a pattern of Python's strptime; a zone (%z) is converted to UTC and dropped.

    Args:
        texts: string [rows].
        pattern: checked by the settings.

    Returns:
        timestamp[us] [rows]; null where the text is spelt otherwise or there is no such day.
    """
    times = _by_digits(texts, pattern)
    left = pc.and_(times.is_null(), texts.is_valid())
    if not pc.any(left).as_py():
        return times
    coded = texts.filter(left).dictionary_encode()
    values = [parse_by(text, pattern) for text in coded.dictionary.to_pylist()]
    found = pa.array(values, pa.timestamp("us")).take(coded.indices)
    return pc.replace_with_mask(times, left, found)


def parse_by(text: str, pattern: str) -> datetime | None:
    """One time by a pattern of strptime."""
    try:
        time = datetime.strptime(text.strip(), pattern.strip())
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _by_digits(texts: pa.Array, pattern: str) -> pa.Array:
    """Times of a pattern of digits only, all at once; null for all if one is no time."""
    none = pa.nulls(len(texts), pa.timestamp("us"))
    parts = re.split(r"%(.)", pattern.strip())
    directives = parts[1::2]
    if len({*directives}) < len(directives) or not {"Y", "m", "d"} <= {*directives} <= {*_DIGITS}:
        return none
    groups = [f"(?P<{name}>{_DIGITS[name]})" for name in directives]
    between = [re.escape(text) for text in parts[::2]]
    whole = "".join(a + b for a, b in zip(between, [*groups, ""], strict=True))
    found = pc.extract_regex(texts, rf"^\s*{whole}\s*$")

    def part(name: str, missing: str) -> pa.Array:
        if name not in directives:
            return pa.scalar(missing)
        return pc.utf8_lpad(pc.struct_field(found, name), 2, "0")

    day = pc.binary_join_element_wise(part("Y", ""), part("m", ""), part("d", ""), "-")
    clock = pc.binary_join_element_wise(part("H", "00"), part("M", "00"), part("S", "00"), ":")
    joined = pc.binary_join_element_wise(day, clock, " ")
    if "f" in directives:
        joined = pc.binary_join_element_wise(joined, pc.struct_field(found, "f"), ".")
    try:
        return joined.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # some 31 February
        return none
