"""One way to train a plain sequence model: all pairs of all training learners, with Adam."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mooc_maml.common.early_stopping import is_best_last, is_out_of_patience
from mooc_maml.common.errors import UserError
from mooc_maml.common.progress import part, step
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter

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


class Batches(Protocol):
    """What an epoch is made of."""

    def examples(self, rng: np.random.Generator, start: int = 0) -> Iterator[Examples]:
        """Its updates from number `start` on, each a single task [1, pairs]; `rng` draws them."""

    def __len__(self) -> int:
        """Pairs in all of them."""


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


@dataclass
class Within:
    """How far the epoch under way has come.

    Attributes:
        updates: updates done.
        loss: cross-entropy summed over their pairs.
        pairs: how many those were.
        dropout: state of the generator of dropout; None: as the epoch begins.
    """

    updates: int = 0
    loss: float = 0.0
    pairs: int = 0
    dropout: Tensor | None = None


class SequenceTraining:
    """A training run that can be stopped and seen up between any two updates.

    What an epoch draws follows from (seed, its number), and its order needs no state.

    Args:
        model: `(courses, row, position, dropout generator) -> scores [pairs, C]`; trained in place.
        batches: what it is trained on.
        plan: how.
        validate: metrics of the model as it is now.
        seen: which courses are left out of the ranking; those of the prefix are left out of the
            loss as well.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        plan: Plan,
        validate: Callable[[], Metrics],
        seen: SeenFilter = NONE_LEFT_OUT,
    ) -> None:
        self.model, self.plan, self.validate, self.seen = model, plan, validate, seen
        self.optimiser = torch.optim.Adam(model.parameters(), lr=plan.settings.learning_rate)
        self.batches = batches
        self.history: History = []
        self.within = Within()
        self.best = self._copy_of_weights()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def done(self) -> str:
        """How far the run has come, in words."""
        updates = self.within.updates
        return f"epoch {self.epoch}" + (f", update {updates} of the next" if updates else "")

    def is_finished(self) -> bool:
        """Whether all epochs are done, or validation has gone without a new best."""
        done = self.epoch >= self.plan.settings.epochs
        return done or is_out_of_patience(self._values(), self.plan.patience)

    def followed(self) -> AbstractContextManager[None]:
        """Shows how far it is, in pairs, as long as the statement lasts."""
        an_epoch, plan = len(self.batches), self.plan
        done, total = self.epoch * an_epoch + self.within.pairs, plan.settings.epochs * an_epoch
        return part(plan.name, total, "pairs", done=done, at_most=plan.patience > 0)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on.

        Raises:
            UserError: the weights are no longer finite.
        """
        self._check_finite()
        return {
            "weights": self.model.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
            "within": vars(self.within),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` was seen."""
        self.model.load_state_dict(state["weights"])
        self.best, self.history = state["best"], state["history"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.within = Within(**state["within"])

    def train_epoch(self, after_update: Callable[[], object] = lambda: None) -> str:
        """To the end of an epoch, its weights kept if best by validation; gives a line about it.

        Args:
            after_update: called after each update, when the state is whole.

        Raises:
            UserError: the loss or the weights are no longer finite.
        """
        started, epoch, plan = time.perf_counter(), self.epoch + 1, self.plan
        self._train_on_all_pairs(epoch, after_update)
        self._check_finite()
        loss = self.within.loss / self.within.pairs
        self.within = Within()
        entry = {"epoch": epoch, "train_loss": loss, "validation": self.validate()}
        self.history.append(entry)
        values = self._values()
        if is_best_last(values):
            self.best = self._copy_of_weights()
        return (
            f"{plan.name}: epoch {epoch}/{plan.settings.epochs}, train loss {loss:.4f}, validation "
            f"{plan.metric} {values[-1]:.4f}, {time.perf_counter() - started:.1f} s"
        )

    def _train_on_all_pairs(self, epoch: int, after_update: Callable[[], object]) -> None:
        """The updates of an epoch that are not done yet."""
        plan, within = self.plan, self.within
        device = next(self.model.parameters()).device
        dropout = torch_generator(plan.seed, f"baseline-{plan.name}-dropout", epoch)
        if within.dropout is not None:
            dropout.set_state(within.dropout)
        order = generator(plan.seed, f"baseline-{plan.name}", epoch)
        for examples in self.batches.examples(order, within.updates):
            batch = examples.to(device)
            scores = self.model(batch.courses[0], batch.row[0], batch.position[0], dropout)
            scores = self.seen.out_of_loss(scores, batch)
            loss = functional.cross_entropy(scores, batch.label[0] - 1)
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            if not math.isfinite(loss.item()):
                raise self._not_finite("loss", f"{loss.item()}", epoch)
            self.optimiser.step()
            within.loss += loss.item() * len(scores)
            within.pairs += len(scores)
            within.updates += 1
            within.dropout = dropout.get_state()
            step(len(scores))
            after_update()

    def _check_finite(self) -> None:
        for name, weight in self.model.named_parameters():
            if not weight.isfinite().all():
                raise self._not_finite("weights", f"not finite ({name})", self.epoch + 1)

    def _not_finite(self, what: str, found: str, epoch: int) -> UserError:
        verb = "are" if what == "weights" else "is"
        return UserError(
            f"the {what} of baseline {self.plan.name} {verb} {found} in epoch {epoch}; "
            f"lower {self.plan.section}.learning_rate"
        )

    def _values(self) -> list[float]:
        return [entry["validation"][self.plan.metric] for entry in self.history]

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: weight.clone() for name, weight in self.model.state_dict().items()}


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
