"""The GRU with the shape and training that suit it best, not the study's."""

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.sequence import SequenceBaseline
from mooc_maml.baselines.sequence_training import Plan
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.models.gru import GRURecommender
from mooc_maml.settings.params import Params


class TunedGRU(SequenceBaseline[GRURecommender]):
    """A larger GRU with dropout, trained until validation no longer improves."""

    name = "gru_tuned"
    label = "GRU, tuned"
    kind = GRURecommender

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> GRURecommender:
        """A GRU of the shape in `baselines.gru_tuned`."""
        start, own = torch_generator(params.seed, "gru-tuned-weights"), params.baselines.gru_tuned
        return GRURecommender(
            store.num_courses,
            embedding_dim=own.embedding_dim,
            hidden_dim=own.hidden_dim,
            dropout=own.dropout,
            generator=start,
        )

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """With early stopping."""
        own, metric = params.baselines.gru_tuned, params.evaluation.validation_metric
        return Plan("gru_tuned", "baselines.gru_tuned", own, metric, own.patience, params.seed)
