"""Whether probabilities come true: by hand, against scikit-learn, and where the answer is known."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mooc_maml.evaluation.analysis_schema import Calibration
from mooc_maml.evaluation.calibration import (
    LEAST,
    Stated,
    binned,
    bins_of,
    calibration,
    ece_interval,
    gap,
    log_loss,
)
from mooc_maml.evaluation.statistics import LEAST_LEARNERS, resampled_means

Array = NDArray[np.float64]
TWO_LEARNERS = np.array([[0.8, 0.6], [0.4, 0.2]]), np.array([[True, False], [True, False]])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_gap_by_hand() -> None:
    stated, right = np.array([[0.9, 0.7], [0.5, 0.5]]), np.array([[True, False], [False, False]])
    found = gap(stated, right, rng())
    assert (found.stated, found.right) == (pytest.approx(0.65), 0.25)
    assert found.difference == pytest.approx(0.4)
    assert (found.low, found.high, found.sign) == (None, None, 0), "of two learners"


def test_the_error_by_hand() -> None:
    whole = binned(*TWO_LEARNERS).total()  # four queries in ten bins: each in one of its own
    assert whole.queries.tolist() == [1, 1, 1, 1]
    assert whole.ece().item() == pytest.approx((0.2 + 0.6 + 0.6 + 0.2) / 4)
    by_chance = sum(math.sqrt(2 / math.pi * p * (1 - p)) for p in (0.2, 0.4, 0.6, 0.8)) / 4
    variance = 0.16 + 0.24 + 0.24 + 0.16
    most = by_chance + 1.96 * math.sqrt((1 - 2 / math.pi) * variance) / 4
    assert whole.ece_by_chance() == pytest.approx((by_chance, most))
    assert [(x.stated, x.right) for x in bins_of(binned(*TWO_LEARNERS), None)] == [
        (0.2, 0),
        (0.4, 1),
        (0.6, 0),
        (0.8, 1),
    ]


def test_equal_probabilities_are_in_one_bin() -> None:
    found = bins_of(binned(np.full((2, 6), 0.3), np.eye(2, 6) > 0), None)  # 2 of 12 are right
    assert len(found) == 1
    assert (found[0].queries, found[0].right) == (12, pytest.approx(2 / 12))
    assert binned(np.full((2, 6), 0.3), np.eye(2, 6) > 0).total().ece() == pytest.approx(0.8 / 6)


def test_the_bins_are_those_of_scikit_learn() -> None:
    """Figures of calibration_curve(right, stated, n_bins=10, strategy="quantile"), version 1.9.1.

    Made beside this project, on the same draws of NumPy; many probabilities are equal.
    """
    draw = rng(11)
    stated = np.round(draw.beta(2, 3, size=(40, 5)), 2)
    right = draw.random((40, 5)) < stated * 0.8
    found = bins_of(binned(stated, right), None)
    assert [bin_.right for bin_ in found] == pytest.approx(
        [0.045454545454545456, 0.1, 0.2777777777777778, 0.19047619047619047, 0.2857142857142857,
         0.3684210526315789, 0.3333333333333333, 0.6666666666666666, 0.35, 0.5]
    )  # fmt: skip
    assert [bin_.stated for bin_ in found] == pytest.approx(
        [0.08909090909090911, 0.1745, 0.23222222222222222, 0.2838095238095238, 0.3433333333333334,
         0.3905263157894737, 0.4785714285714286, 0.5588888888888888, 0.6275, 0.7485]
    )  # fmt: skip
    assert sum(bin_.queries for bin_ in found) == 200


def test_the_log_loss_by_hand() -> None:
    true = np.array([[0.5, 0.25], [1.0, 0.0]])
    assert log_loss(true).tolist() == [[math.log(2), math.log(4)], [0, -math.log(LEAST)]]
    first = np.tile([0.5, 0.3], (2, 2, 1))
    found = calibration("any", np.array([[1, 2], [1, 9]]), Stated(first, true), seed=1)
    assert found.log_loss == pytest.approx((math.log(8) - math.log(LEAST)) / 4)
    assert found.impossible == 1
    assert (found.first.stated, found.first.right) == (0.5, 0.5)
    assert (found.first_ten.stated, found.first_ten.right) == (pytest.approx(0.8), 0.75)
    assert (found.log_loss_low, found.ece_low, found.bins[0].low) == (None, None, None)


def test_the_log_loss_is_that_of_scikit_learn() -> None:
    """sklearn.metrics.log_loss, version 1.9.1, made beside this project on the same draws."""
    draw = rng(11)
    draw.beta(2, 3, size=(40, 5))
    draw.random((40, 5))
    law, true = draw.dirichlet(np.ones(4), size=6), draw.integers(0, 4, 6)
    assert log_loss(law[np.arange(6), true]).mean() == pytest.approx(1.9889299808464191)


def test_resamples_are_of_learners() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    found = resampled_means(values, rng(), 500)
    assert found.shape == (500, 2)
    np.testing.assert_allclose(found[:, 1], 10 * found[:, 0], err_msg="the same for all columns")
    possible = {(a + b + c) / 3 for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)}
    assert {round(x, 9) for x in found[:, 0]} == {round(x, 9) for x in possible}
    assert found[:, 0].mean() == pytest.approx(7 / 3, abs=0.1)


@pytest.mark.parametrize("power", [1, 40])
def test_the_interval_of_the_error_goes_as_far_down_as_up(power: int) -> None:
    """The same draws, each learner repeated as often as it is drawn, bins counted one by one."""
    draw = rng(5)
    stated = draw.random((8, 4))
    right = draw.random((8, 4)) < stated**power
    of_learners = binned(stated, right)
    whole, drawn = of_learners.total(), of_learners.resampled(rng(7))
    found = whole.ece().item()
    edges = np.quantile(stated, np.linspace(0, 1, 11))
    place = np.searchsorted(edges[1:-1], stated)
    errors, draws = [], rng(7)
    for _ in range(2000):
        own = draws.integers(8, size=8)
        gaps = [(stated[own] - right[own])[place[own] == k].sum() for k in range(10)]
        errors.append(sum(map(abs, gaps)) / 32)
    high = float(np.quantile(errors, 0.975))
    assert (found > whole.ece_by_chance()[1]) == (power == 40), "worse than chance makes it"
    low = 2 * found - high if power == 40 else 0
    assert ece_interval(whole, drawn) == pytest.approx((low, high))


# --- laws whose truth is known --------------------------------------------------------------------


def answered(seed: int, sharpness: float, learners: int = 131) -> tuple[NDArray[np.int64], Stated]:
    """Courses drawn from the softmax of z; stated is that of z times `sharpness`."""
    draw = rng(seed)
    z = draw.normal(0, 1.2, size=(learners, 10, 30))
    true = (z + draw.gumbel(size=z.shape)).argmax(-1)[..., None]  # drawn from softmax(z)
    law = np.exp(sharpness * z)
    law /= law.sum(-1, keepdims=True)
    of_true = np.take_along_axis(law, true, -1)
    ranks = (law >= of_true).sum(-1)
    return ranks, Stated(-np.sort(-law, -1)[..., :10], of_true[..., 0])


def measured(seed: int, sharpness: float, learners: int = 131) -> Calibration:
    return calibration("any", *answered(seed, sharpness, learners), seed=seed)


def test_the_intervals_of_a_calibrated_model_hold_0_95_times_in_100() -> None:
    found = [measured(seed, 1.0, 60) for seed in range(150)]
    for event in ("first", "first_ten"):
        signs = [getattr(each, event).sign for each in found]
        assert sum(sign != 0 for sign in signs) / 150 == pytest.approx(0.05, abs=0.05)
    without_0 = sum(each.ece_low != 0 for each in found)
    assert without_0 / 150 == pytest.approx(0.025, abs=0.03)
    error = np.mean([each.ece for each in found])
    assert error > 0.03, "above 0 by chance alone"
    assert error == pytest.approx(np.mean([each.ece_by_chance for each in found]), rel=0.05)


def test_a_model_twice_too_sure_is_over_confident() -> None:
    found, true = measured(1, 2.0), measured(1, 1.0)
    assert found.first.right == true.first.right, "the ranking is the same"
    assert found.first.sign == found.first_ten.sign == 1
    assert found.ece_low is not None
    assert found.ece_low > found.ece_by_chance
    assert true.ece < 2 * true.ece_by_chance
    assert true.log_loss_high is not None
    assert found.log_loss > true.log_loss_high, "a proper score is least for the true law"
    assert all(bin_.right < bin_.stated for bin_ in found.bins[-5:])


def test_a_model_half_as_sure_is_under_confident() -> None:
    found = measured(1, 0.5)
    assert found.first.sign == found.first_ten.sign == -1
    assert found.log_loss > measured(1, 1.0).log_loss


def test_the_unit_is_the_learner() -> None:
    """Ten queries of a learner that are all right or all wrong tell no more than one."""
    right = np.repeat(np.arange(60)[:, None] % 2 == 0, 10, axis=1)
    found = gap(np.full((60, 10), 0.5), right, rng())
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(60), rel=0.1)
    (one_bin,) = bins_of(*_drawn(np.full((60, 10), 0.5), right))
    assert (one_bin.low, one_bin.high) == pytest.approx((0.5 + found.low, 0.5 + found.high), 0.05)


def _drawn(stated: Array, right: NDArray[np.bool_]) -> tuple:
    of_learners = binned(stated, right)
    return of_learners, of_learners.resampled(rng(3))


def test_of_few_learners_there_is_no_interval() -> None:
    few, enough = (measured(1, 2.0, n) for n in (LEAST_LEARNERS - 1, LEAST_LEARNERS))
    for found, there in ((few, False), (enough, True)):
        ends = (found.first.low, found.ece_low, found.log_loss_low)
        assert all((end is not None) == there for end in ends)
    assert few.first.sign == 0


def test_the_same_answers_and_seed_give_the_same_figures() -> None:
    assert measured(3, 1.0) == measured(3, 1.0)
