"""One way to train a plain sequence model: all pairs of all training learners, with Adam."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.early_stopping import is_best_last, is_out_of_patience
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.errors import UserError
from mooc_maml.examples import Examples
from mooc_maml.randomness import generator, torch_generator

Metrics = dict[str, float]
History = list[dict[str, Any]]


class TrainingSettings(Protocol):
    """Settings of one model's training; several sections of params.yaml have them."""

    @property
    def epochs(self) -> int:
        """Passes over all training pairs, at most."""

    @property
    def batch_size(self) -> int:
        """Pairs in one update."""

    @property
    def learning_rate(self) -> float:
        """Adam's step size."""


class Plan(NamedTuple):
    """How one model is trained.

    Attributes:
        name: the baseline, in lines of progress and as the purpose of its random draws.
        section: where in params.yaml its settings stand, for advice.
        settings: those settings.
        metric: name of the validation metric that chooses the epoch.
        patience: epochs without a new best before stopping; 0: never stop early.
        seed: root of the random draws.
    """

    name: str
    section: str
    settings: TrainingSettings
    metric: str
    patience: int
    seed: int


class SequenceTraining:
    """A training run that can be stopped and taken up between any two epochs.

    What an epoch draws follows from (seed, its number), so no generator has a state.

    Args:
        model: `(courses, row, position, dropout generator) -> scores [pairs, C]`; trained in place.
        store: its training learners are trained on.
        plan: how.
        validate: metrics of the model as it is now.
    """

    def __init__(
        self,
        model: nn.Module,
        store: EpisodeStore,
        plan: Plan,
        validate: Callable[[], Metrics],
    ) -> None:
        self.model, self.plan, self.validate = model, plan, validate
        self.optimiser = torch.optim.Adam(model.parameters(), lr=plan.settings.learning_rate)
        self.batches = SessionBatches(store, plan.settings.batch_size)
        self.history: History = []
        self.best = self._copy_of_weights()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def is_finished(self) -> bool:
        """Whether all epochs are done, or validation has gone without a new best."""
        done = self.epoch >= self.plan.settings.epochs
        return done or is_out_of_patience(self._values(), self.plan.patience)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "weights": self.model.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` was taken."""
        self.model.load_state_dict(state["weights"])
        self.best, self.history = state["best"], state["history"]
        self.optimiser.load_state_dict(state["optimiser"])

    def train_epoch(self) -> str:
        """One more epoch, its weights kept if they are best by validation; gives a line about it.

        Raises:
            UserError: the loss is no longer finite.
        """
        started, epoch, plan = time.perf_counter(), self.epoch + 1, self.plan
        loss = _train_epoch(self.model, self.optimiser, self.batches, plan, epoch)
        entry = {"epoch": epoch, "train_loss": loss, "validation": self.validate()}
        self.history.append(entry)
        values = self._values()
        if is_best_last(values):
            self.best = self._copy_of_weights()
        return (
            f"{plan.name}: epoch {epoch}/{plan.settings.epochs}, train loss {loss:.4f}, validation "
            f"{plan.metric} {values[-1]:.4f}, {time.perf_counter() - started:.1f} s"
        )

    def _values(self) -> list[float]:
        return [entry["validation"][self.plan.metric] for entry in self.history]

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: weight.clone() for name, weight in self.model.state_dict().items()}


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: SessionBatches,
    plan: Plan,
    epoch: int,
) -> float:
    """One pass over all training pairs; the mean cross-entropy of the pairs as they were met."""
    device = next(model.parameters()).device
    dropout = torch_generator(plan.seed, f"baseline-{plan.name}-dropout", epoch)
    total, pairs = 0.0, 0
    for examples in batches.examples(generator(plan.seed, f"baseline-{plan.name}", epoch)):
        batch = examples.to(device)
        scores = model(batch.courses[0], batch.row[0], batch.position[0], dropout)
        loss = functional.cross_entropy(scores, batch.label[0] - 1)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        total, pairs = total + loss.item() * len(scores), pairs + len(scores)
        if not math.isfinite(total):
            raise UserError(
                f"the loss of baseline {plan.name} is {loss.item()} in epoch {epoch}; "
                f"lower {plan.section}.learning_rate"
            )
    return total / pairs


@torch.no_grad()
def pair_scores(model: nn.Module, examples: Examples) -> Tensor:
    """Scores of every pair of every task, no gradients kept: float [tasks, pairs, C].

    Args:
        model: see `SequenceTraining`; it is not told which rows belong to one task.
        examples: on the device of the model.
    """
    tasks, rows, time = examples.courses.shape
    first = torch.arange(tasks, device=examples.row.device)[:, None] * rows  # row of each task
    row, position = (examples.row + first).flatten(), examples.position.flatten()
    scores: Tensor = model(examples.courses.reshape(tasks * rows, time), row, position)
    return scores.view(*examples.label.shape, -1)
