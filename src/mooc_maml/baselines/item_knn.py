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
from mooc_maml.baselines.sparse import SparseRows
from mooc_maml.baselines.sparse_baseline import SparseBaseline
from mooc_maml.baselines.training_sessions import popularity_shares, training_steps
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.settings.params import Params

_POPULARITY = 1e-6  # an order for courses that were never in a session with those of the prefix
_CELLS_AT_ONCE = 4_000_000  # bounds the memory of counting


class ItemKNN(SparseBaseline):
    """Cosine similarity of courses over training sessions.

    They are the matrix, in which no course is paired with itself.
    """

    name: ClassVar[str] = "item_knn"
    label: ClassVar[str] = "Item-kNN"

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
        sets = SparseRows.counted(session, course, shape)
        found = _together(sets, shape[1])
        number = np.bincount(sets.column, minlength=shape[1])  # sessions of each course
        row = np.repeat(np.arange(shape[1]), np.diff(found.start))
        cosine = found.value / np.sqrt(number[row] * number[found.column])
        log(f"item_knn: {shape[0]} training sessions, {len(cosine)} pairs of courses")
        column = found.column - 1
        return cls(SparseRows(found.start, column, cosine), popularity_shares(store), device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Sum of similarities to the prefix, for every query pair: float64 [tasks, Q, C]."""
        prefix = prefixes(query).cpu().numpy()  # [tasks, Q, time]
        steps_back = query.position.cpu().numpy()[..., None] - np.arange(prefix.shape[2]) + 1
        pair, step = np.nonzero(prefix.reshape(-1, prefix.shape[2]))
        weight = 1 / steps_back.reshape(-1, prefix.shape[2])[pair, step]
        place, cell = self.matrix.cells(prefix.reshape(-1, prefix.shape[2])[pair, step])
        courses = len(self.share)
        target = pair[place] * courses + self.matrix.column[cell]
        values = weight[place] * self.matrix.value[cell]
        total = np.bincount(target, values, minlength=prefix[..., 0].size * courses)
        scores = total.reshape(*prefix.shape[:2], courses) + _POPULARITY * self.share
        return torch.from_numpy(scores).to(self.device)


def _together(sets: SparseRows, courses: int) -> SparseRows:
    """In how many rows of `sets` two different columns are found together: [courses, courses]."""
    size = np.diff(sets.start)
    chunk = np.cumsum(size**2) // _CELLS_AT_ONCE
    cells, counts = [], []
    for rows in np.split(np.arange(len(size)), np.flatnonzero(np.diff(chunk)) + 1):
        place, first = sets.cells(rows)
        inner, second = sets.cells(rows[place])  # every course of the session of each course
        one, other = sets.column[first][inner], sets.column[second]
        pair = (one * courses + other)[one != other]
        found = np.unique(pair, return_counts=True)
        cells.append(found[0])
        counts.append(found[1])
    cell, where = np.unique(np.concatenate(cells), return_inverse=True)
    count = np.bincount(where, np.concatenate(counts)).astype(np.float64)
    start = np.concatenate([[0], np.cumsum(np.bincount(cell // courses, minlength=courses))])
    return SparseRows(start, cell % courses, count)
