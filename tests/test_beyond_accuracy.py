"""Measures beyond accuracy: numbers by hand, and those that RecTools 0.19.0 gives for them."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from mooc_maml.evaluation.beyond_accuracy import (
    beyond_accuracy,
    coverage,
    diversity_between,
    diversity_within,
    popularity_deviation,
    popularity_ratio,
)
from mooc_maml.evaluation.popularity import GROUPS, Opened

# Four learners by five courses; course 1 was opened by all, 5 by nobody.
OPENED = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]])
POPULAR = Opened(csr_array(OPENED.astype(float)))
# Two learners, two queries, two courses each.
LISTS = np.array([[[1, 2], [2, 3]], [[1, 3], [2, 3]]])
TRUE = np.array([[1, 1], [4, 3]])


def test_popularity_of_courses_by_hand() -> None:
    assert POPULAR.learners.tolist() == [4, 2, 2, 1, 0]
    assert POPULAR.share.tolist() == [1.0, 0.5, 0.5, 0.25, 0.0]
    assert POPULAR.novelty.tolist() == [0.0, 1.0, 1.0, 2.0, 2.0]  # -log2; nobody's as one learner's


def test_popularity_groups_hold_20_60_and_20_percent_of_the_openings() -> None:
    # 9 openings: course 1 begins at 0 (below 1.8), 2 at 4, 3 at 6 (below 7.2), 4 at 8; 5 has none
    assert POPULAR.group.tolist() == [0, 1, 1, 2, 2]
    assert len(GROUPS) == 3


def test_the_distance_of_two_courses_is_one_minus_the_cosine_of_their_learners() -> None:
    first, second = np.array([1, 2, 1, 2, 3]), np.array([2, 3, 5, 2, 4])
    # 1, 2: two learners in common of 4 and 2; 2, 3: one of 2 and 2; 5 has none; 3, 4: none common
    assert POPULAR.distance(first, second) == pytest.approx([1 - 2 / 8**0.5, 0.5, 1, 0, 1])


def test_coverage_by_hand() -> None:
    assert coverage(LISTS, 5) == 3 / 5
    assert coverage(np.tile(LISTS[:1, :1], (9, 9, 1)), 5) == 2 / 5  # the same list to all


def test_diversity_between_learners_by_hand() -> None:
    # query 0: 1 2 and 1 3 share one of two; query 1: all; so 1 - (1 + 2) / 4
    assert diversity_between(LISTS, 5) == 0.25
    assert diversity_between(np.tile(LISTS[:1], (7, 1, 1)), 5) == 0
    assert diversity_between(np.array([[[1, 2]], [[3, 4]]]), 5) == 1
    assert diversity_between(LISTS[:1], 5) is None


def test_diversity_between_learners_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(4)
    lists = np.stack([rng.permutation(30)[:10] + 1 for _ in range(6 * 3)]).reshape(6, 3, 10)
    shares = [
        len(np.intersect1d(lists[a, q], lists[b, q])) / 10
        for q in range(3)
        for a in range(6)
        for b in range(a)
    ]
    assert diversity_between(lists, 30) == pytest.approx(1 - np.mean(shares))


def test_diversity_within_a_list_by_hand() -> None:
    # lists 1 2, 2 3, 1 3, 2 3: each has one pair of courses
    one = 1 - 2 / 8**0.5
    assert diversity_within(LISTS, POPULAR) == pytest.approx((one + 0.5 + one + 0.5) / 4)
    assert diversity_within(LISTS[..., :1], POPULAR) is None


def test_popularity_ratio_by_hand() -> None:
    # shown 4 2, 2 2, 4 2, 2 2: mean 2.5; opened 4 4 1 2: mean 2.75
    assert popularity_ratio(LISTS, TRUE, POPULAR) == pytest.approx(2.5 / 2.75)
    assert popularity_ratio(TRUE[..., None], TRUE, POPULAR) == 1


def test_popularity_deviation_by_hand() -> None:
    # learner 0: shown groups 0 1 1 1, opened 0 0; learner 1: the same shown, opened 2 1
    def divergence(p: list[float], q: list[float]) -> float:
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        kl = [sum(a * np.log2(a / c) for a, c in zip(x, m, strict=True) if a) for x in (p, q)]
        return float(sum(kl) / 2)

    shown = [0.25, 0.75, 0.0]
    by_hand = (divergence(shown, [1, 0, 0]) + divergence(shown, [0, 0.5, 0.5])) / 2
    assert popularity_deviation(LISTS, TRUE, POPULAR) == pytest.approx(by_hand)
    assert popularity_deviation(TRUE[..., None], TRUE, POPULAR) == 0
    nothing_shared = np.array([[[5, 4]]]), np.array([[1]])
    assert popularity_deviation(*nothing_shared, POPULAR) == pytest.approx(1)


def test_the_same_figures_as_rectools() -> None:
    """RecTools wants other versions of NumPy and pandas: its figures were made beside this project.

    MeanInvUserFreq, AvgRecPopularity, IntraListDiversity (with 1 - cosine of the courses' learners)
    and CatalogCoverage (normalised, of the first two learners) of rectools.metrics 0.19.0, k = 4,
    on the same draws of NumPy.
    """
    rng = np.random.default_rng(7)
    chosen = (rng.random((20, 12)) < 0.3).astype(int)
    chosen[:, 11] = 0
    chosen[0, 11] = 1
    chosen[chosen.sum(1) == 0, 0] = 1
    lists = np.stack([rng.permutation(12)[:4] + 1 for _ in range(6)]).reshape(6, 1, 4)
    popular = Opened(csr_array(chosen.astype(float)))
    found = beyond_accuracy("any", lists, np.full((6, 1), 12), popular)
    assert found.novelty == pytest.approx(2.2552208060655015, abs=1e-12)
    assert found.popularity_ratio == pytest.approx(4.916666666666667)  # course 12: one learner
    assert found.diversity_within == pytest.approx(0.7744646145236466)
    assert coverage(lists[:2], 12) == pytest.approx(0.4166666666666667)
