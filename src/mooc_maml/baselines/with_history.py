"""A sequence model told what the learner did in earlier sessions: context, not adaptation."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.histories import learner_histories, with_history
from mooc_maml.baselines.sequence import Model, SequenceBaseline
from mooc_maml.baselines.sequence_training import Batches, Plan, SequenceTraining, pair_scores
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.params import Params


class WithHistory(SequenceBaseline[Model]):
    """Stands before a baseline, which is then trained on whole histories.

    It is tested with the support pairs before the query. Where a learner has one session only, the
    prefix holds its history anyway, and nothing changes.
    """

    name: ClassVar[str]

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """That of the baseline, under this one's name."""
        return super().plan(params)._replace(name=cls.name)

    @classmethod
    def batches(cls, store: EpisodeStore, params: Params) -> Batches:
        """A learner's sessions as one."""
        return super().batches(learner_histories(store), params)

    @classmethod
    def training(
        cls, store: EpisodeStore, params: Params, device: torch.device, parts: Parts = NO_PARTS
    ) -> SequenceTraining:
        """As the baseline, but for the loss: what may come again in a later session stays in."""
        training = super().training(store, params, device, parts)
        training.taken = training.taken._replace(prefix=training.taken.support)
        return training

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        model: Any = self.model
        longest = model.settings.get("max_length")  # a GRU has no limit
        return pair_scores(model, with_history(support, query, longest))
