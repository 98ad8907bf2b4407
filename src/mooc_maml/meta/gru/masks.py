"""Dropout in meta-training: columns that a meta-update does without."""

from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.meta.inner import Weights


class Masks(NamedTuple):
    """What a meta-update does without: 0 or 1 / (1 - share) for each column; None: all stay.

    The network that is adapted and judged is the one that is left, so its gradients and products
    are exact like those of any other. Every task and every inner step meets the same.

    Attributes:
        embedding: [E], of the embedded courses.
        state: [H], of the states that enter the head.
    """

    embedding: Tensor | None = None
    state: Tensor | None = None

    @staticmethod
    def drawn(share: float, weights: Weights, generator: torch.Generator) -> "Masks":
        """Columns left out by chance, each with the probability `share`."""
        sizes = weights["embedding.weight"].shape[1], weights["head.weight"].shape[1]
        kept = [torch.rand(size, generator=generator) >= share for size in sizes]
        return Masks(*(x.to(weights["head.weight"]) / (1 - share) for x in kept))


NO_MASKS = Masks()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """[..., d] -> the same, columns left out."""
    return x if mask is None else x * mask
