"""What a meta-model scores before and after adaptation, and how far adaptation moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.inner import TaskModel, Weights
from mooc_maml.meta.variants import variant_of
from mooc_maml.models.model_file import read_learned, read_settings
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.query_ranks import ScoreFunction, episode_groups, in_parts
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.runtime.hardware import dtype, setup
from mooc_maml.runtime.tasks_at_once import TasksAtOnce
from mooc_maml.settings.params import Params


def adapted_scores(
    task_model: TaskModel,
    adapt: Callable[[Examples], Any],
    one_task_alone: bool = False,
    *,
    told: bool = True,
) -> ScoreFunction:
    """A scorer of query pairs with the fast weights that `adapt` makes of the support pairs.

    `one_task_alone`: `adapt` takes one task at a time. `told`: whether the model may also read the
    support pairs as an input, if it can.
    """

    def score(support: Examples, query: Examples) -> Tensor:
        if one_task_alone and support.num_tasks > 1:
            tasks = range(support.num_tasks)
            return torch.cat([score(support.take([i]), query.take([i])) for i in tasks])
        given = support if told else support.pairs(0, 0)
        return task_model.scores(adapt(support), task_model.prepare_scores(query, given))

    return score


@dataclass(frozen=True)
class MetaModel:
    """All that was meta-learned, and how it is adapted.

    Every backbone and variant goes down the cross-entropy of its scores, so that these are logits.
    """

    law: ClassVar[Law] = "logits"

    task_model: TaskModel
    weights: Weights
    params: Params

    def scores(self, steps: int | None = None, told: bool | None = None) -> ScoreFunction:
        """A scorer that adapts with so many steps; None: few-shot's own number; 0: zero-shot.

        `told`: whether a pointer reads the support pairs; None: not in zero-shot.
        """
        alone, told = variant_of(self.params).one_task_alone, steps != 0 if told is None else told
        adapt = partial(self.adapt, steps=steps)
        return adapted_scores(self.task_model, adapt, alone, told=told)

    def adapt(self, support: Examples, steps: int | None = None) -> Any:
        """Every task's own weights after so many steps on its support pairs; None: few-shot's."""
        return variant_of(self.params).adapt(self.task_model, self.weights, support, steps)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.task_model.device


def read_meta_model(folder: Path, params: Params, num_courses: int, seen: SeenFilter) -> MetaModel:
    """Open what meta-training left, ready to run on the device of the settings.

    Args:
        folder: of models.
        params: the settings.
        num_courses: the catalogue that it has to rank.
        seen: courses left out of the loss that it adapts on.

    Raises:
        UserError: the model is missing, damaged, made for another catalogue, or meta-trained with
            another backbone or as another variant than the settings say.
    """
    backbone, path = backbone_of(params), model_path(folder, params)
    variant = variant_of(params)
    model = backbone.read(path, num_courses)
    _check_made_as(read_settings(path), params, path)
    own = setup(params.hardware), dtype(params.hardware)
    weights = weights_of(model.to(*own))
    learned = read_learned(path, variant.learned(weights))
    return MetaModel(backbone.task_model(model, *own, seen), weights | learned, params)


def _check_made_as(settings: dict[str, Any], params: Params, path: Path) -> None:
    """Stop if the file was meta-trained as another than it would be adapted as."""
    made = (settings.get("backbone"), settings.get("meta", {}).get("variant"))
    asked = (params.model.backbone, params.meta.variant)
    if made != asked:
        raise UserError(
            f"{path}: meta-trained with model.backbone {made[0]} and meta.variant {made[1]}, the "
            f"settings say {asked[0]} and {asked[1]}; set them so, or run `dvc repro` to train that"
        )


def model_path(folder: Path, params: Params) -> Path:
    """Where the meta-model lies in the folder of models."""
    return folder / f"maml_{params.model.backbone}_K{params.episodes.support_size}.pth"


def relative_changes(meta: MetaModel, store: EpisodeStore) -> dict[str, NDArray[np.float64]]:
    """||theta' - theta|| / ||theta|| of every test learner, by layer: the norm of the change.

    Returns:
        layer -> float [learners]; what a layer is, says the backbone.
    """
    params, total = meta.params, len(store.episodes["test"])
    found: dict[str, NDArray[np.float64]] = {}
    alone = variant_of(params).one_task_alone
    at_once = TasksAtOnce(1 if alone else params.hardware.tasks_at_once)

    def read(support: Examples) -> dict[str, Tensor]:
        changes = meta.task_model.relative_changes(meta.weights, meta.adapt(support))
        return {layer: change.cpu() for layer, change in changes.items()}

    groups = episode_groups(store, "test", at_once.number, device=meta.device)
    for indices, support, _ in groups:
        for part, changes in in_parts(at_once, read, support):
            for layer, change in changes.items():
                found.setdefault(layer, np.zeros(total))[indices[part]] = change.numpy()
    return found
