"""First-order Markov chain: what training learners opened next after the current course."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.baselines.sparse import counted
from mooc_maml.baselines.sparse_baseline import SparseBaseline
from mooc_maml.baselines.training_sessions import next_courses, popularity_shares
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import last_courses
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params


class Markov(SparseBaseline):
    """Probability of the next course given the current one, backed off to popularity.

    (n(current, next) + share(next)) / (n(current) + 1), n counting training pairs and `share`
    being the share of them with this next course: a Dirichlet prior of weight 1 (MacKay and Peto
    1995), so that courses that never followed the current one are ranked by popularity.

    The matrix holds the counts: rows current courses, columns next courses.
    """

    name: ClassVar[str] = "markov"
    label: ClassVar[str] = "Markov chain"
    law: ClassVar[Law | None] = "shares"

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Count the moves of all training pairs."""
        current, following = next_courses(store)
        shape = (store.num_courses + 1, store.num_courses)
        follows = counted(current, following - 1, shape)
        log(f"markov: {len(current)} training pairs, {follows.nnz} different moves")
        return cls(follows, popularity_shares(store), device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Probabilities of every query pair: float64 [tasks, Q, C]."""
        current = last_courses(query).cpu().numpy()
        counts = self.matrix[current.ravel()].toarray()  # [tasks * Q, C]
        probability = (counts + self.share) / (counts.sum(1, keepdims=True) + 1)
        return torch.from_numpy(probability).view(*current.shape, -1).to(self.device)
