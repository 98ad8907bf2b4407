import numpy as np
import pytest
import torch
from episode_helpers import params
from test_counting_baselines import pairs, store_of
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.ranking.seen import (
    NONE_LEFT_OUT,
    Recurrence,
    SeenFilter,
    learn_recurrence,
    seen_filter,
)

AUTO = params(evaluation={"seen_courses": "auto"})


def by_number(dtype: torch.dtype = torch.float32) -> ScoreFunction:
    """Course 5 first, course 1 last."""

    def score(support: Examples, query: Examples) -> Tensor:
        return torch.arange(5, dtype=dtype).expand(*query.label.shape, 5)

    return score


def one_learner(*sessions: list[int]) -> EpisodeStore:
    """All sessions by one learner, in this order."""
    store = store_of(sessions)
    total = len(store.pair_session)
    changed = {"learner_start": np.array([0, total]), "learner_split": np.zeros(1, dtype=np.int8)}
    return EpisodeStore(**{**vars(store), **changed})


def test_recurrence_by_hand() -> None:
    # Next courses 2, 1, 3 | 3, 1: in the session before only the first 1, by the learner 1, 3, 1.
    assert learn_recurrence(one_learner([1, 2, 1, 3], [2, 3, 1])) == (1 / 5, 3 / 5)
    assert learn_recurrence(store_of([[1, 2, 1, 3], [2, 3, 1]])) == (1 / 5, 1 / 5)
    assert learn_recurrence(one_learner([1, 2, 3], [1, 4], [5, 2])) == (0, 1 / 4)


def test_sessions_follow_each_other_by_their_pairs_not_by_their_numbers() -> None:
    """Session 1 comes first: then its 3 is new, and the 3 of session 0 is not."""
    store = one_learner([1, 3], [2, 3, 4])
    order = np.array([1, 2, 0])
    later = {name: getattr(store, name)[order] for name in ("pair_session", "pair_position")}
    assert learn_recurrence(EpisodeStore(**{**vars(store), **later})) == (0, 1 / 3)
    store.courses[:] = [1, 3, 3, 2, 4]  # its first step is seen too, without being a next course
    assert learn_recurrence(EpisodeStore(**{**vars(store), **later})) == (0, 1 / 3)


def test_other_learners_than_those_of_training_teach_nothing() -> None:
    store = store_of([[1, 2], [1, 2, 1, 2]])
    store.learner_split[1] = 2
    assert learn_recurrence(store) == (0, 0)


def test_courses_of_prefix_and_support_come_last() -> None:
    support = pairs([([1, 5], 4)], [([1], 2)])
    query = pairs([([3], 2), ([3, 4], 1)], [([5], 4), ([5, 4], 3)])
    found = SeenFilter(True, True, None).without(by_number())(support, query)
    out = -torch.inf
    assert found.tolist() == [
        [[out, 1, out, out, out], [out, 1, out, out, out]],
        [[out, out, 2, 3, out], [out, out, 2, out, out]],
    ]
    # A next course that was left out is last, with all that were: no gain from leaving out.
    assert ranks(found, query.label).tolist() == [[1, 5], [1, 1]]
    alone = SeenFilter(True, False, None).without(by_number())(support, query)
    assert alone[0].tolist() == [[0, 1, out, 3, 4], [0, 1, out, out, 4]]


def test_courses_later_in_a_shared_row_are_not_taken_yet() -> None:
    label = torch.tensor([[2, 3]])
    courses, row = torch.tensor([[[1, 2]]]), torch.tensor([[0, 0]])
    query = Examples(courses, row, label - 2, label, torch.ones(1), row, row)
    found = SeenFilter(True, False, None).without(by_number())(query, query)
    assert found.isinf().tolist() == [[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]]


def test_scores_without_what_cannot_come_by_hand() -> None:
    """Courses of the pair's own prefix; its label, though it was there before, stays."""
    label = torch.tensor([[2, 3, 1]])
    courses, row = torch.tensor([[[1, 2, 3]]]), torch.tensor([[0, 0, 0]])
    seen = Examples(courses, row, torch.tensor([[0, 1, 2]]), label, torch.ones(1), row, row)
    scores, out = torch.arange(5.0).expand(3, 5), -torch.inf
    found = SeenFilter(True, True, None).out_of_loss(scores, seen)
    assert found.tolist() == [[out, 1, 2, 3, 4], [out, out, 2, 3, 4], [0, out, out, 3, 4]]
    # log(e + e^2 + e^3 + e^4) - 1, log(e^2 + e^3 + e^4) - 2, log(1 + e^3 + e^4) - 0
    expected = [3.4401897, 2.4076060, 4.3265629]
    losses = torch.nn.functional.cross_entropy(found, label[0] - 1, reduction="none")
    assert losses.tolist() == pytest.approx(expected)
    assert NONE_LEFT_OUT.out_of_loss(scores, seen) is scores


def test_whole_numbers_are_ranked_too() -> None:
    query = pairs([([5], 4)])
    found = SeenFilter(True, False, None).without(by_number(torch.int64))(query, query)
    assert ranks(found, query.label).tolist() == [[1]]


def test_as_is_changes_nothing() -> None:
    score = by_number()
    assert seen_filter(store_of([[1, 2], [2, 3]]), params()).without(score) is score


@pytest.mark.parametrize(
    ("sessions", "left_out"),
    [
        (([1, 2, 3], [4, 5]), (True, True)),  # enrolments
        (([1, 2, 3], [2, 1]), (True, False)),  # never twice in a session, often in several
        (([1, 2, 1], [2, 3]), (False, False)),  # clicks
    ],
)
def test_auto_follows_the_training_data(sessions, left_out) -> None:
    found = seen_filter(one_learner(*sessions), AUTO)
    assert (found.prefix, found.support) == left_out
    assert found.as_result()["prefix_left_out"] is left_out[0]
    assert found.as_result()["in_session"] == learn_recurrence(one_learner(*sessions)).in_session


def test_a_few_slips_in_the_data_do_not_count() -> None:
    """One of 101 next courses was there before: 0.99 %, below 1 %."""
    rare = [[1, 2]] * 99 + [[1, 2, 1]]
    found = seen_filter(store_of(rare), AUTO)
    assert found.recurrence == Recurrence(1 / 101, 1 / 101)
    assert (found.prefix, found.support) == (True, True)
    assert not seen_filter(store_of(rare[2:]), AUTO).prefix  # one of 99
