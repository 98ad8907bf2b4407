"""The plain GRU trained on where meta-training would go on from it: steps without adaptation."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.gru import GRUBaseline, gru_of
from mooc_maml.baselines.sequence_training import Plan
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.models.gru import GRURecommender
from mooc_maml.settings.composites.gru_further import FurtherGRUParams
from mooc_maml.settings.params import Params


class FurtherGRU(GRUBaseline):
    """The GRU baseline after further updates on meta-batches, without an inner loop.

    A control: what a warm-started meta-model has over it is not owed to more steps alone. An update
    goes down the mean cross-entropy of all support and query pairs of its learners.
    """

    name = "gru_further"
    label = "GRU, trained further"
    made_of = FurtherGRUParams.made_of

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> GRURecommender:
        """A copy of the trained GRU."""
        return deepcopy(gru_of(parts)).cpu()

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """With early stopping."""
        own, metric = params.composites.gru_further, params.evaluation.validation_metric
        return Plan("gru_further", "composites.gru_further", own, metric, own.patience, params.seed)

    @classmethod
    def batches(cls, store: EpisodeStore, params: Params) -> "EpisodeBatches":
        """Meta-batches."""
        own = params.composites.gru_further
        return EpisodeBatches(store, own.batch_size, own.updates)


class EpisodeBatches:
    """Updates of whole episodes, drawn as meta-training draws its meta-batches.

    Args:
        store: the episodes.
        learners: in one update, an episode of each.
        updates: in one epoch.
    """

    def __init__(self, store: EpisodeStore, learners: int, updates: int) -> None:
        self.store, self.learners, self.updates = store, learners, updates

    def __len__(self) -> int:
        """Pairs in an epoch."""
        return self.updates * self.learners * (self.store.support_size + self.store.query_size)

    def examples(self, rng: np.random.Generator, start: int = 0) -> Iterator[Examples]:
        """Each update from number `start` on, all its pairs as a single task [1, pairs].

        Raises:
            UserError: there are fewer learners than that.
        """
        for number in range(self.updates):
            setting = "composites.gru_further.batch_size"
            tasks = sample_tasks(self.store, self.learners, rng, setting)
            if number >= start:
                parts = (self.store.support_pairs, self.store.query_pairs)
                pairs = np.concatenate([pairs_of("train", tasks) for pairs_of in parts], axis=1)
                yield self.store.batch(pairs.reshape(1, -1))
