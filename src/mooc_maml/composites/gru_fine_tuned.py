"""The plain GRU after gradient steps on the support pairs: adaptation without meta-learning."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts, validator
from mooc_maml.baselines.gru import gru_of
from mooc_maml.baselines.sequence_training import pair_scores
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.gru.task_model import GRUFastWeights, GRUTaskModel
from mooc_maml.meta.inner import adapt
from mooc_maml.meta.model import adapted_scores
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.settings.composites.gru_fine_tuned import FineTunedGRUParams
from mooc_maml.settings.params import Params


class FineTunedGRU:
    """Adapts the weights of the GRU baseline with the inner loop of MAML.

    Args:
        model: the GRU baseline's.
        seen: courses left out of the loss that it adapts on.
        rate: step size.
        steps: gradient steps.
        history: one entry a setting tried: rate, steps, validation.
    """

    name: ClassVar[str] = "gru_fine_tuned"
    label: ClassVar[str] = "GRU, fine-tuned"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = FineTunedGRUParams.made_of
    reads_support: ClassVar[bool] = True

    def __init__(
        self,
        model: GRURecommender,
        seen: SeenFilter,
        rate: float,
        steps: int,
        history: list[dict[str, Any]],
    ) -> None:
        self.seen, self.rate, self.steps, self.history = seen, rate, steps, history
        self.num_courses = int(model.settings["num_courses"])
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        learner = GRUTaskModel(model.head.weight.device, model.head.weight.dtype, seen)
        self.model = model

        def adapted(support: Examples) -> GRUFastWeights:
            fast: GRUFastWeights
            fast, _ = adapt(learner, weights, learner.prepare(support), steps, rate)
            return fast

        self._score = adapted_scores(learner, adapted)

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Choose rate and steps by the validation metric (the first of equals)."""
        model, metric = gru_of(parts), params.evaluation.validation_metric
        validate, own = validator(store, params, device), params.composites.gru_fine_tuned
        seen, history = seen_filter(store, params), list[dict[str, Any]]()
        for rate in own.rates:
            for steps in own.steps:
                found = validate(cls(model, seen, rate, steps, []).scores)
                history.append({"rate": rate, "steps": steps, "validation": found})
                log(f"gru_fine_tuned: rate {rate:g}, steps {steps}, {metric} {found[metric]:.4f}")
        best = max(history, key=lambda entry: entry["validation"][metric])
        return cls(model, seen, best["rate"], best["steps"], history)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]; without support pairs the GRU's."""
        if not support.label.shape[1]:
            return pair_scores(self.model, query)
        return self._score(support, query).detach()

    def write(self, path: Path) -> None:
        """Write rate, steps and what is left out; the weights are those of the GRU baseline."""
        rate, steps = np.array(self.rate), np.array(self.steps)
        seen = np.array([self.seen.prefix, self.seen.support])
        write_arrays(path, self.num_courses, rate=rate, steps=steps, seen=seen)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("rate", "steps", "seen"))
        prefix, support = found["seen"].tolist()
        seen = SeenFilter(prefix, support, None)
        return cls(gru_of(parts), seen, float(found["rate"]), int(found["steps"]), [])
