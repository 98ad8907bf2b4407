"""Baselines that count, against numbers worked out by hand on four sessions."""

import itertools
from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import params, steps

from mooc_maml.baselines import v_sknn
from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.item_knn import ItemKNN
from mooc_maml.baselines.markov import Markov
from mooc_maml.baselines.random import RandomScores
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.baselines.v_sknn import VSKNN
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

CPU = torch.device("cpu")
SESSIONS = [[1, 2, 3], [1, 2, 4], [2, 3], [5, 1]]
SHARE = np.array([1, 2, 2, 1, 0]) / 6  # of next courses: 2, 3, 2, 4, 3, 1


def store_of(sessions: Sequence[Sequence[int]], num_courses: int = 5) -> EpisodeStore:
    """One training learner a session."""
    size = np.array([len(session) for session in sessions])
    number = np.repeat(np.arange(len(sessions)), size - 1).astype(np.int32)
    position = np.concatenate([np.arange(1, n) for n in size]).astype(np.int32)
    return EpisodeStore(
        courses=np.concatenate(sessions).astype(np.int32),
        session_start=np.concatenate([[0], np.cumsum(size)]),
        pair_session=number,
        pair_position=position,
        pair_time=position.astype(np.int64),
        pair_reliability=np.ones(len(position), dtype=np.float32),
        learner_start=np.concatenate([[0], np.cumsum(size - 1)]),
        learner_split=np.zeros(len(sessions), dtype=np.int8),
        episodes={},
        num_courses=num_courses,
        support_size=1,
        query_size=1,
        max_prefix_length=50,
        ablation_support_size=1,
    )


_UNNAMED = itertools.count(1000)  # sessions


def pairs(*tasks: Sequence[tuple[list[int], int] | tuple[list[int], int, int]]) -> Examples:
    """Pairs (prefix, label, session), each in a row of its own; the same number in every task.

    A pair without a session is in one of its own.
    """
    longest = max(len(prefix) for task in tasks for prefix, *_ in task)
    rows = [[prefix + [0] * (longest - len(prefix)) for prefix, *_ in task] for task in tasks]
    label = torch.tensor([[label for _, label, *_ in task] for task in tasks])
    session = [[(*own, next(_UNNAMED))[0] for _, _, *own in task] for task in tasks]
    return Examples(
        torch.tensor(rows),
        torch.arange(len(tasks[0])).expand(len(tasks), -1),
        torch.tensor([[len(prefix) - 1 for prefix, *_ in task] for task in tasks]),
        label,
        torch.ones(len(tasks)),
        torch.tensor(session),
        torch.zeros_like(label),
    )


NOTHING = pairs([([5], 5)])


def trained(kind: type[Baseline], sessions: Any = SESSIONS, **settings: Any) -> Baseline:
    return kind.train(store_of(sessions), params(baselines=settings), CPU, lambda _: None)


def scores(baseline: Baseline, *prefixes: list[int]) -> np.ndarray:
    """Of one learner's queries: [prefixes, C]."""
    return baseline.scores(NOTHING, pairs([(prefix, 1) for prefix in prefixes])).numpy()[0]


def test_markov_counts_moves_and_backs_off_to_popularity() -> None:
    found = scores(trained(Markov), [1, 2], [3])
    # 2 went on to 3 twice and to 4 once; 3 was always the last.
    np.testing.assert_allclose(found[0], (np.array([0, 0, 2, 1, 0]) + SHARE) / 4)
    np.testing.assert_allclose(found[1], SHARE)
    assert found.sum(1) == pytest.approx([1, 1])


def test_item_knn_adds_cosines_over_the_steps_back() -> None:
    """Courses 1..5 are in 3, 3, 2, 1, 1 sessions; 1 and 2 are together in two."""
    found = scores(trained(ItemKNN), [2], [1, 2])
    of_2 = np.array([2 / 3, 0, 2 / sqrt(6), 1 / sqrt(3), 0])
    of_1 = np.array([0, 2 / 3, 1 / sqrt(6), 1 / sqrt(3), 1 / sqrt(3)])
    np.testing.assert_allclose(found, [of_2 + 1e-6 * SHARE, of_2 + of_1 / 2 + 1e-6 * SHARE])


def test_item_knn_counts_a_session_once() -> None:
    found = scores(trained(ItemKNN, [*SESSIONS, [1, 2, 1, 2, 1]]), [2])
    assert found[0, 0] == pytest.approx(3 / 4, abs=1e-6)  # 3 sessions of 4 and 4


def test_v_sknn_by_hand() -> None:
    """After 1, 2: dot products 3/2, 3/2, 1, 1/2; the last shares 1, which lies 2 steps back."""
    first, third, fourth = 1.5 / sqrt(3), 1 / sqrt(2), 0.5 / sqrt(2) / 2**2
    back = 0.01  # courses that do not come after the shared one
    without_fourth = np.array(
        [back * 2 * first, back * (2 * first + third), first + third, first, 0.0]
    )
    every = without_fourth + np.array([back * fourth, 0, 0, 0, back * fourth])
    for k, votes in ((3, without_fourth), (4, every)):
        expected = (1 - 1e-4) * votes / votes.sum() + 1e-4 * SHARE
        found = scores(trained(VSKNN, v_sknn={"neighbours": k}), [1, 2])
        np.testing.assert_allclose(found[0], expected)


def test_v_sknn_takes_a_repeated_course_where_it_first_stood() -> None:
    votes = np.array([0.01 + 1 / 2, 1, 1 / 3])  # of 1, 2, 1, 3 after 1; its weight cancels
    found = scores(trained(VSKNN, [[1, 2, 1, 3], [4, 5]]), [1])[0]
    np.testing.assert_allclose(found[:3], votes / votes.sum(), atol=1e-4)


def test_v_sknn_takes_the_first_of_equal_neighbours() -> None:
    """After 2, 1: two sessions that hold both, then of 59, all as near, the first five."""
    sessions = [[1, 2 + number] for number in range(60)] + [[2, 1, 62]]
    settings = params(baselines={"v_sknn": {"neighbours": 7}})
    baseline = VSKNN.train(store_of(sessions, 62), settings, CPU, lambda _: None)
    found = scores(baseline, [2, 1])[0]
    assert np.flatnonzero(found > 0.05).tolist() == [1, 2, 3, 4, 5, 6, 61]


def test_v_sknn_says_the_same_from_memory_and_when_that_is_full(monkeypatch) -> None:
    asked = [[1, 2], [2], [1, 2], [3, 1], [2], [1, 2]]
    long = trained(VSKNN)
    monkeypatch.setattr(v_sknn, "_BYTES_REMEMBERED", long.share.nbytes)
    short = trained(VSKNN)  # room for one
    for prefix in asked:
        afresh = scores(trained(VSKNN), prefix)
        assert np.array_equal(scores(long, prefix), afresh)
        assert np.array_equal(scores(short, prefix), afresh)
    assert (long._votes.cache_info().hits, short._votes.cache_info().hits) == (3, 0)


def test_v_sknn_without_any_neighbour_is_popularity() -> None:
    store = [[1, 2], [2, 3]]
    found = scores(trained(VSKNN, store), [4])[0]
    np.testing.assert_allclose(found, 1e-4 * np.array([0, 1, 1, 0, 0]) / 2)


def test_repeat_counts_the_learners_own_courses() -> None:
    baseline = trained(Repeat)
    support = pairs([([4, 1], 4), ([3], 1)])  # 4, 1, 4 in one session and 3, 1 in another
    query = pairs([([3], 1), ([2, 3, 2, 3, 2, 5], 1)])  # of two more sessions
    found = baseline.scores(support, query).numpy()[0]
    np.testing.assert_allclose(found[0], [2 + 1 / 12, 1 / 6, -1, 2 + 1 / 12, 0])
    np.testing.assert_allclose(found[1], [2 + 1 / 12, 3 + 1 / 6, 3 + 1 / 6, 2 + 1 / 12, -1])


def test_repeat_counts_a_step_once_however_many_pairs_show_it() -> None:
    """Also where prefixes are cut, so that each pair stands in a row of its own."""
    sessions = [(learner, 0, range(1, 31)) for learner in range(40)]
    store = build_episodes(steps(sessions), params(episodes={"max_prefix_length": 12}))[0]
    baseline = Repeat.train(store, params(), CPU, lambda _: None)
    support, query = store.support("test", np.arange(2)), store.query("test", np.arange(2))
    assert support.courses.shape[1] == 5  # rows
    counts = baseline.scores(support, query)[0].round()
    # Of the last 15 pairs, 15 -> 16 is the first and shows 4 to 15, 20 -> 21 the first query.
    assert (counts[0, 3:19] == 1).all()
    assert (counts[0, :3] == 0).all()
    assert (counts[0, 20:] == 0).all()


def test_repeat_lets_a_course_follow_itself_where_that_happens() -> None:
    baseline = trained(Repeat, [[1, 1, 2]])
    assert scores(baseline, [3])[0, 2] == 1


def test_random_scores_depend_on_the_pair_and_the_seed_alone() -> None:
    baseline = RandomScores(1, 5, CPU)
    support = pairs([([1], 2), ([1, 2], 3)], [([3], 4), ([3, 4], 5)])
    query = pairs([([1, 2, 3], 4), ([4], 5)], [([1, 2, 3], 4), ([4], 5)])
    both = baseline.scores(support, query)
    alone = baseline.scores(support.tasks(1, 2), query.tasks(1, 2))
    assert torch.equal(both[1:], alone)
    other_label = query._replace(label=query.label.flip(1))
    assert torch.equal(baseline.scores(support, other_label), both), "the answer is not looked at"
    assert not torch.equal(both[0], both[1])  # two learners
    assert not torch.equal(both[:, 0], both[:, 1])
    assert not torch.equal(RandomScores(2, 5, CPU).scores(support, query), both)


def test_random_scores_are_uniform() -> None:
    query = pairs([([n % 97 + 1, n // 97 + 1], 1) for n in range(2000)])
    drawn = RandomScores(1, 20, CPU).scores(NOTHING, query).numpy()[0]
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)  # 40,000 draws: deviation 0.0014
    assert (drawn.argmax(1) == 7).mean() == pytest.approx(1 / 20, abs=0.02)
    correlation = np.corrcoef(drawn.T)[~np.eye(20, dtype=bool)]
    assert np.abs(correlation).max() < 0.1  # of 2,000 draws: deviation 0.022
