"""The mixture before adaptation: the same weights, no support pair told, no step made."""

from typing import ClassVar, Self

import torch

from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.composites.mixture import Mixture
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.settings.composites.mixture_zero_shot import MixtureZeroShotParams
from mooc_maml.settings.params import Params


class MixtureZeroShot(Mixture):
    """The mixture before adaptation, told nothing of the support pairs."""

    name: ClassVar[str] = "mixture_zero_shot"
    label: ClassVar[str] = "Mixture zero-shot"
    made_of: ClassVar[tuple[str, ...]] = MixtureZeroShotParams.made_of
    reads_support: ClassVar[bool] = False

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
        metrics = whole.left_out_zero_shot
        history = [{"left_out_validation": metrics}] if metrics else []
        courses = whole.num_courses
        return cls(whole.parts, whole.seen, whole.weights, 0, courses, history, metrics)
