"""Blend: the probabilities of a GRU, the Markov chain and V-SKNN, mixed."""

from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.common.progress import part, step
from mooc_maml.composites.features import of_the_rest, part_scores
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import episode_groups, in_parts, summary
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.runtime.tasks_at_once import TasksAtOnce
from mooc_maml.settings.composites.blend import BlendParams
from mooc_maml.settings.params import Params

_PER_WEIGHT = 10  # weights are tenths
_GRUS = ("gru_tuned_with_history", "gru_tuned", "gru")  # the first that there is


class Blend:
    """A mixture of the parts' probabilities, the same for every learner.

    Args:
        parts: baselines, those of `made_of` among them.
        weights: one for each of them, in that order; they add up to 1.
        seen: courses that are left out; a part's probabilities are those among the others.
        num_courses: C.
        history: one entry a mixture tried: weights, validation metrics.
    """

    name: ClassVar[str] = "blend"
    label: ClassVar[str] = "Blend"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = BlendParams.made_of
    reads_support: ClassVar[bool] = True  # as its GRU may
    law: ClassVar[Law | None] = "shares"

    def __init__(
        self,
        parts: Parts,
        weights: tuple[float, ...],
        seen: SeenFilter,
        num_courses: int,
        history: list[dict[str, Any]],
    ) -> None:
        gru = next(name for name in _GRUS if name in parts)
        names = [gru if name == "gru" else name for name in self.made_of]
        self.parts = {name: parts[name] for name in names}
        self.weights, self.seen = weights, seen
        self.num_courses, self.history = num_courses, history

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Choose the weights, in tenths, by the validation metric (the first of equals)."""
        seen, at_once = seen_filter(store, params), TasksAtOnce(params.hardware.tasks_at_once)
        found = cls(parts, (), seen, store.num_courses, [])
        metric, tried = params.evaluation.validation_metric, mixtures(len(found.parts))
        total = len(store.episodes["validation"])

        def read(*pairs: Examples) -> Tensor:
            support, query = (x.to(device) for x in pairs)
            each, of_all = found.probabilities(support, query), []
            for weights in tried:
                score = seen.without(lambda *_, w=weights: _mixed(w, each))
                of_all.append(ranks(score(support, query), query.label).cpu())
            return torch.stack(of_all)

        ranked = np.zeros((len(tried), total, store.query_size), dtype=np.int64)
        with part(cls.name, total, "learners"):
            for indices, *pairs in episode_groups(
                store, "validation", at_once.number, device=device
            ):
                for own, of_all in in_parts(at_once, read, *pairs):
                    ranked[:, indices[own]] = of_all.numpy()
                step(len(indices))
        values = [summary(own) for own in ranked]
        best = int(np.argmax([value[metric] for value in values]))
        found.weights = tried[best]
        named = dict(zip(found.parts, found.weights, strict=True))
        found.history = [{"weights": named, "validation": values[best]}]
        log(f"blend: weights {named}, validation {metric} {values[best][metric]:.4f}")
        return found

    def probabilities(self, support: Examples, query: Examples) -> list[Tensor]:
        """Those of each part: float32 [tasks, Q, C]."""
        return of_the_rest(part_scores(self.parts, support, query), self.seen, support, query)[0]

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Probabilities of every query pair: float32 [tasks, Q, C]."""
        return _mixed(self.weights, self.probabilities(support, query))

    def write(self, path: Path) -> None:
        """Write the weights; the parts have files of their own."""
        weights, left_out = np.array(self.weights), np.array(self.seen[:2])
        write_arrays(path, self.num_courses, weights=weights, seen=left_out)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read the weights.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("weights", "seen"))
        prefix, support = found["seen"].tolist()
        seen = SeenFilter(prefix, support, None)
        return cls(parts, tuple(found["weights"].tolist()), seen, num_courses, [])


def mixtures(number: int) -> list[tuple[float, ...]]:
    """All weights in tenths of so many parts that add up to 1, the first part's largest first."""
    whole = range(_PER_WEIGHT, -1, -1)
    found = [tenths for tenths in product(whole, repeat=number) if sum(tenths) == _PER_WEIGHT]
    return [tuple(x / _PER_WEIGHT for x in tenths) for tenths in found]


def _mixed(weights: tuple[float, ...], each: list[Tensor]) -> Tensor:
    return torch.stack([w * p for w, p in zip(weights, each, strict=True)]).sum(0)
