"""The models of a bundle, ready to be asked: each gives scores before and after it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol, cast

import torch
from torch import Tensor

from mooc_maml.baselines.base import Baseline
from mooc_maml.common.errors import UserError
from mooc_maml.composites.features import first
from mooc_maml.composites.gru_fine_tuned import FineTunedGRU
from mooc_maml.composites.mixture import Mixture
from mooc_maml.composites.registry import MODELS
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import BACKBONES
from mooc_maml.meta.inner import TaskModel, Weights
from mooc_maml.meta.model import adapted_scores
from mooc_maml.meta.variant import GradientVariant, model_weights
from mooc_maml.meta.variants import VARIANTS
from mooc_maml.models.model_file import read_learned, read_settings
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.recommend.bundle import Adaptation, ModelInfo
from mooc_maml.settings.meta import MAML_SETTINGS, MetaParams
from mooc_maml.settings.params import Params


class Served(Protocol):
    """A model that can be asked. Scores are [tasks, 1, C]; column j is course j + 1."""

    def before(self, query: Examples) -> Tensor:
        """Zero-shot: told of no support pair."""

    def after(self, support: Examples, query: Examples, steps: int | None) -> Tensor:
        """Told of the support pairs; `steps`: gradient steps, None: the model's own number."""

    def both(self, support: Examples, query: Examples, steps: int | None) -> tuple[Tensor, Tensor]:
        """`before` and `after` of the same pairs, in less time than one after the other."""

    def steps(self, support: Examples) -> list[int]:
        """Gradient steps that it takes of its own on the support pairs of each learner."""


def own_steps(model: Baseline) -> int:
    """Gradient steps that a baseline or a composite takes on the support pairs; most take none."""
    if isinstance(model, FineTunedGRU):
        return model.how.steps
    return model.steps if isinstance(model, Mixture) else 0


@dataclass(frozen=True)
class ServedBaseline:
    """A baseline or a composite."""

    model: Baseline

    def before(self, query: Examples) -> Tensor:
        """See `Served`."""
        return self.model.scores(first(query, 0), query).detach()

    def after(self, support: Examples, query: Examples, steps: int | None) -> Tensor:
        """See `Served`; the number of steps is its own."""
        return self.model.scores(support, query).detach()

    def both(self, support: Examples, query: Examples, steps: int | None) -> tuple[Tensor, Tensor]:
        """See `Served`."""
        return self.before(query), self.after(support, query, steps)

    def steps(self, support: Examples) -> list[int]:
        """Those of a composite that takes any."""
        own = own_steps(self.model) if support.label.shape[1] else 0
        return [own] * support.num_tasks


@dataclass(frozen=True)
class ServedMeta:
    """A meta-trained model.

    Attributes:
        task_model: how it runs.
        weights: all that was meta-learned.
        variant: how it is adapted.
        zero_shot: whether it takes no step.
    """

    task_model: TaskModel
    weights: Weights
    variant: GradientVariant
    zero_shot: bool

    def before(self, query: Examples) -> Tensor:
        """See `Served`."""
        prepared = self.task_model.prepare_scores(query, query.pairs(0, 0))  # told of nothing
        fast = self.task_model.initial(model_weights(self.weights), prepared)
        return self.task_model.scores(fast, prepared)

    def after(self, support: Examples, query: Examples, steps: int | None) -> Tensor:
        """See `Served`."""
        if self.zero_shot or steps == 0 or not support.label.shape[1]:
            return self.before(query)

        def adapt(own: Examples) -> object:
            return self.variant.adapt(self.task_model, self.weights, own, steps)

        alone = self.variant.one_task_alone
        return adapted_scores(self.task_model, adapt, alone)(support, query)

    def both(self, support: Examples, query: Examples, steps: int | None) -> tuple[Tensor, Tensor]:
        """See `Served`."""
        model, no_pairs = self.task_model, not support.label.shape[1]
        apart = self.variant.one_task_alone or self.zero_shot or model.reads_support
        if apart or no_pairs or steps == 0:
            return self.before(query), self.after(support, query, steps)
        prepared = model.prepare_scores(query, support)
        start = model.initial(model_weights(self.weights), prepared)
        fast = self.variant.adapt(model, self.weights, support, steps)
        return model.scores(start, prepared), model.scores(fast, prepared)

    def steps(self, support: Examples) -> list[int]:
        """As many as few-shot takes; 0 without support pairs."""
        if self.zero_shot or not support.label.shape[1]:
            return [0] * support.num_tasks
        if not self.variant.one_task_alone:
            return [self.variant.steps(support)] * support.num_tasks
        return [self.variant.steps(support.take([i])) for i in range(support.num_tasks)]


def _settings(path: Path, own: Adaptation) -> Params:
    """The settings that adaptation reads, in place of the whole of params.yaml.

    Raises:
        UserError: one is missing, since the bundle was made before there was such a setting.
    """
    values = dict(own.settings)
    meta = values.pop("meta", None)
    meta = meta if isinstance(meta, dict) else {}
    missing = [f"meta.{name}" for name in MetaParams.model_fields if name not in meta]
    missing += [name for name in MAML_SETTINGS if name not in values]
    if missing:
        raise UserError(
            f"{path}: the bundle has no settings {', '.join(missing)}; it was made by another "
            "version, export it again"
        )
    return cast(Params, SimpleNamespace(**values, meta=SimpleNamespace(**meta)))


def read_meta(path: Path, own: Adaptation, num_courses: int, seen: SeenFilter) -> ServedMeta:
    """A meta-trained model from its file; no setting of the process is touched.

    Raises:
        UserError: the file was meta-trained as another than the bundle says, or holds another
            catalogue.
    """
    backbone, kind = BACKBONES.get(own.backbone), VARIANTS.get(own.variant)
    made = read_settings(path)
    found = (made.get("backbone"), made.get("meta", {}).get("variant"))
    fits = kind is not None and backbone is not None
    if fits and kind.part is not None and kind.part not in backbone.parts:  # type: ignore[union-attr]
        fits = False
    if not fits or found != (own.backbone, own.variant):
        raise UserError(
            f"{path}: backbone {found[0]} and variant {found[1]}, the bundle says {own.backbone} "
            f"and {own.variant}, known are {', '.join(BACKBONES)} and {', '.join(VARIANTS)}; "
            "export the bundle again"
        )
    assert backbone is not None
    assert kind is not None
    variant = kind(_settings(path, own), backbone.parts, backbone.dense)
    module = backbone.read(path, num_courses)
    weights = weights_of(module)
    device, dtype = torch.device("cpu"), next(iter(weights.values())).dtype
    try:
        learned = read_learned(path, variant.learned(weights))
    except AttributeError as error:  # a setting that this program has and the bundle's had not
        raise UserError(f"{path}: made by another version ({error}); export it again") from None
    task_model = backbone.task_model(module, device, dtype, seen)
    return ServedMeta(task_model, weights | learned, variant, own.zero_shot)


def read_served(
    path: Path, info: ModelInfo, num_courses: int, seen: SeenFilter, parts: Mapping[str, Served]
) -> Served:
    """A model of a bundle.

    Args:
        path: its file, already found to be the one that the bundle names.
        info: what the bundle says of it.
        num_courses: C.
        seen: courses left out of the losses that it adapts on.
        parts: the models that it is made of.

    Raises:
        UserError: the file does not fit what the bundle says, or nobody knows such a model.
    """
    if info.adaptation is not None:
        return read_meta(path, info.adaptation, num_courses, seen)
    if info.name not in MODELS:
        raise UserError(f"{path}: a model {info.name}, which this program does not know")
    own = {name: part.model for name, part in parts.items() if isinstance(part, ServedBaseline)}
    return ServedBaseline(MODELS[info.name].read(path, num_courses, torch.device("cpu"), own))
