"""Intervals and paired tests over learners: the learner, not the query, is the unit drawn."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # quantiles of Student's t

_VALUES_AT_ONCE = 4_000_000  # bounds the memory of resampling to some 64 MB

# Of fewer nothing is concluded. The signs of 5 differences have 32 patterns, so that no paired test
# of 5 learners can have p below 2 / 32; and resampling so few only repeats them.
LEAST_LEARNERS = 6
ROUNDING = 1e-12  # by which equal values may differ


class Interval(NamedTuple):
    """A mean and its 95 % interval; the ends are nan where there is none."""

    mean: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """Low and high, None where there is no interval."""
        return (self.low, self.high) if math.isfinite(self.low) else (None, None)


def bootstrap_mean(
    values: NDArray[np.float64], rng: np.random.Generator, resamples: int = 2000
) -> Interval:
    """Mean over learners with its 95 % percentile-bootstrap interval (Efron 1979).

    There is no interval of fewer than `LEAST_LEARNERS`, nor where all learners have the same value:
    resampling would find it to be sure.

    Args:
        values: float [learners], one value a learner (the mean over the learner's queries).
        rng: draws the learners of each resample, with replacement.
        resamples: number of resamples.

    Raises:
        ValueError: there is no learner.
    """
    values = _checked(values)
    if not _tells_of_chance(values):
        return Interval(float(values.mean()), math.nan, math.nan)
    chunk = max(1, _VALUES_AT_ONCE // len(values))
    means = [
        values[rng.integers(len(values), size=(min(chunk, resamples - start), len(values)))].mean(1)
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def resampled_means(
    values: NDArray[np.float64], rng: np.random.Generator, resamples: int = 2000
) -> NDArray[np.float64]:
    """Means of each column over learners drawn with replacement: float [resamples, n].

    Args:
        values: float [learners, n], of the same learners in every column.
        rng: draws the learners of each resample.
        resamples: number of resamples.
    """
    learners = len(values)
    draws = (rng.integers(learners, size=learners) for _ in range(resamples))
    return np.stack([np.bincount(own, minlength=learners) @ values for own in draws]) / learners


def t_interval(values: NDArray[np.float64]) -> Interval:
    """Mean with its 95 % interval by Student's t ("The Probable Error of a Mean", 1908).

    One value has no interval: its ends are nan.

    Args:
        values: float [n], independent repetitions, such as one a seed.
    """
    values = _checked(values)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, float("nan"), float("nan"))
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.975) * error)
    return Interval(mean, mean - half, mean + half)


def bootstrap_share(
    part: NDArray[np.float64],
    whole: NDArray[np.float64],
    rng: np.random.Generator,
    resamples: int = 2000,
) -> Interval | None:
    """Mean of `part` over mean of `whole`, with its 95 % percentile-bootstrap interval.

    Both means of a resample are of the same learners; resamples whose whole is not above 0 are
    left out.

    Args:
        part: float [learners].
        whole: float [learners], of the same learners in the same order.
        rng: draws the learners of each resample, with replacement.
        resamples: number of resamples.

    Returns:
        None where the mean of the whole is not above 0, so that there is no share of it. As for
        `bootstrap_mean` there may be no interval.

    Raises:
        ValueError: there is no learner, or the learners differ in number.
    """
    part, whole = _same_learners(part, whole)
    if whole.mean() <= 0:
        return None
    if len(part) < LEAST_LEARNERS:
        return Interval(float(part.mean() / whole.mean()), math.nan, math.nan)
    shares = []
    for _ in range(resamples):
        drawn = rng.integers(len(part), size=len(part))
        if (total := whole[drawn].sum()) > 0:
            shares.append(part[drawn].sum() / total)
    low, high = np.quantile(shares, [0.025, 0.975])
    if high - low <= ROUNDING:
        low = high = math.nan
    return Interval(float(part.mean() / whole.mean()), float(low), float(high))


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
    first, second = _same_learners(first, second)
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


def paired_cohens_d(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Cohen's d of paired values: mean difference / standard deviation of the differences.

    Also written d_z (Cohen 1988, 2.3.5); the deviation is that of a sample, with n - 1.

    Args:
        first: float [learners], one value a learner.
        second: float [learners], of the same learners in the same order.

    Returns:
        None where the differences do not vary, or there is one learner only.

    Raises:
        ValueError: there is no learner, or the learners differ in number.
    """
    first, second = _same_learners(first, second)
    difference = first - second
    if np.ptp(difference) <= ROUNDING:
        return None
    return float(difference.mean() / difference.std(ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the number of tests (Holm 1979), in the order given.

    The smallest of n is multiplied by n, the next by n - 1 and so on; none ends up below a smaller
    one, nor above 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _tells_of_chance(values: NDArray[np.float64]) -> bool:
    return len(values) >= LEAST_LEARNERS and bool(np.ptp(values) > ROUNDING)


def _same_learners(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = _checked(first), _checked(second)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} learners, expected the same ones")
    return first, second


def _checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected one value a learner, found an array of shape {values.shape}")
    return values
