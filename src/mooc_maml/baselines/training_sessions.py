"""What the training learners did, as plain arrays."""

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.store import EpisodeStore


def training_steps(store: EpisodeStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All steps of the training learners' sessions: session, renumbered from 0, and course 1..C.

    A session without a pair, of a single step, is left out.
    """
    sessions = np.unique(store.pair_session[store.pairs_of("train")])
    start = store.session_start[sessions]
    size = store.session_start[sessions + 1] - start
    courses = store.courses[ranges(start, size)].astype(np.int64)
    return np.repeat(np.arange(len(sessions)), size), courses


def next_courses(store: EpisodeStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every training pair the course before its next course, and that: 1..C, both [pairs]."""
    step = store.label_step[store.pairs_of("train")]
    return store.courses[step - 1].astype(np.int64), store.courses[step].astype(np.int64)


def popularity_shares(store: EpisodeStore) -> NDArray[np.float64]:
    """Share of the training pairs that have each course 1..C as their next: float64 [C]."""
    following = next_courses(store)[1]
    return np.bincount(following - 1, minlength=store.num_courses) / len(following)
