"""Item-kNN: courses that are found in the same sessions as those of the prefix.

Source: Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", whose
item-KNN is the cosine of the courses' vectors of sessions; there of the current course alone, here
with what earlier courses add, divided by the steps back to them.
"""

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.baselines.sparse import compressed, counted, summed
from mooc_maml.baselines.sparse_baseline import SparseBaseline
from mooc_maml.baselines.training_sessions import popularity_shares, training_steps
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params

_POPULARITY = 1e-6  # an order for courses that were never in a session with those of the prefix


class ItemKNN(SparseBaseline):
    """Cosine similarity of courses over training sessions.

    They are the matrix, in which no course is paired with itself.
    """

    name: ClassVar[str] = "item_knn"
    label: ClassVar[str] = "Item-kNN"
    law: ClassVar[Law | None] = None

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Count in how many training sessions each two courses are found together."""
        session, course = training_steps(store)
        shape = (int(session[-1]) + 1, store.num_courses + 1)
        sets = counted(session, course, shape)
        sets.data[:] = 1
        number = np.bincount(sets.indices, minlength=shape[1])  # sessions of each course
        together = (sets.T @ sets).tocoo()  # in how many sessions two courses are found
        row, column = together.coords
        apart = row != column
        row, column, count = row[apart], column[apart], together.data[apart]
        cosine = count / np.sqrt(number[row] * number[column])
        log(f"item_knn: {shape[0]} training sessions, {len(cosine)} pairs of courses")
        matrix = summed(cosine, row, column - 1, (shape[1], store.num_courses))
        return cls(matrix, popularity_shares(store), device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Sum of similarities to the prefix, for every query pair: float64 [tasks, Q, C]."""
        prefix = prefixes(query).cpu().numpy()  # [tasks, Q, time]
        steps_back = query.position.cpu().numpy()[..., None] - np.arange(prefix.shape[2]) + 1
        flat, steps_back = (x.reshape(-1, prefix.shape[2]) for x in (prefix, steps_back))
        pair, step = np.nonzero(flat)
        # A row a pair, a cell a step in the order of time, in which they are added up.
        start = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=len(flat)))])
        values = 1 / steps_back[pair, step]
        weights = compressed(values, flat[pair, step], start, len(self.share) + 1)
        total = (weights @ self.matrix).toarray()
        scores = total.reshape(*prefix.shape[:2], -1) + _POPULARITY * self.share
        return torch.from_numpy(scores).to(self.device)
