"""Episodes that the mixture is fitted on: every window of the validation learners."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.store import EpisodeStore


def windows(store: EpisodeStore, learners: NDArray[np.int64]) -> EpisodeStore:
    """The same pairs with every window of K + Q of these learners as a training episode."""
    start, end = store.learner_start[learners], store.learner_start[learners + 1]
    number = end - start - (store.support_size + store.query_size) + 1
    opening = ranges(start, number)
    before = store.pair_time[opening + store.support_size - 1]
    strict = before < store.pair_time[opening + store.support_size]
    found = np.stack([np.repeat(learners, number), opening], axis=1)[strict]
    return replace(store, episodes={**store.episodes, "train": found})
