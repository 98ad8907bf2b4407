import numpy as np
import pytest

from mooc_maml import statistics
from mooc_maml.randomness import generator
from mooc_maml.statistics import bootstrap_mean, paired_permutation_test, t_interval


def rng(index: int = 0) -> np.random.Generator:
    return generator(1, "test", index)


def test_bootstrap_of_one_value_or_equal_values_has_no_width():
    assert bootstrap_mean(np.array([0.25]), rng()) == (0.25, 0.25, 0.25)
    assert bootstrap_mean(np.full(8, 0.5), rng()) == (0.5, 0.5, 0.5)


def test_bootstrap_of_coin_flips_is_the_binomial_interval():
    # 400 learners, half 1 and half 0: a resample's mean has the standard error
    # sqrt(0.5 * 0.5 / 400) = 0.025, so the interval is 0.5 -+ 1.96 * 0.025 = 0.451 to 0.549
    values = np.repeat([0.0, 1.0], 200)
    mean, low, high = bootstrap_mean(values, rng(), resamples=20_000)
    assert mean == 0.5
    assert low == pytest.approx(0.451, abs=0.004)
    assert high == pytest.approx(0.549, abs=0.004)


def test_interval_covers_the_truth_about_95_times_in_100():
    truths = 0
    for trial in range(300):
        values = rng(trial).normal(1.0, 2.0, size=60)
        _, low, high = bootstrap_mean(values, rng(1000 + trial), resamples=400)
        truths += low <= 1.0 <= high
    # 285 expected; binomial deviation sqrt(300 * .95 * .05) = 3.8
    assert 270 <= truths <= 297


def test_same_generator_same_interval_whatever_the_chunks(monkeypatch):
    values = rng(7).normal(size=30)
    whole = bootstrap_mean(values, rng())
    assert whole == bootstrap_mean(values, rng())
    assert whole != bootstrap_mean(values, rng(1))
    monkeypatch.setattr(statistics, "_VALUES_AT_ONCE", 100)
    np.testing.assert_allclose(bootstrap_mean(values, rng()), whole)


def test_permutation_of_three_clear_learners_by_hand():
    # Differences 1, 1, 1: of the 8 sign patterns only +++ and --- reach |sum| = 3: p = 2/8.
    p = paired_permutation_test(np.ones(3), np.zeros(3), rng(), permutations=40_000)
    assert p == pytest.approx(0.25, abs=0.01)


def test_permutation_with_unequal_differences_by_hand():
    # Differences 3, 2, -1: found |sum| = 4. Sums: 3+2+1 = 6, 3+2-1 = 4, 3-2+1 = 2, 3-2-1 = 0 and
    # their negatives: 4 of 8 reach 4, so p = 1/2.
    first, second = np.array([3.0, 2.0, 0.0]), np.array([0.0, 0.0, 1.0])
    p = paired_permutation_test(first, second, rng(), permutations=40_000)
    assert p == pytest.approx(0.5, abs=0.01)
    assert p == paired_permutation_test(second, first, rng(), permutations=40_000)


def test_equal_models_are_not_told_apart_and_clear_ones_are():
    values = rng().random(50)
    assert paired_permutation_test(values, values, rng()) == 1.0
    assert paired_permutation_test(values + 0.3, values, rng()) == 1 / 10_001


def test_what_is_no_value_a_learner_is_refused():
    with pytest.raises(ValueError, match="one value a learner"):
        bootstrap_mean(np.zeros(0), rng())
    with pytest.raises(ValueError, match="one value a learner"):
        bootstrap_mean(np.zeros((2, 3)), rng())
    with pytest.raises(ValueError, match="3 and 2 learners"):
        paired_permutation_test(np.zeros(3), np.zeros(2), rng())


def test_t_interval_of_the_tables():
    """Half widths in standard errors with 1, 2, 4 and 29 degrees of freedom."""
    for n, quantile in ((2, 12.7062), (3, 4.30265), (5, 2.77645), (30, 2.04523)):
        values = np.arange(n, dtype=float)
        found = t_interval(values)
        error = values.std(ddof=1) / n**0.5
        assert found.mean == (n - 1) / 2
        assert (found.high - found.mean) / error == pytest.approx(quantile, rel=1e-5)
        assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert np.isnan(t_interval(np.array([0.3])).low)
