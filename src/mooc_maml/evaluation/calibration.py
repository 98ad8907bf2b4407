"""Whether the probabilities that a model states come true.

Two events are asked for: that the course ranked first is the true one, and that the true one is
among the first ten. A model is calibrated if, of the queries where it says 30 %, 30 % are right.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.evaluation.analysis_schema import Bin, Calibration, Gap
from mooc_maml.evaluation.statistics import (
    LEAST_LEARNERS,
    ROUNDING,
    bootstrap_mean,
    resampled_means,
)

Values = NDArray[np.float64]

BINS = 10
LEAST = 1e-6  # what a smaller probability of the true course counts as in the log loss


class Stated(NamedTuple):
    """Probabilities of the first courses [learners, Q, N] and of the true one [learners, Q]."""

    first: Values
    true: Values


def calibration(model: str, ranks: NDArray[np.int64], stated: Stated, seed: int) -> Calibration:
    """All measures of one model.

    Args:
        model: its name.
        ranks: int64 [learners, Q], of the true courses.
        stated: what it says of the courses that it ranks first, and of the true ones.
        seed: root of the draws of the intervals.
    """

    def rng(name: str) -> np.random.Generator:
        return generator(seed, f"calibration {model} {name}")

    number = stated.first.shape[-1]
    top, right = stated.first[..., 0], ranks == 1
    among = np.minimum(stated.first.sum(-1), 1.0)
    loss = bootstrap_mean(log_loss(stated.true).mean(1), rng("log loss"))
    low, high = loss.ends
    of_bins = binned(top, right)
    whole, drawn = of_bins.total(), of_bins.resampled(rng("bins"))
    error_low, error_high = ece_interval(whole, drawn)
    by_chance, _ = whole.ece_by_chance()
    return Calibration(
        model=model,
        first=gap(top, right, rng("first")),
        first_ten=gap(among, ranks <= number, rng("first ten")),
        ece=whole.ece().item(),
        ece_low=error_low,
        ece_high=error_high,
        ece_by_chance=by_chance,
        log_loss=loss.mean,
        log_loss_low=low,
        log_loss_high=high,
        impossible=int((stated.true <= 0).sum()),
        bins=bins_of(of_bins, drawn),
    )


def gap(stated: Values, right: NDArray[np.bool_], rng: np.random.Generator) -> Gap:
    """Mean of what is stated, of what is right, and of their difference; all [learners, Q].

    "Calibration in the large": above 0, the model is surer than it should be.
    """
    difference = bootstrap_mean((stated - right).mean(1), rng)
    low, high = difference.ends
    return Gap(
        stated=float(stated.mean()),
        right=float(right.mean()),
        difference=difference.mean,
        low=low,
        high=high,
    )


def log_loss(true: Values) -> Values:
    """-ln of the true course's probability, in nats; a proper score (Good 1952).

    It is least where the probabilities are those that the courses really have. What is below
    `LEAST` counts as that, so that one query without a chance does not decide alone.
    """
    loss: Values = -np.log(np.maximum(true, LEAST))
    return loss


class Binned(NamedTuple):
    """Sums over the queries of each bin: float [..., bins].

    Bins hold equal numbers of queries (Nguyen and O'Connor 2015; Nixon et al. 2019); equal
    probabilities are never in two.

    Attributes:
        queries: 1 for each.
        stated: the probability p of the course ranked first.
        right: 1 where that is the true one.
        variance: p (1 - p).
    """

    queries: Values
    stated: Values
    right: Values
    variance: Values

    def total(self) -> "Binned":
        """[learners, bins] -> [bins]."""
        return Binned(*(x.sum(0) for x in self))

    def resampled(self, rng: np.random.Generator) -> "Binned | None":
        """[learners, bins] -> means over learners drawn with replacement: [resamples, bins].

        The bins stay as they are. None: of so few learners nothing is concluded.
        """
        if len(self.queries) < LEAST_LEARNERS:
            return None
        return Binned(*np.split(resampled_means(np.concatenate(self, 1), rng), len(self), axis=1))

    def ece(self) -> Values:
        """Expected calibration error (Guo et al. 2017): mean over queries of |stated - right|.

        Both of the query's bin. It is above 0 even of a calibrated model, since a bin is right a
        bit too often or too seldom by chance.
        """
        error: Values = np.abs(self.stated - self.right).sum(-1) / self.queries.sum(-1)
        return error

    def ece_by_chance(self) -> tuple[float, float]:
        """What it is of a calibrated model: the mean, and what 1 in 40 such models is above.

        In a bin, stated - right is then about normal with mean 0, so its size about half-normal.
        """
        mean, spread = np.sqrt(2 / np.pi * self.variance).sum(), (1 - 2 / np.pi) * self.variance
        most, queries = mean + 1.96 * np.sqrt(spread.sum()), self.queries.sum()
        return float(mean / queries), float(most / queries)


def binned(stated: Values, right: NDArray[np.bool_]) -> Binned:
    """Probabilities of the first course and whether it is the true one, [learners, Q] -> by bin."""
    edges = np.quantile(stated, np.linspace(0, 1, BINS + 1))
    place = np.searchsorted(edges[1:-1], stated)
    inside = place[..., None] == np.unique(place)  # [learners, Q, bins]
    columns = np.ones_like(stated), stated, right, stated * (1 - stated)
    return Binned(*((x[..., None] * inside).sum(1) for x in columns))


def ece_interval(whole: Binned, drawn: Binned | None) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of an expected calibration error.

    A resample has the part of chance twice, so that few are below what was found. The interval
    therefore goes as far down as the resamples go up, and down to 0 where the error is no larger
    than a calibrated model may have. Of models that are a little off it still holds the true error
    somewhat less often than 95 times in 100.
    """
    high = _middle(None if drawn is None else drawn.ece())[1]
    if high is None:
        return None, None
    found, (_, most) = whole.ece().item(), whole.ece_by_chance()
    return 0.0 if found <= most else max(2 * found - high, 0.0), high


def bins_of(of_learners: Binned, drawn: Binned | None) -> list[Bin]:
    """The bins as a result, those of the least probability first."""
    whole, learners, found = of_learners.total(), (of_learners.queries > 0).sum(0), []
    for k, queries in enumerate(whole.queries):
        shares = None
        if drawn is not None and learners[k] >= LEAST_LEARNERS:
            there = drawn.queries[:, k] > 0
            shares = drawn.right[there, k] / drawn.queries[there, k]
        low, high = _middle(shares)
        stated, right = float(whole.stated[k] / queries), float(whole.right[k] / queries)
        found.append(Bin(queries=int(queries), stated=stated, right=right, low=low, high=high))
    return found


def _middle(draws: Values | None) -> tuple[float, float] | tuple[None, None]:
    """The ends of the middle 95 % of resamples; None where there are none, or all are the same."""
    if draws is None or np.ptp(draws) <= ROUNDING:
        return None, None
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
