"""A sequence model told what the learner did in earlier sessions: context, not adaptation."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.histories import HistoryBatches, with_history
from mooc_maml.baselines.sequence import Model, SequenceBaseline
from mooc_maml.baselines.sequence_training import Batches, Plan, SequenceTraining, pair_scores
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.models.gru import GRURecommender
from mooc_maml.settings.params import Params


class GRUOfHistories(GRURecommender):
    """A GRU in whose file it stands how long a history it was trained on.

    Args:
        shape: what `GRURecommender` takes.
        max_length: courses of a history that training shows, the latest.
    """

    def __init__(self, *, max_length: int, **shape: Any) -> None:
        super().__init__(**shape)
        self.settings["max_length"] = max_length


class WithHistory(SequenceBaseline[Model]):
    """Stands before a baseline, which is then trained on prefixes with earlier sessions in them.

    It is tested with the support pairs before the query, in the same form and no longer than in
    training (see `histories`). Where a learner has one session only, the prefix holds its history
    anyway. Between two sessions stands what counts as one course more, C + 1; its score is left
    out. `kind` is a model with the setting `max_length`.
    """

    name: ClassVar[str]
    reads_support: ClassVar[bool] = True
    separators: ClassVar[int] = 1

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> Model:
        """That of the baseline, with the separator as one course more."""
        larger = replace(store, num_courses=store.num_courses + 1)
        start: Any = super().build(larger, params, parts)
        model: Any = cls.kind(**{**start.settings, "max_length": store.max_prefix_length})
        model.load_state_dict(start.state_dict())
        return model  # type: ignore[no-any-return]

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """That of the baseline, under this one's name."""
        return super().plan(params)._replace(name=cls.name)

    @classmethod
    def batches(cls, store: EpisodeStore, params: Params) -> Batches:
        """A learner's sessions, some of them as one."""
        separator = store.num_courses + 1
        return HistoryBatches(store, cls.plan(params).settings.batch_size, separator)

    @classmethod
    def training(
        cls, store: EpisodeStore, params: Params, device: torch.device, parts: Parts = NO_PARTS
    ) -> SequenceTraining:
        """As the baseline, but for the loss: what may come again in a later session stays in."""
        training = super().training(store, params, device, parts)
        training.seen = training.seen._replace(prefix=training.seen.support)
        return training

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        model: Any = self.model
        separator, longest = model.settings["num_courses"], model.settings["max_length"]
        whole = with_history(support, query, separator, longest)
        return pair_scores(model, whole)[..., :-1]
