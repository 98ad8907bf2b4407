"""When to stop: validation has gone on for a while without a new best."""

from collections.abc import Sequence


def place_of_best(values: Sequence[float]) -> int:
    """Index of the largest value, the first of equals; -1 if there is none."""
    return values.index(max(values)) if values else -1


def is_best_last(values: Sequence[float]) -> bool:
    """Whether the latest value is a new best."""
    return bool(values) and place_of_best(values) == len(values) - 1


def is_out_of_patience(values: Sequence[float], patience: int) -> bool:
    """Whether so many values came after the best; a patience of 0 never runs out."""
    return 0 < patience <= len(values) - 1 - place_of_best(values)
