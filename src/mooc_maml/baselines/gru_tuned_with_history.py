"""The larger GRU, told the learner's history."""

from mooc_maml.baselines.gru_tuned import TunedGRU
from mooc_maml.baselines.with_history import WithHistory
from mooc_maml.models.gru import GRURecommender


class TunedGRUWithHistory(WithHistory[GRURecommender], TunedGRU):
    """See `WithHistory`; shape and training are those of `baselines.gru_tuned`."""

    name = "gru_tuned_with_history"
    label = "GRU, tuned, with history"
