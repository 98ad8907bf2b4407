"""How the outer loop moves what is meta-learned: Adam, with what keeps it from overfitting."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mooc_maml.meta.inner import Weights
from mooc_maml.meta.variant import model_weights
from mooc_maml.settings.params import Params

POINTER = "pointer."  # how the names of its weights begin


class OuterOptimiser:
    """Adam; AdamW's decay, a schedule and a running mean of the weights where settings ask for it.

    Args:
        weights: all that is meta-learned, by name; changed in place.
        params: the settings.
    """

    def __init__(self, weights: Weights, params: Params) -> None:
        self.weights, self.params = weights, params
        self.adam = _adam(weights, params)
        self._mean = copied(weights) if params.meta.average else None

    @property
    def kept(self) -> Weights:
        """What is to be evaluated and kept: the running mean, or the weights themselves."""
        return self.weights if self._mean is None else self._mean

    def step(self, gradient: Weights, update: int) -> None:
        """Meta-update number `update`, counted from 0."""
        if self.params.meta.schedule != "constant":
            for group in self.adam.param_groups:
                group["lr"] = group["full_lr"] * self.share(update)
        for name, weight in self.weights.items():
            weight.grad = gradient[name]
        self.adam.step()
        if self._mean is not None:
            for name, mean in self._mean.items():
                mean.lerp_(self.weights[name], 1 - self.params.meta.average)

    def share(self, update: int) -> float:
        """Which share of the outer step size a meta-update takes that falls along a cosine."""
        return (1 + math.cos(math.pi * update / self.params.num_meta_iterations)) / 2

    def state(self) -> dict[str, Any]:
        """Everything that later updates depend on, but for the weights."""
        return {"adam": self.adam.state_dict(), "mean": self._mean and copied(self._mean)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was seen."""
        self.adam.load_state_dict(state["adam"])
        self._mean = state["mean"]


def _adam(weights: Weights, params: Params) -> torch.optim.Optimizer:
    """Learned step sizes do not decay: a logarithm of 0 is no smaller than any other.

    With an outer step size of their own neither does the pointer.
    """
    decay, lr = params.meta.weight_decay, params.outer_lr
    few = few_of(weights) if params.meta.outer_lr_few is not None else learned_besides(weights)
    own_lr = lr if params.meta.outer_lr_few is None else params.meta.outer_lr_few
    if not decay and own_lr == lr:
        return torch.optim.Adam([_group(weights.values(), lr, 0.0)])
    most = [x for name, x in weights.items() if name not in few]
    groups = [_group(most, lr, decay)] + ([_group(few.values(), own_lr, 0.0)] if few else [])
    return torch.optim.AdamW(groups)


def _group(weights: Iterable[Tensor], lr: float, decay: float) -> dict[str, Any]:
    return {"params": list(weights), "lr": lr, "full_lr": lr, "weight_decay": decay}


def learned_besides(weights: Weights) -> Weights:
    """What is meta-learned that is no weight of the model."""
    own = model_weights(weights)
    return {name: x for name, x in weights.items() if name not in own}


def few_of(weights: Weights) -> Weights:
    """The same and the pointer: what has `meta.outer_lr_few` for its outer step size."""
    pointer = {name: x for name, x in weights.items() if name.startswith(POINTER)}
    return {**pointer, **learned_besides(weights)}


def copied(weights: Weights) -> Weights:
    """The same values, in memory of their own."""
    return {name: weight.clone() for name, weight in weights.items()}
