"""The study's GRU, told the learner's history."""

from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.with_history import GRUOfHistories, WithHistory


class GRUWithHistory(WithHistory[GRUOfHistories], GRUBaseline):
    """See `WithHistory`."""

    name = "gru_with_history"
    label = "GRU, with history"
    kind = GRUOfHistories  # type: ignore[assignment]  # its constructor takes one thing more
