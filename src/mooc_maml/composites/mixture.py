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

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Baseline, Log, Parts
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.common.ranges import ranges
from mooc_maml.composites.evidence import (
    CONTEXT,
    Evidence,
    evidence_of,
    first,
    said_of,
    support_evidence,
)
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.meta.dense import DenseLearner
from mooc_maml.meta.inner import Weights, adapt
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.settings.baselines import MIXED
from mooc_maml.settings.params import Params

_FIRST_RATE = 0.01  # step sizes before they are learned
_OUT = -1e9  # score of a course that the loss leaves out


class Mixture:
    """The parts' logarithmic pool with weights of each learner's own.

    Args:
        parts: the baselines that are mixed, by name.
        taken: courses that are left out.
        weights: "weight", float [3, E], a row for each entry of `CONTEXT`, and the logarithms of
            their step sizes, "log_rate", the same shape; E is the number of parts and one for their
            mean.
        steps: gradient steps on the support pairs; 0: the weights stay as they were learned.
        num_courses: C.
        history: one entry: weights by part, validation metrics of learners that were left out.
    """

    name: ClassVar[str] = "mixture"
    reads_support: ClassVar[bool] = True

    def __init__(
        self,
        parts: Parts,
        taken: SeenFilter,
        weights: Weights,
        steps: int,
        num_courses: int,
        history: list[dict[str, Any]],
    ) -> None:
        self.parts, self.taken, self.weights = dict(parts), taken, weights
        self.steps, self.num_courses, self.history = steps, num_courses, history
        self.learner = DenseLearner(mixture_loss)

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Meta-learn on the validation learners; measure on halves of them, each left out once."""
        mixed = _mixed(parts)
        taken, steps = seen_filter(store, params), cls.steps_of(params)
        own = store.episodes["validation"][:, 0]
        order = generator(params.seed, "mixture-halves").permutation(len(own))
        ranks = np.zeros((len(own), store.query_size), dtype=np.int64)
        for half in (order[::2], order[1::2]):
            others = np.setdiff1d(order, half)
            found = cls(mixed, taken, _start(len(mixed), device), steps, store.num_courses, [])
            found._learn(windows(store, own[others]), params, device)
            view = replace(store, episodes={"validation": store.episodes["validation"][half]})
            score, at_once = taken.without(found.scores), params.hardware.tasks_at_once
            ranks[half] = query_ranks(
                score, view, "validation", tasks_at_once=at_once, device=device
            )
        found = cls(mixed, taken, _start(len(mixed), device), steps, store.num_courses, [])
        found._learn(windows(store, own), params, device)
        metrics, metric = summary(ranks), params.evaluation.validation_metric
        found.history = [{"weights": found.in_words(), "left_out_validation": metrics}]
        log(f"{cls.name} of {', '.join(mixed)}: left-out validation {metric} {metrics[metric]:.4f}")
        return found

    @classmethod
    def steps_of(cls, params: Params) -> int:
        """Gradient steps of a learner's weights, in training and in testing."""
        return params.baselines.mixture.steps

    def _learn(self, store: EpisodeStore, params: Params, device: torch.device) -> None:
        """Adam on the loss with and without adaptation, its rate falling to 0 in a line."""
        own = params.baselines.mixture
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
                    f"the gradient of baseline {self.name} is not finite in update {update + 1}; "
                    "lower baselines.mixture.learning_rate"
                )
            optimiser.step()

    def gradient(self, support: Examples, query: Examples) -> Weights:
        """Of the query losses after adaptation plus those before it, summed over tasks."""
        said, nothing = said_of(self.parts, support, query), first(support, 0)
        told = evidence_of(said, self.taken, support, query)
        said = said_of(self.parts, nothing, query, said)
        without = self._plain_gradient(evidence_of(said, self.taken, nothing, query))
        if not self.steps:
            plain = self._plain_gradient(told)
            return {"weight": plain + without, "log_rate": torch.zeros_like(plain)}
        few = meta_gradient(
            self.learner,
            self.start,
            support_evidence(self.parts, self.taken, support),
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

    def _plain_gradient(self, pairs: Evidence) -> Tensor:
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
        seen = support_evidence(self.parts, self.taken, support)
        fast, _ = adapt(self.learner, self.start, seen, self.steps, [self.rates])
        own: Tensor = fast.values["weight"]
        return own

    @torch.no_grad()
    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        told = support if self.reads_support else first(support, 0)
        seen = evidence_of(said_of(self.parts, told, query), self.taken, told, query)
        return pooled(self.adapted(told), seen)

    def in_words(self) -> dict[str, dict[str, float]]:
        """Weights and, if steps are taken, step sizes by part, as plain values."""
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
            "taken": np.array([self.taken.prefix, self.taken.support]),
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
        found = read_arrays(path, num_courses, [*keys, "names", "steps", "taken"])
        mixed = _mixed(parts)
        if found["names"].tolist() != list(mixed):
            raise UserError(
                f"{path}: mixes {', '.join(found['names'].tolist())}, expected "
                f"{', '.join(mixed)}; baselines.models was changed, run `dvc repro`"
            )
        prefix, support = found["taken"].tolist()
        weights = {key: torch.from_numpy(found[key]).to(device) for key in keys}
        taken = SeenFilter(prefix, support, None)
        return cls(mixed, taken, weights, int(found["steps"]), num_courses, [])


class MixtureZeroShot(Mixture):
    """The mixture before adaptation, told nothing of the support pairs."""

    reads_support = False

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Nothing is left to learn: the weights are the mixture's."""
        whole = parts["mixture"]
        assert isinstance(whole, Mixture)
        return cls(whole.parts, whole.taken, whole.weights, 0, whole.num_courses, [])


def mixture_loss(weights: Weights, pairs: Any) -> Tensor:
    """Mean cross-entropy over the pairs of one task.

    Args:
        weights: "weight", float [3, E].
        pairs: `Evidence` of one task, without the leading axis.
    """
    log_p = pooled(weights["weight"], pairs)
    log_p = log_p.masked_fill(pairs[2], _OUT).log_softmax(-1)
    loss: Tensor = -log_p.gather(-1, pairs[3][..., None]).mean()
    return loss


def pooled(weight: Tensor, pairs: Any) -> Tensor:
    """Scores [..., pairs, C] from weights [..., 3, E] and evidence with the same leading axes."""
    log_p, context = pairs[0], pairs[1]
    scores: Tensor = (log_p @ (context @ weight)[..., None]).squeeze(-1)
    return scores


def windows(store: EpisodeStore, learners: NDArray[np.int64]) -> EpisodeStore:
    """The same pairs with every window of K + Q of these learners as a training episode."""
    start, end = store.learner_start[learners], store.learner_start[learners + 1]
    number = end - start - (store.support_size + store.query_size) + 1
    opening = ranges(start, number)
    before = store.pair_time[opening + store.support_size - 1]
    strict = before < store.pair_time[opening + store.support_size]
    found = np.stack([np.repeat(learners, number), opening], axis=1)[strict]
    return replace(store, episodes={**store.episodes, "train": found})


def _mixed(parts: Parts) -> dict[str, Baseline]:
    return {name: parts[name] for name in MIXED if name in parts}


def _start(parts: int, device: torch.device) -> Weights:
    """The mean of the parts, as it is."""
    weight = torch.zeros(len(CONTEXT), parts + 1, device=device)
    weight[0, -1] = 1.0
    return {"weight": weight, "log_rate": torch.full_like(weight, float(np.log(_FIRST_RATE)))}
