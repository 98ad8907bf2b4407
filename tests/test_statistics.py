import numpy as np
import pytest
import scipy.stats

from mooc_maml.common.randomness import generator
from mooc_maml.evaluation import statistics
from mooc_maml.evaluation.statistics import (
    LEAST_LEARNERS,
    bootstrap_mean,
    bootstrap_share,
    holm,
    paired_cohens_d,
    paired_permutation_test,
    t_interval,
)


def rng(index: int = 0) -> np.random.Generator:
    return generator(1, "test", index)


def test_few_learners_and_equal_values_have_no_interval():
    few = np.arange(LEAST_LEARNERS - 1.0)
    for values in (np.array([0.25]), few, np.full(8, 0.1)):
        found = bootstrap_mean(values, rng())
        assert found.mean == pytest.approx(values.mean())
        assert found.ends == (None, None)
    enough = bootstrap_mean(np.arange(float(LEAST_LEARNERS)), rng())
    assert enough.low < enough.mean < enough.high
    assert bootstrap_share(few + 1, few + 2, rng()).ends == (None, None)


def test_below_that_number_no_paired_test_can_find_anything():
    """All signs alike, the clearest that there is: 2 of 2**n patterns."""
    for n, found in ((LEAST_LEARNERS - 1, False), (LEAST_LEARNERS, True)):
        p = paired_permutation_test(np.ones(n), np.zeros(n), rng(), permutations=40_000)
        assert (p < 0.05) == found


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


def test_the_interval_is_that_of_scipy():
    values = rng(3).exponential(size=80)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=rng(4)
    ).confidence_interval
    _, low, high = bootstrap_mean(values, rng(5), resamples=20_000)
    # Monte Carlo error of a 2.5 % quantile over 20,000 resamples: about 0.02 standard errors
    error = values.std() / np.sqrt(80)
    assert low == pytest.approx(expected.low, abs=0.1 * error)
    assert high == pytest.approx(expected.high, abs=0.1 * error)


def test_the_permutation_test_is_that_of_scipy_over_all_sign_patterns():
    first, second = rng(8).normal(0.4, 1, size=11), np.zeros(11)
    exact = scipy.stats.permutation_test(
        (first, second), lambda a, b: (a - b).mean(), permutation_type="samples"
    ).pvalue  # all 2**11 patterns
    assert 0.02 < exact < 0.9
    p = paired_permutation_test(first, second, rng(), permutations=40_000)
    assert p == pytest.approx(exact, abs=0.01)


def test_cohens_d_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1. Against the t statistic: d = t / sqrt(n).
    first = np.array([2.0, 4.0, 6.0])
    second = np.array([1.0, 2.0, 3.0])
    assert paired_cohens_d(first, second) == pytest.approx(2)
    assert paired_cohens_d(second, first) == pytest.approx(-2)
    t = scipy.stats.ttest_rel(first, second).statistic
    assert paired_cohens_d(first, second) == pytest.approx(t / np.sqrt(3))
    assert paired_cohens_d(first, first - 0.1) is None, "no deviation to measure by"
    assert paired_cohens_d(first[:1], second[:1]) is None


def test_holm_by_hand():
    # In order .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04; never below a smaller one.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_seldom_finds_anything_where_there_is_nothing():
    drawn = rng(2).random((2000, 10))
    found = [min(holm(row)) < 0.05 for row in drawn]
    # 100 expected of 2,000 families; uncorrected it would be 800
    assert 70 <= sum(found) <= 130


def test_share_of_the_way_by_hand():
    part, whole = np.full(8, 0.1), np.full(8, 0.4)
    assert bootstrap_share(part, whole, rng()).mean == pytest.approx(0.25)
    assert bootstrap_share(part, whole, rng()).ends == (None, None), "it varies in no resample"
    # Learners who gain much of a long way, others who gain nothing of a short one: .2 / .5
    part, whole = np.tile([0.4, 0.0], 4), np.tile([0.8, 0.2], 4)
    share, low, high = bootstrap_share(part, whole, rng())
    assert share == pytest.approx(0.4)
    # One or seven of the first kind among eight: .4 / 2.2 and 2.8 / 5.8
    assert 0.4 / 2.2 <= low < share < high <= 2.8 / 5.8
    assert bootstrap_share(part, -whole, rng()) is None
    assert bootstrap_share(part, 0 * whole, rng()) is None
    with pytest.raises(ValueError, match="3 and 8 learners"):
        bootstrap_share(np.zeros(3), whole, rng())
