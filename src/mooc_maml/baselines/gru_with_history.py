"""The GRU told what the learner did in earlier sessions: context in place of adaptation."""

from torch import Tensor

from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.histories import learner_histories, with_history
from mooc_maml.baselines.sequence_training import Plan, pair_scores
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.params import Params


class GRUWithHistory(GRUBaseline):
    """The study's GRU trained on whole histories, tested with the support pairs before the query.

    Where a learner has one session only, the prefix holds its history anyway, and this is the GRU.
    """

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """That of the GRU."""
        return super().plan(params)._replace(name="gru_with_history")

    @classmethod
    def training_store(cls, store: EpisodeStore) -> EpisodeStore:
        """A learner's sessions as one."""
        return learner_histories(store)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        return pair_scores(self.model, with_history(support, query))
