"""What a model's lists are like, whether or not they are right.

A list that shows the same ten courses to all may hit well and be worth little.
"""

import numpy as np
from numpy.typing import NDArray

from mooc_maml.evaluation.analysis_schema import BeyondAccuracy
from mooc_maml.evaluation.popularity import GROUPS, Opened

Lists = NDArray[np.int64]  # [learners, Q, N], courses 1..C, best first


def beyond_accuracy(
    model: str, lists: Lists, true: NDArray[np.int64], popular: Opened
) -> BeyondAccuracy:
    """All measures of one model.

    Args:
        model: its name.
        lists: int64 [learners, Q, N], what it put first, courses 1..C.
        true: int64 [learners, Q], the courses that were opened.
        popular: what the training learners opened.
    """
    number = len(popular.learners)
    return BeyondAccuracy(
        model=model,
        coverage=coverage(lists, number),
        novelty=float(popular.novelty[lists - 1].mean()),
        diversity_between=diversity_between(lists, number),
        diversity_within=diversity_within(lists, popular),
        popularity_ratio=popularity_ratio(lists, true, popular),
        popularity_deviation=popularity_deviation(lists, true, popular),
    )


def coverage(lists: Lists, num_courses: int) -> float:
    """Share of all courses that stand in at least one list (Herlocker et al. 2004)."""
    return len(np.unique(lists)) / num_courses


def diversity_between(lists: Lists, num_courses: int) -> float | None:
    """How far two learners' lists differ: 1 - the share of courses that they have in common.

    The mean over all pairs of learners and over queries, each with the other's of the same number
    (Zhou et al. 2010). None where there is one learner only.
    """
    learners, queries, number = lists.shape
    if learners < 2:
        return None
    place = lists - 1 + num_courses * np.arange(queries)[:, None]  # a course of a query: a number
    shown = np.bincount(place.ravel(), minlength=queries * num_courses).astype(np.float64)
    shared = (shown * (shown - 1)).sum() / 2  # over pairs of learners
    return float(1 - shared / (queries * number * learners * (learners - 1) / 2))


def diversity_within(lists: Lists, popular: Opened) -> float | None:
    """Mean distance of two courses of a list, where the distance is that of their learners.

    Intra-list diversity (Ziegler et al. 2005) with 1 - cosine. None where a list holds one course.
    """
    number = lists.shape[-1]
    if number < 2:
        return None
    first, second = np.triu_indices(number, 1)
    rows = lists.reshape(-1, number)
    pairs = rows[:, first].ravel(), rows[:, second].ravel()
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    base = int(high.max()) + 1
    kinds, times = np.unique(low * base + high, return_counts=True)  # each pair of courses once
    distance = popular.distance(kinds // base, kinds % base)
    return float((distance * times).sum() / times.sum())


def popularity_ratio(lists: Lists, true: NDArray[np.int64], popular: Opened) -> float:
    """Mean popularity of the courses shown over that of the courses opened; above 1: a bias.

    Popularity is the share of training learners (average recommendation popularity, Yin et al.
    2012). Where those opened are courses nobody opened before, they count as one learner's.
    """
    share = np.maximum(popular.learners, 1)
    return float(share[lists - 1].mean() / share[true - 1].mean())


def popularity_deviation(lists: Lists, true: NDArray[np.int64], popular: Opened) -> float:
    """How far a learner's lists and the courses that the learner opens differ in popularity.

    0: shown from each popularity group as much as opened from it, 1: nothing in common. The mean
    over learners of the Jensen-Shannon divergence, base 2, of the shares of three groups
    (calibration as in Steck 2018, by popularity as in Abdollahpouri et al. 2021).
    """
    shown = _shares(popular.group[lists.reshape(len(lists), -1) - 1])
    wanted = _shares(popular.group[true - 1])
    middle = (shown + wanted) / 2
    divergence = (_kl(shown, middle) + _kl(wanted, middle)) / 2
    return float(np.clip(divergence.mean(), 0, 1))


def _shares(groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Groups [learners, n] -> share of each group [learners, groups]."""
    return np.stack([(groups == each).mean(1) for each in range(len(GROUPS))], axis=1)


def _kl(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence in bits of rows; 0 log 0 is 0."""
    some = p > 0
    terms = np.where(some, p * np.log2(np.where(some, p, 1) / np.where(some, q, 1)), 0.0)
    total: NDArray[np.float64] = terms.sum(1)
    return total
