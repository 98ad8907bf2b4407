"""SASRec, the self-attentive recommender, trained like the GRU.

Source: Kang & McAuley 2018, with the cross-entropy over all courses in place of sampled negatives
(Klenitskiy and Vasilev 2023, "Turning Dross Into Gold Loss: is BERT4Rec really better than
SASRec?").
"""

from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.sequence import SequenceBaseline
from mooc_maml.baselines.sequence_training import Plan
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.models.transformer import SASRec
from mooc_maml.settings.params import Params


class SASRecBaseline(SequenceBaseline[SASRec]):
    """A Transformer read at the last course of every prefix, with early stopping."""

    name = "sasrec"
    label = "SASRec"
    kind = SASRec

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> SASRec:
        """A Transformer of the shape in `baselines.sasrec`, for prefixes as long as they get."""
        own = params.baselines.sasrec
        start = torch_generator(params.seed, "sasrec-weights")
        shape = (own.dim, own.heads, own.blocks, own.dropout)
        return SASRec(store.num_courses, *shape, store.max_prefix_length, start)

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """With early stopping."""
        own, metric = params.baselines.sasrec, params.evaluation.validation_metric
        return Plan("sasrec", "baselines.sasrec", own, metric, own.patience, params.seed)
