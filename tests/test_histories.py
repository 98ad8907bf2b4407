"""Histories of hand-made sessions, and the same in testing as in training on random ones."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from episode_helpers import Session, params, random_sessions, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from test_counting_baselines import pairs

from mooc_maml.baselines.histories import HistoryBatches, learner_histories, with_history
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

SEPARATOR = 0
SMALL = {"support_size": 1, "query_size": 1}
FILLER = [(n, 0, [1, 2, 3, 4]) for n in range(3, 9)]  # learners enough for every split
SHARES = {"train_fraction": 0.4, "validation_fraction": 0.3, "test_fraction": 0.3}


def store_of(sessions: Sequence[Session], longest: int = 50) -> EpisodeStore:
    chosen = params(
        episodes={**SMALL, **SHARES, "max_prefix_length": longest},
        ablations={"support_sizes": (1,)},
    )
    return build_episodes(steps(sessions), chosen)[0]


def prefixes_of(examples: Examples) -> list[list[list[int]]]:
    found = []
    for rows, row, position in zip(*(x.tolist() for x in examples[:3]), strict=True):
        found.append([rows[own][: at + 1] for own, at in zip(row, position, strict=True)])
    return found


def first_prefixes(store: EpisodeStore, number: int) -> list[list[int]]:
    """Of each of the first pairs, as training builds it."""
    return [own[0] for own in prefixes_of(store.batch(np.arange(number)[:, None]))]


def told(store: EpisodeStore, support: Sequence[int], query: int, longest: int | None = None):
    """What a model is told in testing; the pairs are rows of the store."""
    shown = [store.batch(np.array([rows], dtype=np.int64)) for rows in (support, [query])]
    return prefixes_of(with_history(*shown, SEPARATOR, longest))[0][0]


@pytest.mark.parametrize(
    ("support", "query", "expected"),
    [
        # another session: all that was seen before, the separator, then the prefix
        ([([1], 2, 5), ([1, 2], 3, 5)], ([4, 5], 6), [1, 2, 3, 0, 4, 5]),
        # another session that begins with the course that the one before ended with
        ([([1], 2, 5), ([1, 2], 3, 5)], ([3], 6), [1, 2, 3, 0, 3]),
        # another session that begins with all that was seen of the one before
        ([([5], 7, 5)], ([5, 7, 3], 6), [5, 7, 0, 5, 7, 3]),
        # the same session goes on: nothing twice
        ([([5], 7, 5)], ([5, 7, 3], 5), [5, 7, 3]),
        ([([1], 2, 5), ([1, 2], 3, 5)], ([1, 2, 3, 4], 5), [1, 2, 3, 4]),
        # two sessions of one pair each that are alike
        ([([1], 2, 5), ([1], 2, 6)], ([1, 2, 4], 6), [1, 2, 0, 1, 2, 4]),
        ([([1], 2, 5), ([1], 2, 6)], ([1, 2, 4], 7), [1, 2, 0, 1, 2, 0, 1, 2, 4]),
        # an earlier session goes on after a later one has begun: it moves to the end
        ([([1], 2, 5), ([3], 4, 6)], ([1, 2], 5), [3, 4, 0, 1, 2]),
        ([([1], 2, 5), ([3], 4, 6), ([1, 2], 9, 5)], ([8], 7), [3, 4, 0, 1, 2, 9, 0, 8]),
    ],
)
def test_history_goes_before_the_prefix(support, query, expected) -> None:
    one = pairs([(query[0], 9, query[1]), ([8], 7)])
    found = with_history(pairs(support), one, SEPARATOR)
    assert prefixes_of(found)[0][0] == expected
    assert found.label.tolist() == [[9, 7]]
    nothing = with_history(pairs(support).pairs(0, 0), one, SEPARATOR)
    assert prefixes_of(nothing) == [[query[0], [8]]]


def test_only_the_latest_courses_of_a_history_are_kept() -> None:
    """A row each: the first prefix goes on from 1, 2, 3; the second is long enough by itself."""
    query = pairs([([4], 9), ([5, 6, 7, 8], 4)])
    found = with_history(pairs([([1], 2, 1), ([1, 2], 3, 1)]), query, SEPARATOR, 3)
    assert prefixes_of(found) == [[[3, 0, 4], [6, 7, 8]]]


@pytest.mark.parametrize("longest", [1, 3, 50])
def test_two_sessions_that_are_alike_stay_two(longest: int) -> None:
    """Pairs 0 to 3 are 5 -> 7, 57 -> 3 of one session, and the same of another."""
    store = store_of([(0, 0, [5, 7, 3]), (0, 100, [5, 7, 3, 1]), (1, 0, [1, 2]), *FILLER], longest)
    assert told(store, [0], 1) == [5, 7]
    prefix = [5, 7][-longest:]
    assert told(store, [0, 1], 3) == [5, 7, 3, 0, *prefix]
    # With the first pair alone there is one step of the earlier session that is not shown.
    assert told(store, [0], 3) == [5, 7, 0, *prefix]


def test_a_session_cut_at_three_comes_back_as_one_with_each_step_once() -> None:
    """Sessions 1 2 1 2 1 2 3 and 4 5: pairs 0 to 5 and 6; prefixes hold at most 3 courses."""
    store = store_of([(0, 0, [1, 2, 1, 2, 1, 2, 3]), (0, 100, [4, 5]), (1, 0, [1, 2]), *FILLER], 3)
    assert store.batch(np.array([[3, 4]])).courses.tolist() == [[[2, 1, 2], [1, 2, 1]]]
    assert told(store, range(6), 6) == [1, 2, 1, 2, 1, 2, 3, 0, 4]
    assert told(store, [3, 4, 5], 6) == [2, 1, 2, 1, 2, 3, 0, 4]  # 212 -> 1, 121 -> 2, 212 -> 3
    assert told(store, [3, 4], 5) == [2, 1, 2, 1, 2]
    assert told(store, [0, 5], 6) == [1, 2, 2, 1, 2, 3, 0, 4], "what lies between is not shown"
    assert told(store, [3, 4, 5], 6, 3) == [3, 0, 4]


def test_another_next_course_than_the_true_one_is_told_until_a_prefix_shows_that() -> None:
    support = pairs([([1], 7, 5), ([1, 2], 8, 5)])  # 7 in place of 2
    assert prefixes_of(with_history(support, pairs([([4], 1)]), 0)) == [[[1, 2, 8, 0, 4]]]


def test_training_histories_by_hand() -> None:
    """Learner 0: session 0 after session 1; learner 1: one session; learner 2 has no pair."""
    sessions = [(0, 500, [1, 2, 3]), (0, 100, [4, 5]), (1, 0, [6, 7, 6]), (2, 0, [8])]
    store = store_of([*sessions, *FILLER])
    found = learner_histories(store, 9)
    assert first_prefixes(found, 5) == [[4], [4, 5, 9, 1], [4, 5, 9, 1, 2], [6], [6, 7]]
    labels = found.batch(np.arange(5)[None]).label.tolist()[0]
    assert labels == store.batch(np.arange(5)[None]).label.tolist()[0] == [5, 2, 3, 7, 6]
    assert prefixes_of(found.batch(np.array([[5]]))) == [[[1]]]
    alone = np.arange(len(store.session_start) - 1) == 0  # nothing stands before session 0
    expected = [[4], [1], [1, 2], [6], [6, 7]]
    assert first_prefixes(learner_histories(store, 9, alone), 5) == expected


def test_training_histories_of_sessions_that_overlap_by_hand() -> None:
    """Next courses by time: 2 of session 0, 6 of session 1, 3 and 4 of session 0, 7 of session 1.

    Nothing that comes later is shown, and the session that is gone on with is the last.
    """
    overlapping = [(0, 0, [1, 2, 3, 4]), (0, 1, [5, 6, 7]), (1, 0, [8, 9])]
    table = steps([*overlapping, *FILLER])
    seconds = table.columns["time"]
    seconds[:7] = np.array([0, 1, 4, 5, 2, 3, 6]) * 1_000_000
    chosen = params(episodes={**SMALL, **SHARES}, ablations={"support_sizes": (1,)})
    store = build_episodes(table, chosen)[0]
    expected = [[1], [1, 2, 0, 5], [5, 6, 0, 1, 2], [5, 6, 0, 1, 2, 3], [1, 2, 3, 4, 0, 5, 6]]
    assert first_prefixes(learner_histories(store, 0), 5) == expected
    assert [told(store, range(pair), pair) for pair in range(5)] == expected


def random_overlapping(seed: int, is_overlapping: bool) -> list[Session]:
    drawn = random_sessions(25, seed, courses=5)
    rng = np.random.default_rng(seed)
    span = 20 if is_overlapping else 0
    return [
        (learner, int(rng.integers(span)) if span else start, courses)
        for learner, start, courses in drawn
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_history_in_testing_is_the_one_of_training_for_the_same_learner_and_moment(
    seed: int, longest: int, is_overlapping: bool
) -> None:
    """Any pair, told of all pairs of its learner from the first of some session on.

    In training nothing earlier than that session stands before the pair.
    """
    store = store_of(random_overlapping(seed, is_overlapping), longest)
    rng = np.random.default_rng(seed)
    first = np.unique(store.pair_session, return_index=True)[1]  # of each session with pairs
    owner = store.pair_learner
    for query in rng.choice(len(owner), min(20, len(owner)), replace=False):
        begins = rng.choice(first[(first <= query) & (owner[first] == owner[query])])
        alone = np.zeros(len(store.session_start) - 1, dtype=bool)
        alone[store.pair_session[begins]] = True
        histories = learner_histories(store, SEPARATOR, alone)
        in_training = prefixes_of(histories.batch(np.array([[query]])))[0][0]
        assert told(store, range(begins, query), int(query), longest) == in_training


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_a_history_shows_every_earlier_step_once(seed: int, is_overlapping: bool) -> None:
    """Counted by a slow reading of the steps: all that the learner's earlier pairs show."""
    table = random_overlapping(seed, is_overlapping)
    store = store_of(table)
    owner = store.pair_learner
    for query in np.random.default_rng(seed).choice(len(owner), min(20, len(owner)), False):
        begins = store.learner_start[owner[query]]
        shown = {  # session -> steps
            int(store.pair_session[pair]): int(store.pair_position[pair]) + (pair < query)
            for pair in range(begins, query + 1)
        }
        by_hand = Counter(c for session, size in shown.items() for c in table[session][2][:size])
        by_hand[SEPARATOR] += len(shown) - 1
        assert Counter(told(store, range(begins, query), int(query))) == +by_hand


def test_every_epoch_has_all_pairs_with_much_history_and_with_little() -> None:
    """Learners of three sessions of two pairs: before the third stand none, one or both others."""
    sessions = [(n, 1000 * s, [1, 2, 3]) for n in range(600) for s in range(3)]
    chosen = params(episodes={"support_size": 2, "query_size": 3}, ablations={"support_sizes": [1]})
    store = build_episodes(steps(sessions), chosen)[0]
    pairs_of = store.pairs_of("train")
    batches = HistoryBatches(store, 50, 9)
    whole = list(batches.examples(np.random.default_rng(0)))
    prefixes = [own for examples in whole for own in prefixes_of(examples)[0]]
    assert len(prefixes) == len(pairs_of)
    learners = len(pairs_of) / 6
    number = Counter(own.count(9) for own in prefixes if own[-1] == 1)  # first pairs of sessions
    # none: every first session, half of the second and third; two: a quarter of the third
    assert number[0] / learners == pytest.approx(1 + 0.5 + 0.5, abs=0.15)
    assert number[1] / learners == pytest.approx(0.5 + 0.25, abs=0.15)
    assert number[2] / learners == pytest.approx(0.25, abs=0.15)
    assert {tuple(own) for own in prefixes if own.count(9) == 2 and own[-1] == 2} == {
        (1, 2, 3, 9, 1, 2, 3, 9, 1, 2)
    }
    other = [own for x in batches.examples(np.random.default_rng(1)) for own in prefixes_of(x)[0]]
    assert sorted(other) != sorted(prefixes), "drawn again in the next epoch"
    later = list(batches.examples(np.random.default_rng(0), 1))
    for one, other in zip(whole[1:], later, strict=True):
        assert all(torch.equal(*both) for both in zip(one, other, strict=True))
