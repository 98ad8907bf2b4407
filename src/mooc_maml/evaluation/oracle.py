"""The best possible prediction of synthetic learners, ranked on the same queries as the models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import Ranks
from mooc_maml.evaluation.vocabulary import read_ids
from mooc_maml.ranking.query_ranks import Answers, answers_of
from mooc_maml.synthetic.oracle import Oracle

_EPISODES_AT_ONCE = 1024


@dataclass(frozen=True)
class OracleContender:
    """The oracle, which knows learners and courses by their ids, and the ids by their numbers."""

    oracle: Oracle
    course_ids: list[str]
    learner_ids: list[str]

    @classmethod
    def read(cls, truth: Path, pairs: Path) -> Self:
        """Open what `simulate` and `preprocess` wrote.

        Raises:
            UserError: the truth or a vocabulary is missing or damaged.
        """
        return cls(Oracle.load(truth), read_ids(pairs, "course"), read_ids(pairs, "learner"))

    def answers(self, store: EpisodeStore, episode_set: str) -> Answers:
        """Its answers under the law that the synthetic learners really follow."""
        total = len(store.episodes[episode_set])
        parts = [
            self._answers(store, episode_set, np.arange(a, min(a + _EPISODES_AT_ONCE, total)))
            for a in range(0, total, _EPISODES_AT_ONCE)
        ]
        return Answers(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _answers(
        self, store: EpisodeStore, episode_set: str, indices: NDArray[np.int64]
    ) -> Answers:
        rows = store.query_pairs(episode_set, indices)
        session, length = store.pair_session[rows.ravel()], store.pair_position[rows.ravel()]
        start = store.session_start[session]
        steps = [store.courses[a : a + n] for a, n in zip(start, length, strict=True)]
        prefixes = [[self.course_ids[course - 1] for course in prefix] for prefix in steps]
        numbers = store.episodes[episode_set][indices, 0].repeat(rows.shape[1])
        learners = [self.learner_ids[i] for i in numbers]
        scores = torch.from_numpy(self.oracle.scores(learners, prefixes, self.course_ids))
        labels = torch.from_numpy(store.courses[start + length].astype(np.int64))
        return answers_of(scores.view(*rows.shape, -1), labels.view(rows.shape), "shares")


def oracle_ranks(store: EpisodeStore, episode_set: str, oracle: Oracle, pairs: Path) -> Ranks:
    """Ranks [episodes, Q] of the true courses by the oracle.

    Args:
        store: the episodes.
        episode_set: "validation", "test" or another set of it.
        oracle: the truth.
        pairs: the folder of `preprocess`, whose vocabularies give the ids.

    Raises:
        UserError: a vocabulary is missing or damaged.
    """
    ids = read_ids(pairs, "course"), read_ids(pairs, "learner")
    return OracleContender(oracle, *ids).answers(store, episode_set).ranks
