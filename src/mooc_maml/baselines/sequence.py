"""What the baselines that are a sequence model have in common."""

from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from mooc_maml.baselines.base import NO_PARTS, Log, Parts, validator
from mooc_maml.baselines.sequence_training import History, Plan, SequenceTraining, pair_scores
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.hardware import dtype
from mooc_maml.models.model_file import read_module, write_module
from mooc_maml.params import Params
from mooc_maml.saved_state import SavedState

Model = TypeVar("Model", bound=nn.Module)


class SequenceBaseline(Generic[Model]):
    """A trained recommender, applied to every learner as it is.

    A subclass says which model it is, how it is built and how it is trained.

    Args:
        model: on the device that it is to run on.
        history: one entry an epoch, see `SequenceTraining`.
    """

    kind: ClassVar[type[nn.Module]]

    def __init__(self, model: Model, history: History) -> None:
        self.model, self.history = model, history

    @classmethod
    def build(cls, store: EpisodeStore, params: Params) -> Model:
        """The model with its first weights, on the CPU."""
        raise NotImplementedError

    @classmethod
    def plan(cls, params: Params) -> Plan:
        """How it is trained."""
        raise NotImplementedError

    @classmethod
    def training_store(cls, store: EpisodeStore) -> EpisodeStore:
        """What it is trained on."""
        return store

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
        return cls._run(cls.training(store, params, device), log, None)

    @classmethod
    def resume(
        cls, store: EpisodeStore, params: Params, device: torch.device, log: Log, saved: SavedState
    ) -> Self:
        """Train as `train` does, from the saved state on; the state is saved after each epoch.

        Raises:
            UserError: the loss is no longer finite, or the saved states are damaged.
        """
        training, state = cls.training(store, params, device), saved.load()
        if state is not None:
            training.restore(state)
            log(f"{training.plan.name}: going on after epoch {training.epoch}")
        return cls._run(training, log, saved)

    @classmethod
    def training(
        cls, store: EpisodeStore, params: Params, device: torch.device
    ) -> SequenceTraining:
        """A run that has not begun."""
        model = cls.build(store, params).to(device, dtype(params.hardware))
        found, validate = cls(model, []), validator(store, params, device)
        own = cls.training_store(store)
        return SequenceTraining(model, own, cls.plan(params), lambda: validate(found.scores))

    @classmethod
    def _run(cls, training: SequenceTraining, log: Log, saved: SavedState | None) -> Self:
        while not training.is_finished():
            line = training.train_epoch()
            if saved is not None:
                saved.save(training.state())
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
        model: Any = read_module(path, cls.kind, num_courses)
        return cls(model.to(device), [])
