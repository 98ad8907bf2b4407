"""The study's GRU, told the learner's history."""

from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.with_history import WithHistory
from mooc_maml.models.gru import GRURecommender


class GRUWithHistory(WithHistory[GRURecommender], GRUBaseline):
    """See `WithHistory`."""

    name = "gru_with_history"
    label = "GRU, with history"
