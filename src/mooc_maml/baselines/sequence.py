"""What the baselines that are a sequence model have in common."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from mooc_maml.baselines.base import NO_PARTS, Log, Parts, validator
from mooc_maml.baselines.sequence_training import (
    Batches,
    History,
    Plan,
    SequenceTraining,
    pair_scores,
)
from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.models.model_file import read_module, write_module
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.runtime.hardware import dtype
from mooc_maml.runtime.saved_state import SECONDS_BETWEEN_SAVES, SavedState
from mooc_maml.runtime.signals import Stop
from mooc_maml.settings.params import Params

Model = TypeVar("Model", bound=nn.Module)


class SequenceBaseline(Generic[Model]):
    """A trained recommender, applied to every learner as it is.

    A subclass says what it is called, which model it is, how it is built and how it is trained.

    Args:
        model: on the device that it is to run on.
        history: one entry an epoch, see `SequenceTraining`.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    ending: ClassVar[str] = ".pth"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = False
    law: ClassVar[Law | None] = "logits"
    kind: ClassVar[type[nn.Module]]
    separators: ClassVar[int] = 0  # what the model counts as courses and are none, after the others

    def __init__(self, model: Model, history: History) -> None:
        self.model, self.history = model, history

    @classmethod
    def build(cls, store: EpisodeStore, params: Params, parts: Parts = NO_PARTS) -> Model:
        """The model with its first weights, on the CPU."""
        raise NotImplementedError

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """How it is trained."""
        raise NotImplementedError

    @classmethod
    def batches(cls, store: EpisodeStore, params: Params) -> Batches:
        """What it is trained on: every training pair once an epoch."""
        return SessionBatches(store, cls.plan(params).settings.batch_size)

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Train with Adam; keep the epoch that is best by the validation metric (first of equals).

        Raises:
            UserError: the loss is no longer finite.
        """
        return cls._run(cls.training(store, params, device, parts), log)

    @classmethod
    def resume(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        saved: SavedState,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Train as `train` does, from the saved state on; Ctrl-C and SIGTERM save it and end.

        It is saved after each epoch and, where an epoch is long, at intervals within.

        Raises:
            UserError: the loss is no longer finite, or the saved states are damaged.
        """
        training, state = cls.training(store, params, device, parts), saved.load()
        if state is not None:
            training.restore(state)
            log(f"{training.plan.name}: going on after {training.done}")
        with Stop() as stop:
            return cls._run(training, log, _keeper(training, saved, stop))

    @classmethod
    def training(
        cls, store: EpisodeStore, params: Params, device: torch.device, parts: Parts = NO_PARTS
    ) -> SequenceTraining:
        """A run that has not begun."""
        model = cls.build(store, params, parts).to(device, dtype(params.hardware))
        found, validate = cls(model, []), validator(store, params, device)
        batches, plan = cls.batches(store, params), cls.plan(params)
        seen = seen_filter(store, params)
        return SequenceTraining(model, batches, plan, lambda: validate(found.scores), seen)

    @classmethod
    def _run(
        cls,
        training: SequenceTraining,
        log: Log,
        keep: Callable[[bool], object] = lambda is_due: None,
    ) -> Self:
        with training.followed():
            while not training.is_finished():
                line = training.train_epoch(lambda: keep(False))
                keep(True)
                log(line)
        model: Any = training.model
        model.load_state_dict(training.best)
        return cls(model, training.history)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every query pair: float [tasks, Q, C]."""
        return pair_scores(self.model, query)

    def write(self, path: Path) -> None:
        """Write weights and settings."""
        model: Any = self.model
        write_module(path, model)

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read weights and settings; the history stays in the results.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        model: Any = read_module(path, cls.kind, num_courses, cls.separators)
        return cls(model.to(device), [])


def _keeper(training: SequenceTraining, saved: SavedState, stop: Stop) -> Callable[[bool], None]:
    """Saves the state when it is due, has not been saved for long, or the run is to stop."""
    saved_at = time.monotonic()

    def keep(is_due: bool) -> None:
        nonlocal saved_at
        if stop or is_due or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
            saved.save(training.state())
            saved_at = time.monotonic()
        if stop:
            stop.end(f"{training.done} of {training.plan.name}")

    return keep
