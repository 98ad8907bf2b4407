"""How often training learners open each course, and what follows from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mooc_maml.episodes.store import EpisodeStore

GROUPS = ("most popular", "middle", "least popular")
_EDGES = (0.2, 0.8)  # shares of all openings that end the first and the second group


@dataclass(frozen=True)
class Opened:
    """Which training learner opened which course as the next one of a pair.

    Attributes:
        by_learner: [learners, C], 1 where the learner opened the course, else 0.
    """

    by_learner: csr_array

    @property
    def learners(self) -> NDArray[np.int64]:
        """Learners that opened each course: int64 [C]."""
        count: NDArray[np.int64] = np.asarray(self.by_learner.sum(0)).ravel().astype(np.int64)
        return count

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of the learners that opened each course: float [C]."""
        share: NDArray[np.float64] = self.learners / max(self.by_learner.shape[0], 1)
        return share

    @property
    def novelty(self) -> NDArray[np.float64]:
        """-log2 of that share, in bits: float [C]; a course nobody opened counts as one learner's.

        The self-information of Vargas and Castells 2011.
        """
        total = max(self.by_learner.shape[0], 1)
        bits: NDArray[np.float64] = -np.log2(np.maximum(self.learners, 1) / total)
        return bits

    @property
    def group(self) -> NDArray[np.int64]:
        """Popularity group of each course, an index in GROUPS: int64 [C].

        Courses in order of their learners: the first that make up 20 % of all openings, those up to
        80 %, and the rest (Abdollahpouri et al. 2019). A course stands where its own share begins.
        """
        count = self.learners
        order = np.argsort(-count, kind="stable")
        begun = np.cumsum(count[order]) - count[order]
        found = np.empty(len(count), np.int64)
        found[order] = np.searchsorted(
            np.array(_EDGES) * max(int(count.sum()), 1), begun, side="right"
        )
        found[count == 0] = len(GROUPS) - 1
        return found

    def distance(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """1 - the cosine of two courses' learners, element by element; 1 where one has none.

        Args:
            first: int64 [n], courses 1..C.
            second: int64 [n].
        """
        places, back = np.unique(np.stack([first, second]), return_inverse=True)
        own = self.by_learner[:, places - 1].tocsc()
        together = (own.T @ own).tocsr()
        norm = np.sqrt(np.maximum(together.diagonal(), 1))
        a, b = back.reshape(2, -1)
        cosine = np.asarray(together[a, b]).ravel() / (norm[a] * norm[b])
        found: NDArray[np.float64] = 1.0 - cosine
        return found


def opened(store: EpisodeStore) -> Opened:
    """Of the training learners of a store; a learner who opens a course twice counts once."""
    pairs = store.pairs_of("train")
    learners, row = np.unique(store.pair_learner[pairs], return_inverse=True)
    course = store.courses[store.label_step[pairs]].astype(np.int64) - 1
    cells = np.unique(row * store.num_courses + course)
    ones = np.ones(len(cells))
    place = (cells // store.num_courses, cells % store.num_courses)
    return Opened(csr_array((ones, place), shape=(len(learners), store.num_courses)))
