"""A task model of any differentiable loss: dense fast weights and torch's own derivatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, jvp, vmap

from mooc_maml.meta.inner import Rates, Weights


@dataclass(frozen=True)
class DenseWeights:
    """One tensor [tasks, *shape] a parameter."""

    values: Weights

    def plus(self, other: "DenseWeights", scale: float) -> "DenseWeights":
        """`self + scale * other`."""
        return DenseWeights(
            {name: torch.add(x, other.values[name], alpha=scale) for name, x in self.values.items()}
        )

    def towards(self, start: "DenseWeights", share: float) -> "DenseWeights":
        """See `TaskWeights`."""
        return self.scaled(1 - share).plus(start, share)

    def scaled(self, rates: float | Rates) -> "DenseWeights":
        """See `TaskWeights`."""
        rate = dict.fromkeys(self.values, rates) if isinstance(rates, float) else rates
        return DenseWeights({name: x * rate.get(name, 0.0) for name, x in self.values.items()})

    def rate_gradient(self, gradient: "DenseWeights", rates: Rates) -> Weights:
        """See `TaskWeights`."""
        return {
            name: (self.values[name] * gradient.values[name]).sum(0).sum_to_size(rate.shape)
            for name, rate in rates.items()
        }

    def sum_over_tasks(self) -> Weights:
        """Tensors without the task axis."""
        return {name: x.sum(0) for name, x in self.values.items()}


class DenseTaskModel:
    """Adapts any model whose loss on one task is a function of (weights, that task's examples).

    A new backbone needs nothing but this function; `torch.func` gives its gradient, `vmap` gives
    all tasks at once, and a forward-mode derivative of the gradient gives H v (Pearlmutter, "Fast
    exact multiplication by the Hessian", 1994) without ever forming H.

    Args:
        task_loss: (weights by name, examples of one task) -> scalar loss. It must use operations
            that have batching and forward-mode rules; `nn.GRU` has none, a loop over cells has.
    """

    def __init__(self, task_loss: Callable[[Weights, Any], Tensor]) -> None:
        self._gradient = vmap(grad_and_value(task_loss))

        def product(weights: Weights, examples: Any, direction: Weights) -> Weights:
            return jvp(lambda w: grad(task_loss)(w, examples), (weights,), (direction,))[1]  # type: ignore[no-any-return]

        self._product = vmap(product)

    def prepare(self, examples: Any, support: Any = None) -> Any:
        """Nothing to prepare."""
        return examples

    def initial(self, weights: Weights, examples: Any) -> DenseWeights:
        """The same weights for every task, without copying them."""
        tasks = examples[0].shape[0]
        return DenseWeights({name: x.expand(tasks, *x.shape) for name, x in weights.items()})

    def gradient(
        self, fast: DenseWeights, examples: Any, keep: bool = True
    ) -> tuple[Tensor, DenseWeights, tuple[Weights, Any]]:
        """See `Adaptable`; the tape is the weights and the examples themselves."""
        gradient, losses = self._gradient(fast.values, examples)
        return losses, DenseWeights(gradient), (fast.values, examples)

    def hessian_product(self, tape: tuple[Weights, Any], direction: DenseWeights) -> DenseWeights:
        """See `Adaptable`."""
        return DenseWeights(self._product(*tape, direction.values))
