"""Numbers as people read them."""

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "n.a."


def number(value: Any) -> float:
    """A number from JSON, nan where it holds null or nothing."""
    return math.nan if value is None else float(value)


def percent(value: float, decimals: int = 1) -> str:
    """0.3134 -> 31.3 %; nan -> n.a."""
    return f"{_minus(100 * value, f'.{decimals}f')} %" if math.isfinite(value) else NOTHING


def points(difference: float, unit: bool = True) -> str:
    """Difference of two fractions: 0.012 -> +1.2 points; nan -> n.a."""
    if not math.isfinite(difference):
        return NOTHING
    return _minus(100 * difference, "+.1f") + (" points" if unit else "")


def change(difference: float, low: float | None, high: float | None, p: str = "") -> str:
    """A difference of two fractions with its interval: +1.2 points (+0.4 to +2.0).

    Args:
        difference: of the two.
        low: where the 95 % interval begins; None: there is none.
        high: where it ends.
        p: what stands behind the interval, such as a p-value.
    """
    told = f"{between(low, high)}; {p}" if p else between(low, high)
    return f"{points(difference)} ({'no interval' if low is None else told})"


def verdict(sign: int, figures: str) -> str:
    """What a difference is worth, by a rule.

    Args:
        sign: 1 or -1 where chance is ruled out, else 0.
        figures: the difference in words, as `change` gives it.
    """
    if not sign:
        return f"has no sure effect on these learners, {figures}"
    return f"is worth {figures}" if sign > 0 else f"is worth less than nothing, {figures}"


def between(low: float | None, high: float | None) -> str:
    """The ends of an interval in points: +0.4 to +2.0; n.a. without one."""
    if low is None or high is None:
        return NOTHING
    return f"{points(low, unit=False)} to {points(high, unit=False)}"


def signed_percent(value: float) -> str:
    """A figure that is in percent already, with its sign: -7.2 -> −7.2 %."""
    return f"{_minus(value, '+.1f')} %" if math.isfinite(value) else NOTHING


def count(value: Any, one: str, many: str) -> str:
    """1 -> 1 pair, 4120 -> 4,120 pairs, None -> n.a. pairs."""
    return f"{NOTHING if value is None else f'{value:,}'} {one if value == 1 else many}"


def flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings or counts as (dotted key, text) in their own order."""
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += flatten(value, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", _text(value)))
    return lines


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "none"
    return str(value)


def _minus(value: float, form: str) -> str:
    # A value that rounds to nothing carries no sign: "-0.0" is no news.
    text = format(value, form)
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")
