"""The plain GRU after gradient steps on the support pairs: adaptation without meta-learning."""

from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts, validator
from mooc_maml.baselines.gru import gru_of
from mooc_maml.baselines.sequence_training import pair_scores
from mooc_maml.common.progress import part, step
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.shown_steps import adapted_on
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.gru.fast_weights import GRUFastWeights
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import Rates, adapt
from mooc_maml.meta.model import adapted_scores
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.settings.composites.gru_fine_tuned import FineTunedGRUParams
from mooc_maml.settings.params import Params


class Steps(NamedTuple):
    """How it adapts: step size of the weights, of the output bias, number, and on what."""

    rate: float
    bias_rate: float
    steps: int
    adapt_on: str


class FineTunedGRU:
    """Adapts the weights of the GRU baseline with the inner loop of MAML.

    The control for meta-learning: what few-shot has beyond it, meta-training has given; what it has
    beyond the GRU, adaptation.

    Args:
        model: the GRU baseline's.
        seen: courses left out of the loss that it adapts on.
        how: its steps.
        history: one entry a setting tried: the steps, and validation.
    """

    name: ClassVar[str] = "gru_fine_tuned"
    label: ClassVar[str] = "GRU, fine-tuned"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = FineTunedGRUParams.made_of
    reads_support: ClassVar[bool] = True
    law: ClassVar[Law | None] = "logits"

    def __init__(
        self, model: GRURecommender, seen: SeenFilter, how: Steps, history: list[dict[str, Any]]
    ) -> None:
        self.seen, self.how, self.history = seen, how, history
        self.num_courses = int(model.settings["num_courses"])
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        learner = GRUTaskModel(model.head.weight.device, model.head.weight.dtype, seen)
        self.model = model
        rates: Rates = {
            name: x.new_tensor(how.bias_rate if name == "head.bias" else how.rate)
            for name, x in weights.items()
        }

        def adapted(support: Examples) -> GRUFastWeights:
            fast: GRUFastWeights
            prepared = learner.prepare(adapted_on(support, how.adapt_on))
            fast, _ = adapt(learner, weights, prepared, how.steps, [rates], keep=False)
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
        """Choose the steps by the validation metric (the first of equals)."""
        model, metric = gru_of(parts), params.evaluation.validation_metric
        validate, own = validator(store, params, device), params.composites.gru_fine_tuned
        seen, history = seen_filter(store, params), list[dict[str, Any]]()
        every = [Steps(*x) for x in product(own.rates, own.bias_rates, own.steps, own.adapt_on)]
        with part(cls.name, len(every), "settings"):
            for how in every:
                found = validate(cls(model, seen, how, []).scores)
                history.append({**how._asdict(), "validation": found})
                log(
                    f"gru_fine_tuned: rate {how.rate:g}, of the output bias {how.bias_rate:g}, "
                    f"steps {how.steps}, on {how.adapt_on}: {metric} {found[metric]:.4f}"
                )
                step()
        best = max(history, key=lambda entry: entry["validation"][metric])
        return cls(model, seen, Steps(*(best[name] for name in Steps._fields)), history)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]; without support pairs the GRU's."""
        if not support.label.shape[1]:
            return pair_scores(self.model, query)
        return self._score(support, query).detach()

    def write(self, path: Path) -> None:
        """Write its steps and what is left out; the weights are those of the GRU baseline."""
        own = {name: np.array(value) for name, value in self.how._asdict().items()}
        seen = np.array([self.seen.prefix, self.seen.support])
        write_arrays(path, self.num_courses, **own, seen=seen)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, (*Steps._fields, "seen"))
        prefix, support = found["seen"].tolist()
        how = Steps(*(found[name].item() for name in Steps._fields))
        return cls(gru_of(parts), SeenFilter(prefix, support, None), how, [])
