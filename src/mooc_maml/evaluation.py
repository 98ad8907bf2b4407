"""One way to rank the query courses of every episode, whatever the model."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.ranking import metrics, ranks

# (support, query) -> scores of the query pairs: float [tasks, Q, C]
ScoreFunction = Callable[[Examples, Examples], Tensor]


def without_support(scores: Callable[[Examples], Tensor]) -> ScoreFunction:
    """Make a scorer of queries out of a model that does not adapt; no gradients are kept."""

    @torch.no_grad()
    def score(_: Examples, query: Examples) -> Tensor:
        return scores(query)

    return score


def query_ranks(
    score: ScoreFunction,
    store: EpisodeStore,
    episode_set: str,
    *,
    tasks_at_once: int,
    device: torch.device,
    support_size: int | None = None,
) -> NDArray[np.int64]:
    """Rank of the true course, among all courses, for every query pair of a set of episodes.

    Args:
        score: gives the scores of the query pairs; it may adapt on the support pairs.
        store: the episodes.
        episode_set: "train", "validation", "test" or "ablation".
        tasks_at_once: episodes scored together; bounds memory.
        device: where `score` wants its examples.
        support_size: support pairs, those directly before the query; None: K.

    Returns:
        int64 [episodes, Q]; episodes are in the order of store.episodes[episode_set].
    """
    chunks = []
    total = len(store.episodes[episode_set])
    for start in range(0, total, tasks_at_once):
        indices = np.arange(start, min(start + tasks_at_once, total))
        support = store.support(episode_set, indices, support_size).to(device)
        query = store.query(episode_set, indices).to(device)
        chunks.append(ranks(score(support, query).detach(), query.label).cpu().numpy())
    return np.concatenate(chunks)


def learner_metrics(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Ranks [learners, Q] -> metric: [learners], each the mean over the learner's queries."""
    return {name: values.mean(-1) for name, values in metrics(ranks).items()}


def summary(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Ranks [learners, Q] -> metric: the mean over learners of their mean over queries."""
    return {name: float(values.mean()) for name, values in learner_metrics(ranks).items()}
