"""The study's GRU baseline: one model for all, trained on all pairs of all training learners."""

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.sequence import SequenceBaseline
from mooc_maml.baselines.sequence_training import Plan
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.models.gru import GRURecommender
from mooc_maml.settings.params import Params


class GRUBaseline(SequenceBaseline[GRURecommender]):
    """The recommender in the study's shape, after all epochs that it is given."""

    name = "gru"
    label = "GRU"
    kind = GRURecommender

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> GRURecommender:
        """A GRU of the shape that the meta-model has."""
        start = torch_generator(params.seed, "baseline-gru-weights")
        return GRURecommender(store.num_courses, **params.model.gru_shape(), generator=start)

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """Without early stopping."""
        own, metric = params.baselines.gru, params.evaluation.validation_metric
        return Plan("gru", "baselines.gru", own, metric, 0, params.seed)


def gru_of(parts: Parts) -> GRURecommender:
    """The trained model, for a baseline that is made of it."""
    part = parts["gru"]
    assert isinstance(part, GRUBaseline)
    return part.model
