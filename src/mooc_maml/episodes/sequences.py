"""Examples made of plain lists: what somebody tells of learners, in place of a store's pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

Sessions = Sequence[Sequence[int]]  # of one learner, oldest first; courses 1..C, oldest first


class Told(NamedTuple):
    """Learners who told of equally many support pairs.

    Attributes:
        learners: int64 [tasks], their places in the list that was given.
        support: their latest pairs, in order of time.
        query: one pair a learner, [tasks, 1]: its prefix is the last session, its label 0, since
            nobody knows what comes next.
    """

    learners: NDArray[np.int64]
    support: Examples
    query: Examples


def from_sequences(
    learners: Sequence[Sessions],
    support_size: int,
    max_prefix_length: int,
    num_courses: int,
    reliability: float = 1.0,
) -> list[Told]:
    """Make examples of learners' sessions.

    Every course of a session but its first is the next course of a pair, as in preprocessing; the
    last session goes on, so that all of it is the prefix whose next course is asked for.

    Args:
        learners: sessions of each; at least one, and no session is empty.
        support_size: so many of a learner's latest pairs are support pairs, fewer if there are.
        max_prefix_length: a model sees at most this many latest courses of a prefix.
        num_courses: C.
        reliability: SRS of every session (see `reliability`), which lists of courses do not tell.

    Returns:
        Learners with equally many support pairs together, few first.
    """
    store = _store(learners, support_size, max_prefix_length, num_courses, reliability)
    total = np.diff(store.learner_start) - 1  # pairs of each learner, but the one asked for
    found = []
    for size in np.unique(np.minimum(total, support_size)).tolist():
        own = np.flatnonzero(np.minimum(total, support_size) == size)
        last = store.learner_start[own + 1, None] - 1
        support = store.batch(last + np.arange(-size, 0))
        found.append(Told(own, support, store.batch(last)))
    return found


def _store(
    learners: Sequence[Sessions],
    support_size: int,
    max_prefix_length: int,
    num_courses: int,
    reliability: float,
) -> EpisodeStore:
    """The sessions as a store, each learner's last with one step more: 0, the course asked for."""
    steps: list[int] = []
    size: list[int] = []
    for sessions in learners:
        for session in sessions:
            steps.extend(session)
            size.append(len(session))
        steps.append(0)
        size[-1] += 1
    length = np.array(size, dtype=np.int64)
    pairs = length - 1
    of_learner = np.repeat(np.arange(len(learners)), [len(sessions) for sessions in learners])
    number = np.bincount(of_learner, pairs, len(learners)).astype(np.int64)
    none = np.zeros(0, dtype=np.int64)
    return EpisodeStore(
        courses=np.array(steps, dtype=np.int32),
        session_start=np.append(0, np.cumsum(length)),
        pair_session=np.repeat(np.arange(len(length)), pairs).astype(np.int32),
        pair_position=ranges(np.ones_like(pairs), pairs).astype(np.int32),
        pair_time=none,
        pair_reliability=np.full(pairs.sum(), reliability, dtype=np.float32),
        learner_start=np.append(0, np.cumsum(number)),
        learner_split=np.zeros(len(learners), dtype=np.int8),
        episodes={},
        num_courses=num_courses,
        support_size=support_size,
        query_size=1,
        max_prefix_length=max_prefix_length,
        ablation_support_size=support_size,
    )
