"""Fast weights of the GRU recommender, and gradients of them: sums of outer products of each task.

No weight matrix is copied: what is held of a task is its difference from the shared weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mooc_maml.meta.gru.pointer import NAME as POINTER
from mooc_maml.meta.gru.task_linear import TaskLinear
from mooc_maml.meta.inner import Rates, Weights
from mooc_maml.meta.outer_products import Matrices, Matrix, OuterSum, TaskMatrix


@dataclass(frozen=True)
class GRUDirection:
    """Gradients or directions of all tasks: an `OuterSum` for each weight matrix, by its name.

    With one task alone, GRU weights are a `Matrix`; on a GPU, with several, `Matrices`.
    """

    sums: dict[str, TaskMatrix]
    num_courses: int

    @torch.inference_mode()
    def plus(self, other: "GRUDirection", scale: float) -> "GRUDirection":
        """`self + scale * other`."""
        sums = {name: x.plus(other.sums[name], scale) for name, x in self.sums.items()}
        return GRUDirection(sums, self.num_courses)

    @torch.inference_mode()
    def scaled(self, rates: float | Rates) -> "GRUDirection":
        """See `TaskWeights`; a rate for every value of a weight matrix takes one task alone."""
        sums = {}
        for name, own in self.sums.items():
            pair = (name, bias_of(name))
            of = [rates if isinstance(rates, float) else rates.get(x) for x in pair]
            sums[name] = own.scaled(*of)
        return GRUDirection(sums, self.num_courses)

    @torch.inference_mode()
    def rate_gradient(self, gradient: "GRUDirection", rates: Rates) -> Weights:
        """See `TaskWeights`."""
        result = {}
        for name, own in self.sums.items():
            other, rate, bias_rate = gradient.sums[name], rates.get(name), rates.get(bias_of(name))
            if rate is None and bias_rate is None:
                continue
            products, biases = own.products(other)
            if rate is not None and rate.dim() == 0:
                result[name] = products.sum()
            elif rate is not None:
                size = self._rows(name)
                result[name] = own.total(size) * other.total(size)
            if bias_rate is not None and biases is not None:
                result[bias_of(name)] = biases.sum(0).sum_to_size(bias_rate.shape)
        return result

    def _rows(self, name: str) -> int | None:
        """Rows of a matrix whose inputs are one-hot."""
        return self.num_courses + 1 if name == "embedding.weight" else None

    @torch.inference_mode()
    def sum_over_tasks(self) -> Weights:
        """Ordinary tensors; the padding row of the embedding is 0."""
        result = {}
        for name, own in self.sums.items():
            if name != POINTER:
                result[name] = own.total(self._rows(name))
            if own.bias is not None:
                result[bias_of(name)] = own.bias.sum(0)
        return result


@dataclass(frozen=True)
class GRUFastWeights:
    """The shared weights and every task's own difference from them."""

    shared: Weights
    own: GRUDirection

    @torch.inference_mode()
    def plus(self, other: GRUDirection, scale: float) -> "GRUFastWeights":
        """`self + scale * other`."""
        return GRUFastWeights(self.shared, self.own.plus(other, scale))

    def towards(self, start: "GRUFastWeights", share: float) -> "GRUFastWeights":
        """See `TaskWeights`; the difference from the start is what is held, so it shrinks."""
        return GRUFastWeights(self.shared, self.own.scaled(1 - share))

    def linear(self, name: str) -> TaskLinear:
        """The layer whose weight matrix has this name."""
        weight, bias = self.shared[name], self.shared[bias_of(name)]
        own = self.own.sums[name]
        if isinstance(own, Matrix):  # one task: its weights are all there is
            return TaskLinear(weight + own.weight, bias + own.bias[0], OuterSum())
        if isinstance(own, Matrices):
            return TaskLinear(weight + own.weight, bias + own.bias, OuterSum())
        return TaskLinear(weight, bias, own)

    def pointer(self, tasks: int) -> Tensor:
        """The pointer's weights of each task, [tasks, n]."""
        weights, own = self.shared[bias_of(POINTER)].expand(tasks, -1), self.own.sums[POINTER].bias
        return weights if own is None else weights + own


def bias_of(name: str) -> str:
    """The bias that goes with a weight matrix; the embedding has none."""
    return name.replace("weight", "bias")
