"""A mixture of the other baselines whose weights are meta-learned, and adapted to each learner.

A logarithmic pool (Genest and Zidek 1986, "Combining probability distributions"): the score of a
course is the sum of w_e log p_e over the parts e, where w_e is linear in what is known of a pair
before its next course is: the logarithms of the prefix's length and of the number of support pairs
told. These coefficients are a learner's own: they begin at meta-learned values and take the inner
loop's gradient steps on the support pairs, with a meta-learned step size for each of them
(Meta-SGD, Li et al. 2017). Zero-shot is the same mixture at the start, told of no support pair. The
inner loop and the meta-gradient are those of `mooc_maml.meta`; only the model is another, of some
thirty numbers.

Its data are windows of the validation learners, as for the weights of the blend: on the training
learners its parts have been trained, and are better than they will be on anyone else.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Baseline, Log, Parts
from mooc_maml.baselines.registry import BASELINES
from mooc_maml.common.errors import UserError
from mooc_maml.common.progress import part, step
from mooc_maml.common.randomness import generator
from mooc_maml.composites.features import (
    CONTEXT,
    Features,
    features_of,
    first,
    part_scores,
    support_features,
)
from mooc_maml.composites.pooling import PoolTaskModel, pooled
from mooc_maml.composites.windows import windows
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.meta.inner import Weights, adapt
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.metrics import METRICS
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.settings.composites.mixture import MixtureParams
from mooc_maml.settings.params import Params

Metrics = Mapping[str, float]
NO_METRICS: Metrics = MappingProxyType({})
_FIRST_RATE = 0.01  # step sizes before they are learned
_LEFT_OUT = ("left_out_validation", "left_out_zero_shot")


class Mixture:
    """The parts' logarithmic pool with weights of each learner's own.

    Args:
        parts: the baselines that are mixed, by name.
        seen: courses that are left out.
        weights: "weight", float [3, E], a row for each entry of `CONTEXT`, and the logarithms of
            their step sizes, "log_rate", the same shape; E is the number of parts and one for their
            mean.
        steps: gradient steps on the support pairs; 0: the weights stay as they were learned.
        num_courses: C.
        history: one entry: weights by part, validation metrics of learners that were left out.
        left_out_validation: see `FittedOnValidation`; empty if not measured.
        left_out_zero_shot: the same before adaptation, told of no support pair.
    """

    name: ClassVar[str] = "mixture"
    label: ClassVar[str] = "Mixture few-shot"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = MixtureParams.made_of
    reads_support: ClassVar[bool] = True
    law: ClassVar[Law | None] = "logits"

    def __init__(
        self,
        parts: Parts,
        seen: SeenFilter,
        weights: Weights,
        steps: int,
        num_courses: int,
        history: list[dict[str, Any]],
        left_out_validation: Metrics = NO_METRICS,
        left_out_zero_shot: Metrics = NO_METRICS,
    ) -> None:
        self.parts, self.seen, self.weights = dict(parts), seen, weights
        self.left_out_validation: Metrics = dict(left_out_validation)
        self.left_out_zero_shot: Metrics = dict(left_out_zero_shot)
        self.steps, self.num_courses, self.history = steps, num_courses, history
        self.learner = PoolTaskModel()

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Meta-learn on the validation learners; measure on halves of them, each left out once.

        Raises:
            UserError: there are no two validation learners to tell halves of.
        """
        own, metric = store.episodes["validation"][:, 0], params.evaluation.validation_metric
        if len(own) < 2:
            raise UserError(
                f"composites.models: {cls.name} is fitted on validation learners and needs 2 of "
                f"them with K + Q pairs, found {len(own)}; raise episodes.validation_fraction, use "
                "more data, or leave pool and mixture out (composites.models: [])"
            )
        with part(cls.name, 3 * params.composites.mixture.updates, "updates"):
            left_out = cls._left_out(store, params, device, parts)
            found = cls._fitted(store, params, device, parts, own)
        metrics = found.left_out_validation = left_out[0]
        found.left_out_zero_shot = left_out[1] if found.steps else {}
        found.history = [{"weights": found.in_words(), "left_out_validation": metrics}]
        log(
            f"{cls.name} of {', '.join(found.parts)}: "
            f"left-out validation {metric} {metrics[metric]:.4f}"
        )
        return found

    @classmethod
    def _fitted(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        parts: Parts,
        learners: NDArray[np.int64],
    ) -> Self:
        """The mixture fitted on all windows of some learners."""
        mixed, seen = _mixed(parts), seen_filter(store, params)
        start, steps = _start(len(mixed), device), cls.steps_of(params)
        found = cls(mixed, seen, start, steps, store.num_courses, [])
        found._learn(windows(store, learners), params, device)
        return found

    @classmethod
    def _left_out(
        cls, store: EpisodeStore, params: Params, device: torch.device, parts: Parts
    ) -> tuple[Metrics, Metrics]:
        """Metrics of the validation learners, each half ranked by a fit on the other.

        Returns:
            Those of the mixture, and those of it without support pairs.
        """
        episodes, seen = store.episodes["validation"], seen_filter(store, params)
        order = generator(params.seed, "mixture-halves").permutation(len(episodes))
        ranks = np.zeros((2, len(episodes), store.query_size), dtype=np.int64)
        at_once = params.hardware.tasks_at_once
        for half in (order[::2], order[1::2]):
            others = np.setdiff1d(order, half)
            fit = cls._fitted(store, params, device, parts, episodes[others, 0])
            view = replace(store, episodes={"validation": episodes[half]})
            for own, score in zip(ranks, (fit.scores, fit.zero_shot_scores), strict=True):
                own[half] = query_ranks(
                    seen.without(score), view, "validation", tasks_at_once=at_once, device=device
                )
        return summary(ranks[0]), summary(ranks[1])

    @classmethod
    def steps_of(cls, params: Params) -> int:
        """Gradient steps of a learner's weights, in training and in testing."""
        return params.composites.mixture.steps

    def _learn(self, store: EpisodeStore, params: Params, device: torch.device) -> None:
        """Adam on the loss with and without adaptation, its rate falling to 0 in a line."""
        own = params.composites.mixture
        optimiser = torch.optim.Adam(self.weights.values(), lr=own.learning_rate)
        learners = min(own.learners, len(store.task_ranges.start))
        for update in range(own.updates):
            for group in optimiser.param_groups:
                group["lr"] = own.learning_rate * (1 - update / own.updates)
            tasks = sample_tasks(store, learners, generator(params.seed, "mixture", update))
            support = store.support("train", tasks).to(device)
            query = store.query("train", tasks).to(device)
            for name, gradient in self.gradient(support, query).items():
                self.weights[name].grad = gradient / learners
            if not all(bool(weight.grad.isfinite().all()) for weight in self.weights.values()):  # type: ignore[union-attr]
                raise UserError(
                    f"the gradient of {self.name} is not finite in update {update + 1}; "
                    "lower composites.mixture.learning_rate"
                )
            optimiser.step()
            step()

    def gradient(self, support: Examples, query: Examples) -> Weights:
        """Of the query losses after adaptation plus those before it, summed over tasks."""
        of_parts, nothing = part_scores(self.parts, support, query), first(support, 0)
        told = features_of(of_parts, self.seen, support, query)
        of_parts = part_scores(self.parts, nothing, query, of_parts)
        without = self._plain_gradient(features_of(of_parts, self.seen, nothing, query))
        if not self.steps:
            plain = self._plain_gradient(told)
            return {"weight": plain + without, "log_rate": torch.zeros_like(plain)}
        few = meta_gradient(
            self.learner,
            self.start,
            support_features(self.parts, self.seen, support),
            told,
            steps=self.steps,
            inner_lr=[self.rates],
            second_order=True,
        )
        by_rate = torch.stack([x["weight"] for x in few.rates]).sum(0)
        return {
            "weight": few.weights["weight"] + without,
            "log_rate": self.rates["weight"] * by_rate,  # d/d log r = r d/d r
        }

    def _plain_gradient(self, pairs: Features) -> Tensor:
        """Of the losses at the start, summed over tasks."""
        start = self.learner.initial(self.start, pairs)
        return self.learner.gradient(start, pairs)[1].sum_over_tasks()["weight"]

    @property
    def start(self) -> Weights:
        """A learner's weights before the first step."""
        return {"weight": self.weights["weight"]}

    @property
    def rates(self) -> Weights:
        """Step sizes, under the same name."""
        return {"weight": self.weights["log_rate"].exp()}

    def adapted(self, support: Examples) -> Tensor:
        """Every task's own weights: float [tasks, 3, E]; without support pairs the start."""
        if not (self.steps and support.label.shape[1]):
            return self.weights["weight"].expand(support.num_tasks, -1, -1)
        features = support_features(self.parts, self.seen, support)
        fast, _ = adapt(self.learner, self.start, features, self.steps, [self.rates], keep=False)
        own: Tensor = fast.values["weight"]
        return own

    @torch.no_grad()
    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        told = support if self.reads_support else first(support, 0)
        features = features_of(part_scores(self.parts, told, query), self.seen, told, query)
        return pooled(self.adapted(told), features)

    def zero_shot_scores(self, support: Examples, query: Examples) -> Tensor:
        """The same without a look at the support pairs."""
        return self.scores(first(support, 0), query)

    def in_words(self) -> dict[str, dict[str, float]]:
        """Weights and, if steps are seen, step sizes by part, as plain values."""
        names, found = [*self.parts, "mean"], {}
        rates = [("rate.", self.rates["weight"])] if self.steps else []
        for prefix, x in (("", self.weights["weight"]), *rates):
            for key, row in zip(CONTEXT, x.tolist(), strict=True):
                found[prefix + key] = dict(zip(names, row, strict=True))
        return found

    def write(self, path: Path) -> None:
        """Write weights, steps and what is left out; the parts have files of their own."""
        arrays = {name: x.cpu().numpy() for name, x in self.weights.items()}
        content: dict[str, NDArray[Any]] = {
            "names": np.array(list(self.parts)),
            "steps": np.array(self.steps),
            "seen": np.array([self.seen.prefix, self.seen.support]),
            **{name: _values(getattr(self, name)) for name in _LEFT_OUT},
        }
        write_arrays(path, self.num_courses, **arrays, **content)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing, is damaged, ranks another number of courses, or mixes
                other baselines than there are.
        """
        keys = ["weight", "log_rate"]
        found = read_arrays(path, num_courses, [*keys, "names", "steps", "seen", *_LEFT_OUT])
        mixed = _mixed(parts)
        if found["names"].tolist() != list(mixed):
            raise UserError(
                f"{path}: mixes {', '.join(found['names'].tolist())}, expected "
                f"{', '.join(mixed)}; the models in params.yaml were changed, run `dvc repro`"
            )
        prefix, support = found["seen"].tolist()
        weights = {key: torch.from_numpy(found[key]).to(device) for key in keys}
        seen = SeenFilter(prefix, support, None)
        left_out = [dict(zip(METRICS, found[name].tolist(), strict=False)) for name in _LEFT_OUT]
        return cls(mixed, seen, weights, int(found["steps"]), num_courses, [], *left_out)


def _mixed(parts: Parts) -> dict[str, Baseline]:
    """Those that are mixed: all baselines but chance, which has nothing to say of a learner."""
    return {name: parts[name] for name in BASELINES if name in parts and name != "random"}


def _values(metrics: Metrics) -> NDArray[np.float64]:
    """In the order of `METRICS`: float64 [metrics], [0] if there are none."""
    return np.array([metrics[name] for name in METRICS if name in metrics])


def _start(parts: int, device: torch.device) -> Weights:
    """The mean of the parts, as it is."""
    weight = torch.zeros(len(CONTEXT), parts + 1, device=device)
    weight[0, -1] = 1.0
    return {"weight": weight, "log_rate": torch.full_like(weight, float(np.log(_FIRST_RATE)))}
