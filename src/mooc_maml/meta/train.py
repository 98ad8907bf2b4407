"""Meta-training: sample, step, validate, keep the best, stop early."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mooc_maml.common.early_stopping import is_best_last, is_out_of_patience
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.inner import Weights
from mooc_maml.meta.model import adapted_scores
from mooc_maml.meta.optimiser import OuterOptimiser, copied
from mooc_maml.meta.recording import recorded
from mooc_maml.meta.supervised import supervised_gradient
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.query_ranks import ScoreFunction, own_groups, query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.runtime.hardware import dtype
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.runtime.tasks_at_once import TasksAtOnce
from mooc_maml.settings.params import Params

MODES = ("zero_shot", "few_shot")
EARLY_EVALUATION = 100  # meta-updates after which the commissioning document asks for one


@dataclass
class Progress:
    """All of a run that is not weights or optimiser: with them, the whole state.

    Attributes:
        iteration: meta-updates done.
        losses: query loss of every meta-update.
        validation: the evaluations, {"iteration", "zero_shot": metrics, "few_shot": metrics}.
    """

    iteration: int = 0
    losses: list[float] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)


class MetaTrainer:
    """A meta-training run that can be stopped and seen up between any two meta-updates.

    The meta-batch of an update is drawn from (seed, its number), so no sampler has a state. Of
    several processes each adapts its share of the tasks; the sums of their gradients, and so the
    weights, are the same in all.

    Args:
        start: the model to begin with (a warm start); None: random weights.

    Attributes:
        weights: all that is meta-learned, by name: the model's weights, and what the variant adds.
    """

    def __init__(
        self,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        process_group: ProcessGroup = ALONE,
        start: nn.Module | None = None,
    ) -> None:
        self.store, self.params, self.process_group = store, params, process_group
        self.backbone, self.variant = backbone_of(params), variant_of(params)
        self.seen = seen_filter(store, params)
        if start is None:
            drawn = torch_generator(params.seed, "meta-initial")
            start = self.backbone.build(store.num_courses, params, drawn)
        how = device, dtype(params.hardware)
        model = weights_of(start.to(*how))
        self.task_model = self.backbone.task_model(start, *how, self.seen)
        self.recording = self.task_model  # for meta-gradients
        if params.hardware.cuda_graphs and device.type == "cuda":
            self.recording = recorded(self.task_model, store, params, process_group)
        self.weights: Weights = model | self.variant.learned(model)
        self.best = copied(self.weights)
        self.optimiser = OuterOptimiser(self.weights, params)
        self.at_once = TasksAtOnce(params.hardware.tasks_at_once)
        self.progress = Progress()

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "made_as": self._made_as(),
            "weights": copied(self.weights),
            "best": self.best,
            "optimiser": self.optimiser.state(),
            "progress": vars(self.progress),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` was seen.

        Raises:
            UserError: it was seen with another backbone or variant.
        """
        if state["made_as"] != self._made_as():
            raise UserError(
                f"the saved state is of model.backbone and meta.variant {state['made_as']}, the "
                f"settings say {self._made_as()}; run with those, or delete the state"
            )
        for name, weight in self.weights.items():
            weight.copy_(state["weights"][name])
        self.best = state["best"]
        self.optimiser.restore(state["optimiser"])
        self.progress = Progress(**state["progress"])

    def _made_as(self) -> str:
        return f"{self.params.model.backbone} {self.params.meta.variant}"

    def is_finished(self) -> bool:
        """Whether the upper bound is reached, or validation has gone without a new best."""
        done = self.progress.iteration >= self.params.num_meta_iterations
        patience = self.params.early_stopping_patience
        return self._evaluated_now() and (done or is_out_of_patience(self._values(), patience))

    def is_evaluation_due(self) -> bool:
        """Whether the validation set is to be looked at before the next meta-update."""
        iteration, params = self.progress.iteration, self.params
        last = iteration >= params.num_meta_iterations
        due = last or iteration == EARLY_EVALUATION or iteration % params.eval_interval == 0
        return due and not self._evaluated_now()

    def _evaluated_now(self) -> bool:
        evaluations = self.progress.validation
        return bool(evaluations) and evaluations[-1]["iteration"] == self.progress.iteration

    def _values(self) -> list[float]:
        metric = self.params.evaluation.validation_metric
        return [evaluation["few_shot"][metric] for evaluation in self.progress.validation]

    def evaluate(self) -> dict[str, Any]:
        """Zero-shot and few-shot on the whole validation set; keep the weights if they are best."""
        found: dict[str, Any] = {"iteration": self.progress.iteration}
        for mode in MODES:
            score = self.scores(self.optimiser.kept, None if mode == "few_shot" else 0)
            found[mode] = summary(
                query_ranks(
                    self.seen.without(score),
                    self.store,
                    "validation",
                    tasks_at_once=self.at_once,
                    device=self.task_model.device,
                    process_group=self.process_group,
                )
            )
        self.progress.validation.append(found)
        if is_best_last(self._values()):
            self.best = copied(self.optimiser.kept)
        return found

    def scores(self, weights: Weights, steps: int | None = None) -> ScoreFunction:
        """A scorer of these meta-weights after so many steps; None: few-shot's; 0: zero-shot."""
        adapt = partial(self.variant.adapt, self.task_model, weights, steps=steps)
        return adapted_scores(self.task_model, adapt, self.variant.one_task_alone, told=steps != 0)

    def step(self) -> float:
        """One meta-update; gives the mean query loss after adaptation.

        Raises:
            UserError: loss or gradient is not finite, and nothing has been changed then; or the new
                weights are not, and the trainer is not to be used any more.
        """
        rng = generator(self.params.seed, "meta-batch", self.progress.iteration)
        tasks = sample_tasks(self.store, self.params.meta_batch_size, rng)
        loss, gradient = self._meta_gradient(tasks, self.process_group)
        norm = _norm(gradient)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(
                f"the query loss is {loss:g} and the meta-gradient's norm {norm:g}, "
                f"{self._culprits(tasks)}"
            )
        scale = min(1.0, self.params.max_grad_norm / norm) if norm else 1.0
        clipped = {name: x * scale for name, x in gradient.items()}
        self.optimiser.step(clipped, self.progress.iteration)
        finite = torch.stack([weight.isfinite().all() for weight in self.weights.values()])
        if not bool(finite.all()):  # one wait for a GPU, not one a weight
            raise self._not_finite("the new weights are too large for any number")
        self.progress.iteration += 1
        self.progress.losses.append(loss)
        return loss

    def _not_finite(self, found: str) -> UserError:
        return UserError(
            f"meta-update {self.progress.iteration + 1}: {found}; the state saved last is kept. "
            f"Lower inner_lr (now {self.params.inner_lr:g}) or outer_lr (now "
            f"{self.params.outer_lr:g})"
        )

    def _culprits(self, tasks: NDArray[np.int64]) -> str:
        """Which tasks are not finite, by adapting to each alone; the same in every process."""
        found = []
        for task in tasks:
            loss, gradient = self._meta_gradient(np.array([task]), ALONE)
            if not (math.isfinite(loss) and math.isfinite(_norm(gradient))):
                found.append(task)
        if not found:
            return "though no task is to blame alone"
        learner = self.store.episodes["train"][found[0], 0]
        return (
            f"because of {len(found)} of its {len(tasks)} tasks, the first of them training "
            f"episode {found[0]}, of learner {learner}"
        )

    def _meta_gradient(
        self, tasks: NDArray[np.int64], process_group: ProcessGroup
    ) -> tuple[float, Weights]:
        """Mean over the tasks of the query loss, and the gradient that an update follows down.

        The processes share the work. The second is that of the first and, if settings ask for it,
        of the loss without adaptation.
        """
        update, own = self.progress.iteration, self.params.meta
        if self.at_once.is_halved:  # no batch has the recorded shapes again; their memory is wanted
            self.recording = self.task_model
        task_model = self.recording
        if own.dropout:
            drawn = torch_generator(self.params.seed, "meta-dropout", update)
            task_model = self.backbone.thinned(task_model, own.dropout, self.weights, drawn)
        loss, gradient = shared_meta_gradient(
            partial(self.variant.meta_gradient, task_model, update=update),
            self.weights,
            self.store.support("train", tasks),
            self.store.query("train", tasks),
            process_group,
            1 if self.variant.one_task_alone else self.at_once,
        )
        if own.supervised:
            rng = generator(self.params.seed, "meta-supervised", update)
            number = self.params.meta_batch_size
            more = supervised_gradient(
                task_model, self.weights, self.store, number, rng, process_group
            )
            gradient = {name: x + own.supervised * more[name] for name, x in gradient.items()}
        return float(loss), gradient


def _norm(gradient: Weights) -> float:
    return float(torch.stack([g.norm() for g in gradient.values()]).norm())


def shared_meta_gradient(
    way: Callable[[Weights, Examples, Examples], tuple[Tensor, Weights]],
    weights: Weights,
    support: Examples,
    query: Examples,
    process_group: ProcessGroup,
    tasks_at_once: int | TasksAtOnce,
) -> tuple[Tensor, Weights]:
    """Mean over tasks of the query loss after adaptation, and its gradient.

    Each process adapts its share of the tasks, those of similar size together, at most
    `tasks_at_once` of them; all get the same result.

    Args:
        way: (weights, support, query) -> losses [tasks] and the gradient summed over tasks.

    Raises:
        UserError: another process is gone, or out of memory (see `TasksAtOnce`).
    """
    any_weight = next(iter(weights.values()))
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    loss = any_weight.new_zeros(())
    at_once = TasksAtOnce.of(tasks_at_once)
    for group in own_groups(any_weight.device, support, query, process_group, at_once.number):

        def part(start: int, end: int, own: list[int] = group) -> tuple[Tensor, Weights]:
            chosen = own[start:end]
            return way(weights, support.take(chosen), query.take(chosen))

        for losses, gradient in at_once.run(part, len(group)):
            loss += losses.sum()
            for name, g in gradient.items():
                total[name] += g
    loss, *sums = (x / support.num_tasks for x in process_group.sum(loss, *total.values()))
    return loss, dict(zip(total, sums, strict=True))


def meta_train(
    trainer: MetaTrainer, on_evaluation: Callable[[dict[str, Any]], None]
) -> Iterator[float]:
    """Run to the end; yields the loss after each meta-update, when the state is whole.

    Raises:
        UserError: not finite (see `MetaTrainer.step`), or out of memory.
    """
    try:
        while True:
            if trainer.is_evaluation_due():
                on_evaluation(trainer.evaluate())
            if trainer.is_finished():
                return
            yield trainer.step()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(_OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise UserError(_OUT_OF_MEMORY) from error
        raise


_OUT_OF_MEMORY = (
    "out of memory; lower hardware.tasks_at_once (the results stay the same, to rounding), "
    "or meta_batch_size (they change)"
)
