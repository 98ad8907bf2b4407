"""Adaptation on support pairs that are not what they should be: negative controls.

A model that gains as much from wrong support pairs as from right ones has not adapted to the
learner, whatever its few-shot figures are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.composites.mixture import Mixture
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import ScoreFunction, episode_groups
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.settings.baselines import ADAPTED

# (indices of test episodes, their support pairs) -> the support pairs to adapt on
Spoil = Callable[[NDArray[np.int64], Examples], Examples]


def shuffled_labels(store: EpisodeStore, rng: np.random.Generator) -> Spoil:
    """The next courses of each learner's support pairs in random order.

    What follows what is lost; which courses the learner opens is not.
    """
    own_order = np.tile(np.arange(store.support_size), (len(store.episodes["test"]), 1))
    order = torch.from_numpy(rng.permuted(own_order, axis=1))  # [episodes, K]

    def spoil(indices: NDArray[np.int64], support: Examples) -> Examples:
        return support._replace(label=support.label.gather(1, order[indices]))

    return spoil


def exchanged_supports(store: EpisodeStore, rng: np.random.Generator) -> Spoil:
    """The support pairs of another test learner, each learner's given to one other.

    A single learner keeps its own.
    """
    ring = rng.permutation(len(store.episodes["test"]))
    giver = np.empty_like(ring)
    giver[ring] = np.roll(ring, 1)

    def spoil(indices: NDArray[np.int64], _: Examples) -> Examples:
        return store.support("test", giver[indices])

    return spoil


CONTROLS: Mapping[str, Callable[[EpisodeStore, np.random.Generator], Spoil]] = {
    "shuffled": shuffled_labels,
    "exchanged": exchanged_supports,
}


WITHOUT_STEPS = "mixture_without_steps"  # told of the support pairs, its weights as learned


class Controlled(NamedTuple):
    """Names of a model, of the same before adaptation, and what its controls' names begin with."""

    few_shot: str
    zero_shot: str
    prefix: str

    def comparisons(self) -> list[tuple[str, str]]:
        """What is laid beside what: few-shot and its controls beside zero-shot, then few-shot
        beside its controls; of the mixture also what it is told beside what its steps add."""
        spoilt = [self.prefix + name for name in CONTROLS]
        against_zero = [(name, self.zero_shot) for name in (self.few_shot, *spoilt)]
        found = against_zero + [(self.few_shot, name) for name in spoilt]
        if self.few_shot == ADAPTED[0]:
            found += [(WITHOUT_STEPS, self.zero_shot), (self.few_shot, WITHOUT_STEPS)]
        return found


CONTROLLED = (
    Controlled("few_shot", "zero_shot", ""),
    Controlled(*ADAPTED, prefix="mixture_"),
)


def without_steps(mixture: Mixture) -> ScoreFunction:
    """The mixture told of the support pairs, but without gradient steps on them."""
    return _changed(mixture, mixture.taken, 0).scores


def told_of_others(mixture: Mixture) -> ScoreFunction:
    """The mixture for support pairs of another learner: what these took is not left out.

    What the learner itself has taken is left out by `spoilt_ranks`.
    """
    return _changed(mixture, mixture.taken._replace(support=False), mixture.steps).scores


def _changed(mixture: Mixture, taken: SeenFilter, steps: int) -> Mixture:
    return Mixture(mixture.parts, taken, mixture.weights, steps, mixture.num_courses, [])


def spoilt_ranks(
    score: ScoreFunction,
    spoil: Spoil,
    store: EpisodeStore,
    taken: SeenFilter,
    *,
    tasks_at_once: int,
    device: torch.device,
) -> NDArray[np.int64]:
    """Ranks of the test queries after adaptation on spoilt support pairs.

    Courses that the learner has taken are left out of the ranking by the learner's own pairs.

    Args:
        score: adapts and scores.
        spoil: changes the support pairs that it adapts on.
        store: the episodes.
        taken: which courses are ranked.
        tasks_at_once: episodes scored together; bounds memory.
        device: where `score` wants its examples.

    Returns:
        int64 [episodes, Q], as `query_ranks`.
    """
    found = np.zeros((len(store.episodes["test"]), store.query_size), dtype=np.int64)
    for indices, own, query in episode_groups(store, "test", tasks_at_once):
        spoilt = spoil(indices, own).to(device)

        def scores(_: Examples, asked: Examples, spoilt: Examples = spoilt) -> torch.Tensor:
            return score(spoilt, asked).detach()

        support, asked = own.to(device), query.to(device)
        found[indices] = ranks(taken.without(scores)(support, asked), asked.label).cpu().numpy()
    return found


def mean_of(repeats: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Mean over repeats of each learner's metrics: metric -> [learners]."""
    return {metric: np.mean([own[metric] for own in repeats], axis=0) for metric in repeats[0]}


def helps(rows: list[dict[str, Any]], metric: str) -> bool:
    """Whether a model is better than zero-shot beyond chance: its 95 % interval is above 0.

    Args:
        rows: of `paired`, the model minus its zero-shot.
        metric: the one that counts.
    """
    return any(row["low"] > 0 for row in rows if row["metric"] == metric)
