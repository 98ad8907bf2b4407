"""What a time that could not be read looks like, and the setting that reads it."""

import re
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from itertools import product

import pyarrow as pa

from mooc_maml.sources.numbers import NUMBER
from mooc_maml.sources.patterns import parse_by
from mooc_maml.sources.times import MAX_ORDER, parse_iso

_DATES = (
    *("%d.%m.%Y", "%m.%d.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %m %Y"),
    *(
        "%d.%m.%y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d-%m-%y",
        "%m-%d-%y",
        "%y-%m-%d",
        "%y/%m/%d",
        "%Y %m %d",
    ),
    *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y"),
    *("%d %B %Y", "%B %d, %Y", "%a, %d %b %Y", "%a %b %d %Y", "%Y年%m月%d日", "%Y%m%d"),
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d%m%Y"),
)
_CLOCKS = (
    *("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %I:%M:%S%p", " %I:%M%p"),
    *(" %H:%M:%S.%f", "T%H:%M:%S", ":%H:%M:%S", ", %H:%M:%S", ", %H:%M", ", %I:%M:%S %p"),
    *(", %I:%M %p", " %H.%M.%S", " %H.%M", " %H-%M-%S", "%H时%M分%S秒"),
)
_ZONES = ("", " %z", "%z", " %Z", " GMT%z")
_YEARS = range(1990, 2101)  # in which logs of courses are written
_WHOLE = (
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d %H%M%S"),
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Z %Y", "%a %b %d %H:%M:%S %z %Y"),
)
_YEAR_FIRST = r"(?a)\d{4}([-/.])\d\d?\1\d\d?([T ]+\d\d?:\d\d(:\d\d([.,]\d+)?)?)?"
_DAY_NUMBERS = (20_000, 80_000)  # days since 1900 from 1954 to 2119, as spreadsheets count


def looks_like(text: str | None, time_format: str | None) -> str:
    """What to say after `no time`: what it looks like, and what reads it; nothing if unknown.

    Args:
        text: the value as text.
        time_format: data.table.time_format; None: of a source whose format cannot be set.
    """
    if not text or not text.strip():
        return ""
    setting = "; write the times as 2021-03-31 11:30:00" if time_format != "order" else ""
    found = _meaning(text.strip(), time_format)
    if found is None and re.fullmatch(_YEAR_FIRST, text.strip()):
        return " (there is no such day, or no such time of day)"
    if found is None and (time_format is None or len(re.findall(r"\d", text)) < 4):
        return ""
    if found is None:
        return " (data.table.time_format may be a pattern of strptime, like '%d.%m.%Y %H:%M')"
    what, reads = found
    if time_format is not None and reads:
        setting = f"; set data.table.time_format: {' or '.join(reads)}"
        if len(reads) > 1:
            setting += ", whichever comes first in your files"
    return f" (looks like {what}{setting})"


def _meaning(text: str, time_format: str | None) -> tuple[str, list[str]] | None:
    """What a value looks like, and the settings that read it."""
    ways: Counter[str] = Counter()
    if parse_iso(pa.array([text]), ways)[0].is_valid:
        by_number = next((way for way in ways if way.endswith("1970")), None)
        return (
            (by_number, ["epoch"]) if by_number else ("a date that begins with the year", ["iso"])
        )
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?([.,]\d+)?( ?[AaPp][Mm])?", text):
        return "a time of day without its date; name a column that has the date too", []
    zone = re.fullmatch(r"(.*\d)\s*\(?([A-Za-z]{2,5})\)?", text)
    if zone and zone[2].upper() not in ("AM", "PM") and parse_iso(pa.array([zone[1]]))[0].is_valid:
        return f"a date in the zone {zone[2]!r}, which is not read; write it as UTC or +08:00", []
    read = {p: parse_by(text, p) for p in _patterns(_shape(text))}
    patterns = [
        pattern
        for pattern, moment in read.items()
        if moment
        and moment.year in _YEARS
        and (_marks(text) or moment.strftime(pattern) == text)  # 2021031411 is no 1:01 of the 4th
    ][:3]
    if patterns:
        what = "a date" if len(patterns) == 1 else "a date with the day or the month first"
        return what, [f"'{pattern}'" for pattern in patterns]
    if re.fullmatch(r"(?a)\d+(,\d+)+", text):
        return "a number with commas; write it without, and a point before a fraction", []
    if re.fullmatch(NUMBER, text, re.ASCII):
        if _DAY_NUMBERS[0] <= float(text) <= _DAY_NUMBERS[1]:
            return "a day number of a spreadsheet", []
        if time_format == "order":
            what = f"a number beyond {MAX_ORDER:,}; subtract the same number from all of them"
            return what, []
        if abs(float(text)) > MAX_ORDER:
            return "a number too large for any moment", []
        return "a number", ["order"]
    return None


def _shape(text: str) -> str:
    """The text with every digit alike; names of months stay."""
    return re.sub(r"\d", "1", text)


def _marks(text: str) -> str:
    """What stands between letters and digits; a zone may lie on either side of Greenwich."""
    return re.sub(r"[a-zA-Z0-9]", "", text).replace("+", "-")


@cache
def _patterns(shape: str) -> tuple[str, ...]:
    """The patterns by which texts of this shape, whose digits are all 1, can be read."""
    marks = _marks(shape)
    alike = (pattern for pattern, others in _every_pattern() if others == marks)
    return tuple(pattern for pattern in alike if parse_by(shape, pattern) is not None)


@cache
def _every_pattern() -> tuple[tuple[str, str], ...]:
    """Every pattern that is tried, and the marks that it writes."""
    moment = datetime(2021, 3, 31, 11, 30, 59, tzinfo=UTC)
    every = (*("".join(parts) for parts in product(_DATES, _CLOCKS, _ZONES)), *_WHOLE)
    return tuple((pattern, _marks(moment.strftime(pattern))) for pattern in every)
