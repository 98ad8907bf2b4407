"""What a meta-model scores before and after adaptation, and how far adaptation moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.gru.learner import GRUFastWeights, GRULearner
from mooc_maml.meta.inner import Weights
from mooc_maml.meta.variants import variant_of
from mooc_maml.models.gru import read_model
from mooc_maml.models.model_file import read_learned
from mooc_maml.ranking.query_ranks import ScoreFunction, episode_groups
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.runtime.hardware import dtype, setup
from mooc_maml.settings.params import Params

LAYERS = {"embedding": "embedding", "gru.weight_ih": "GRU input", "gru.weight_hh": "GRU hidden"}


def adapted_scores(
    learner: GRULearner, adapt: Callable[[Examples], GRUFastWeights], one_task_alone: bool = False
) -> ScoreFunction:
    """A scorer of query pairs with the fast weights that `adapt` makes of the support pairs.

    `one_task_alone`: `adapt` takes one task at a time.
    """

    def score(support: Examples, query: Examples) -> Tensor:
        if one_task_alone and support.num_tasks > 1:
            tasks = range(support.num_tasks)
            return torch.cat([score(support.take([i]), query.take([i])) for i in tasks])
        return learner.scores(adapt(support), learner.prepare(query))

    return score


@dataclass(frozen=True)
class MetaModel:
    """All that was meta-learned, and how it is adapted."""

    learner: GRULearner
    weights: Weights
    params: Params

    def scores(self, steps: int | None = None) -> ScoreFunction:
        """A scorer that adapts with so many steps; None: few-shot's own number; 0: zero-shot."""
        alone = variant_of(self.params).one_task_alone
        return adapted_scores(self.learner, partial(self.adapt, steps=steps), alone)

    def adapt(self, support: Examples, steps: int | None = None) -> GRUFastWeights:
        """Every task's own weights after so many steps on its support pairs; None: few-shot's."""
        variant = variant_of(self.params)
        fast: GRUFastWeights = variant.adapt(self.learner, self.weights, support, steps)
        return fast


def read_meta_model(folder: Path, params: Params, num_courses: int, taken: SeenFilter) -> MetaModel:
    """Open what meta-training left, ready to run on the device of the settings.

    Args:
        folder: of models.
        params: the settings.
        num_courses: the catalogue that it has to rank.
        taken: courses left out of the loss that it adapts on.

    Raises:
        UserError: the model is missing, damaged, or made for another catalogue.
    """
    learner = GRULearner(setup(params.hardware), dtype(params.hardware), taken)
    path = model_path(folder, params)
    model = read_model(path, num_courses).to(learner.device, learner.dtype)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    learned = read_learned(path, variant_of(params).learned(weights))
    return MetaModel(learner, weights | learned, params)


def model_path(folder: Path, params: Params) -> Path:
    """Where the meta-model lies in the folder of models."""
    return folder / f"maml_gru_K{params.episodes.support_size}.pth"


def relative_changes(meta: MetaModel, store: EpisodeStore) -> dict[str, NDArray[np.float64]]:
    """||theta' - theta|| / ||theta|| of every test learner, by layer: the norm of the change.

    Returns:
        layer -> float [learners]; a layer is a weight matrix with its bias.
    """
    params, total = meta.params, len(store.episodes["test"])
    found: dict[str, NDArray[np.float64]] = {}
    at_once = 1 if variant_of(params).one_task_alone else params.hardware.tasks_at_once
    for indices, support, _ in episode_groups(store, "test", at_once):
        fast = meta.adapt(support)
        for layer, change in _relative_changes(fast).items():
            found.setdefault(layer, np.zeros(total))[indices] = change.cpu().numpy()
    return found


def _relative_changes(fast: GRUFastWeights) -> dict[str, Tensor]:
    result = {}
    for name, own in fast.own.sums.items():
        whole = fast.shared[name].double().square().sum()
        if own.bias is not None:
            whole = whole + fast.shared[name.replace("weight", "bias")].double().square().sum()
        result[_layer(name)] = (own.squared_norm().to(whole) / whole).sqrt()
    return result


def _layer(name: str) -> str:
    """gru.weight_ih_l0 -> GRU input; with several layers GRU input 2, and so on."""
    kind, _, number = name.partition("_l")
    label = LAYERS.get(kind.removesuffix(".weight"), kind.removesuffix(".weight"))
    return label if number in ("", "0") else f"{label} {int(number) + 1}"
