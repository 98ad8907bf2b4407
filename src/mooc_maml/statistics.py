"""Intervals and paired tests over learners: the learner, not the query, is the unit drawn."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_VALUES_AT_ONCE = 4_000_000  # bounds the memory of resampling to some 64 MB


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: NDArray[np.float64], rng: np.random.Generator, resamples: int = 2000
) -> Interval:
    """Mean over learners with its 95 % percentile-bootstrap interval (Efron 1979).

    Args:
        values: float [learners], one value a learner (the mean over the learner's queries).
        rng: draws the learners of each resample, with replacement.
        resamples: number of resamples.

    Raises:
        ValueError: there is no learner.
    """
    values = _checked(values)
    chunk = max(1, _VALUES_AT_ONCE // len(values))
    means = [
        values[rng.integers(len(values), size=(min(chunk, resamples - start), len(values)))].mean(1)
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def t_interval(values: NDArray[np.float64]) -> Interval:
    """Mean with its 95 % interval by Student's t ("The Probable Error of a Mean", 1908).

    With n - 1 = f degrees of freedom |t| < sqrt(f) tan(x) has the probability of cos^(f - 1) over
    0 to x, as a share of 0 to pi/2. One value has no interval: its ends are nan.

    Args:
        values: float [n], independent repetitions, such as one a seed.
    """
    values = _checked(values)
    freedom, mean = len(values) - 1, float(values.mean())
    if not freedom:
        return Interval(mean, float("nan"), float("nan"))
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.cumsum((density[1:] + density[:-1]) / 2)
    x = np.interp(0.95, area / area[-1], angle[1:])
    half = np.sqrt(freedom) * np.tan(x) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(mean, mean - float(half), mean + float(half))


def paired_permutation_test(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    rng: np.random.Generator,
    permutations: int = 10_000,
) -> float:
    """Two-sided p-value that two models are equally good on the same learners (Fisher 1935).

    Under that hypothesis each learner's difference is as likely with the one sign as with the
    other. p = (1 + permutations at least as extreme as what was found) / (1 + permutations).

    Args:
        first: float [learners], one value a learner.
        second: float [learners], of the same learners in the same order.
        rng: draws the signs.
        permutations: number of sign patterns drawn.

    Raises:
        ValueError: there is no learner, or the learners differ in number.
    """
    first, second = _checked(first), _checked(second)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} learners, expected the same ones")
    difference = first - second
    found = abs(difference.sum())
    # Sums of the same numbers in another order differ by rounding; such a tie counts as extreme.
    threshold = found - 1e-9 * np.abs(difference).sum()
    chunk = max(1, _VALUES_AT_ONCE // len(difference))
    extreme = 0
    for start in range(0, permutations, chunk):
        shape = (min(chunk, permutations - start), len(difference))
        signs = rng.integers(2, size=shape, dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ difference) >= threshold).sum())
    return (1 + extreme) / (1 + permutations)


def _checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected one value a learner, found an array of shape {values.shape}")
    return values
