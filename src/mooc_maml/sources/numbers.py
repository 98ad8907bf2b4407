"""Numbers of a column, exactly, and the moments since 1970 that they can only mean."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mooc_maml.sources.ids import from_decimals, is_text, utf8

Wholes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Ways = Counter[str]  # how times were read that are not spelt as set -> how many
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_WHOLE = r"^\s*[-+]?\d{1,19}\s*$"
MAX_SECONDS = 2.5e11  # the year 9892; larger ones are another unit
PLAUSIBLE = (631_152_000, 4_102_444_800)  # seconds: 1990 to 2100, when logs of courses are written
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def numbers_of(column: pa.Array) -> tuple[Wholes, Mask, NDArray[np.float64]]:
    """Whole numbers exactly, where they are such, and the others; NaN where there is none."""
    rows = len(column)
    if pa.types.is_decimal(column.type):
        column = from_decimals(column)
    if is_text(column.type):
        return _numbers_of_texts(utf8(column))
    if pa.types.is_integer(column.type):
        filled = column.fill_null(0).to_numpy(zero_copy_only=False)
        is_valid = column.is_valid().to_numpy(zero_copy_only=False)
        is_whole = is_valid & (filled <= 2**63 - 1)
        others = np.where(is_valid & ~is_whole, filled.astype(np.float64), np.nan)
        return np.where(is_whole, filled, 0).astype(np.int64), is_whole, others
    if not pa.types.is_floating(column.type):
        return np.zeros(rows, np.int64), np.zeros(rows, bool), np.full(rows, np.nan)
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        is_whole = (np.trunc(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
    whole = np.where(is_whole, numbers, 0).astype(np.int64)
    return whole, is_whole, np.where(is_whole | ~np.isfinite(numbers), np.nan, numbers)


def _numbers_of_texts(texts: pa.Array) -> tuple[Wholes, Mask, NDArray[np.float64]]:
    is_number = pc.match_substring_regex(texts, NUMBER)
    is_digits = pc.match_substring_regex(texts, _WHOLE)
    digits = pc.utf8_trim_whitespace(pc.if_else(is_digits, texts, None))
    digits = pc.replace_substring_regex(digits, r"^\+", "")
    try:
        wholes = digits.cast(pa.int64())
    except pa.ArrowInvalid:  # one of 19 digits that is too large
        values = [None if x is None else int(x) for x in digits.to_pylist()]
        wholes = pa.array([x if x is None or abs(x) < 2**63 else None for x in values], pa.int64())
        is_digits = wholes.is_valid()
    is_whole = wholes.is_valid().to_numpy(zero_copy_only=False)
    rest = pc.if_else(pc.and_(is_number, pc.invert(is_digits)), texts, None)
    rest = pc.replace_substring_regex(pc.utf8_trim_whitespace(rest), r"^\+", "")
    numbers = rest.cast(pa.float64()).to_numpy(zero_copy_only=False)
    whole = wholes.fill_null(0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        also = (np.trunc(numbers) == numbers) & (np.abs(numbers) < 2.0**53)  # 1.5e9
    whole = np.where(also, np.where(also, numbers, 0).astype(np.int64), whole)
    numbers = np.where(also | ~np.isfinite(numbers), np.nan, numbers)
    return whole, is_whole | also, numbers


def moments_of(
    whole: Wholes, is_whole: Mask, others: NDArray[np.float64], ways: Ways, small: bool
) -> pa.Array:
    """Moments since 1970, in the unit that gives a likely year.

    Args:
        whole: [rows], whole numbers.
        is_whole: [rows], where there is one.
        others: [rows], numbers with a fraction; NaN elsewhere.
        ways: counts units other than seconds, which are as set if `small`.
        small: whether numbers that give a likely year in no unit are seconds.

    Returns:
        timestamp[us] [rows]; null where there is no number or no likely year.
    """
    size = np.where(is_whole, whole.astype(np.float64), others)
    result, found = np.zeros(len(size), np.int64), np.zeros(len(size), bool)
    for unit, a_second in UNITS.items():
        fits = (size >= PLAUSIBLE[0] * a_second) & (size <= PLAUSIBLE[1] * a_second)
        if small and unit == "seconds":
            fits |= np.abs(size) <= MAX_SECONDS
        fits &= ~found
        if not fits.any():
            continue
        if unit != "seconds" or not small:
            ways[f"{unit} since 1970"] += int(fits.sum())
        up, down = max(10**6 // a_second, 1), max(a_second // 10**6, 1)
        exact = np.where(fits & is_whole, whole, 0) * up // down
        near = np.rint(np.where(fits & ~is_whole, others, 0) * (10**6 / a_second))
        result = np.where(fits, np.where(is_whole, exact, near.astype(np.int64)), result)
        found |= fits
    return pa.array(result, mask=~found).cast(pa.timestamp("us"))
