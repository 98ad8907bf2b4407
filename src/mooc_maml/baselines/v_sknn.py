"""V-SKNN: courses of the training sessions most like the current one.

Source: Ludewig and Jannach 2018, "Evaluation of session-based recommendation algorithms": the
current session is a vector with 1 for its last course and linearly less for earlier ones, whose
dot product with a past session's set of courses is their similarity; the k most similar vote.
Added are the weights of Garg et al. 2019 (STAN), without which it stays far behind a Markov chain
where learners follow paths: a past session counts less if what it shares lies further back, and a
course of it less if it stands further from the latest shared one, or before that.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.baselines.sparse import FIELDS, arrays_of, cells, compressed, matrix_of
from mooc_maml.baselines.training_sessions import popularity_shares, training_steps
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BACKWARD = 0.01  # vote of a course before the shared one, of what it has at that distance after it
_BYTES_REMEMBERED = 1 << 25  # of votes, the latest: the same prefixes are asked for again and again
_POPULARITY = 1e-4  # share of popularity in the scores: an order for courses that get no vote


class VSKNN:
    """Votes of the k nearest training sessions, adding up to 1 with a trace of popularity.

    Args:
        sessions: rows training sessions; columns the courses 1..C of their steps, values the
            position of each step in its session, from 0.
        share: float64 [C], popularity, adds up to 1.
        neighbours: k.
        device: of the scores.
    """

    name: ClassVar[str] = "v_sknn"
    label: ClassVar[str] = "V-SKNN"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = False
    law: ClassVar[Law | None] = "shares"

    def __init__(
        self,
        sessions: "csr_array",
        share: NDArray[np.float64],
        neighbours: int,
        device: torch.device,
    ) -> None:
        self.sessions, self.share, self.neighbours = sessions, share, neighbours
        self.device = device
        self.history: list[dict[str, Any]] = []
        self.size = np.diff(sessions.indptr)
        self.found_in = _transposed(sessions, len(share) + 1)
        most = max(1, _BYTES_REMEMBERED // share.nbytes)
        self._votes = lru_cache(most)(self._counted_votes)

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Remember the sessions of all training learners."""
        session, course = training_steps(store)
        size = np.bincount(session)
        start = np.concatenate([[0], np.cumsum(size)])
        position = np.arange(len(session)) - start[session]
        log(f"v_sknn: {len(size)} training sessions of {len(session)} steps")
        values = position.astype(np.float64)
        sessions = compressed(values, course, start, store.num_courses + 1)
        return cls(sessions, popularity_shares(store), params.baselines.v_sknn.neighbours, device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Share of the votes for every query pair: float64 [tasks, Q, C]."""
        prefix = prefixes(query).cpu().numpy()
        rows = prefix.reshape(-1, prefix.shape[2])
        votes = np.stack([self._votes(row[row > 0].tobytes()) for row in rows])
        votes /= np.maximum(votes.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        votes = (1 - _POPULARITY) * votes + _POPULARITY * self.share
        return torch.from_numpy(votes).view(*prefix.shape[:2], -1).to(self.device)

    def _counted_votes(self, courses: bytes) -> NDArray[np.float64]:
        """Votes for the courses 1..C after one prefix, int64 [n] as bytes, n > 0."""
        prefix = np.frombuffer(courses, np.int64)
        session, weight, shared = self._nearest(prefix)
        place, cell = cells(self.sessions, session)
        ahead = self.sessions.data[cell] - shared[place]  # steps from the latest shared course
        near = np.where(ahead > 0, 1.0, _BACKWARD) / np.maximum(np.abs(ahead), 1)
        courses = self.sessions.indices[cell]
        votes = np.bincount(courses, weight[place] * near, minlength=len(self.share) + 1)
        return votes[1:].astype(np.float64)

    def _nearest(
        self, prefix: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """The k nearest sessions of a prefix [n].

        Returns:
            Their numbers; their weights: the dot product over the root of the session's length and
            over the square of the steps back to the latest shared course, the current one being 1
            step back; and where that course stands in them. All [at most k].
        """
        course, back = np.unique(prefix[::-1], return_index=True)  # latest occurrence, 0 = current
        order = np.argsort(-back)
        course, back = course[order], back[order]  # the current course last
        place, cell = cells(self.found_in, course)
        session = self.found_in.indices[cell]
        linear = 1 - back[place] / len(prefix)
        product = np.bincount(session, linear, minlength=len(self.size))
        latest = np.zeros(len(self.size), dtype=np.int64)
        latest[session] = cell  # of several cells of one session the last, the latest course, stays
        steps_back = np.zeros(len(self.size))
        steps_back[session] = back[place] + 1
        near = np.flatnonzero(product > 0)
        weight = product[near] / np.sqrt(self.size[near]) / steps_back[near] ** 2
        if len(near) > self.neighbours:
            best = _largest(weight, self.neighbours)
            near, weight = near[best], weight[best]
        return near, weight, self.found_in.data[latest[near]]

    def write(self, path: Path) -> None:
        """Write the sessions as an .npz file."""
        k = np.array(self.neighbours)
        content = {"share": self.share, "neighbours": k, **arrays_of(self.sessions)}
        write_arrays(path, len(self.share), **content)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read the sessions.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("share", "neighbours", *FIELDS))
        share, neighbours = found.pop("share"), int(found.pop("neighbours"))
        return cls(matrix_of(found, len(share) + 1), share, neighbours, device)


def _largest(values: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Indices of the largest values, of equal ones the first; in rising order.

    `np.argpartition` takes whichever of the equal ones, another on another kind of processor.
    """
    least = np.partition(values, -number)[-number]
    chosen = values > least
    chosen[np.flatnonzero(values == least)[: number - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)


def _transposed(sessions: "csr_array", num_rows: int) -> "csr_array":
    """Rows courses 0..C, columns the sessions they are in, each once; values their first position.

    A session's first steps stand first in `sessions`, as `np.unique` needs to find them.
    """
    number = len(sessions.indptr) - 1
    session = np.repeat(np.arange(number), np.diff(sessions.indptr))
    cell, first = np.unique(sessions.indices.astype(np.int64) * number + session, return_index=True)
    row, column = np.divmod(cell, number)
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_rows))])
    return compressed(sessions.data[first], column, start, number)
