"""A matrix for every task, held as a short sum of outer products.

Every weight W of the network acts as y = W u + b on some inputs u, and its gradient is a sum of
outer products: dL/dW = sum_j d_j u_j^T over the inputs u_j that W met, with d_j = dL/dy_j. After s
steps of gradient descent

    W_s u = W_0 u - alpha sum_j d_j (u_j . u),

that is: the shared W_0, one product for all tasks, plus an attention over the few inputs that
this task has met. No task ever copies W. Exact, and known as the dual form of a linear layer
(Irie, Csordas, Schmidhuber, "The Dual Form of Neural Networks Revisited", ICML 2022). The
directions of the second-order recursion have the same form.

An embedding is the same with one-hot inputs, where u_j . u says whether two courses are the same.

With more products than about in x out / (in + out) the matrix itself is cheaper. On the CPU a task
that has so many is adapted alone, and what is its own is then a plain `Matrix`. On a GPU all tasks
are adapted together, long and short ones, and each has its own of one tensor, `Matrices`: that is
also one product a step in time instead of three.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import linear

from mooc_maml.meta.rows import Rows

Rate = Tensor | float | None


@dataclass(frozen=True)
class OuterSum:
    """For every task the matrix sum_j outputs_j inputs_j^T, and a bias.

    Attributes:
        inputs: rows [tasks, r, in], or int64 [tasks, r] for one-hot inputs.
        outputs: rows [tasks, r, out]; a row of zeros is padding.
        bias: [tasks, out], or None for 0.
    """

    inputs: Rows = field(default_factory=Rows)
    outputs: Rows = field(default_factory=Rows)
    bias: Tensor | None = None

    @property
    def is_zero(self) -> bool:
        """Whether there is no product at all."""
        return not self.inputs.blocks

    def plus(self, other: "TaskMatrix", scale: float) -> "TaskMatrix":
        """`self + scale * other`."""
        if not isinstance(other, OuterSum):
            if self.is_zero and self.bias is None:
                return other.scaled(scale, scale)
            return self.as_dense(other).plus(other, scale)
        return OuterSum(
            self.inputs.appended(other.inputs),
            self.outputs.appended(other.outputs, scale),
            _add(self.bias, other.bias, scale),
        )

    def scaled(self, weight_rate: Rate, bias_rate: Rate) -> "TaskMatrix":
        """The matrix and the bias times their rates; None is 0.

        A rate for every value makes a `Matrix`, so it takes one task alone; not with one-hot
        inputs, where each product has a row of the matrix to itself.
        """
        bias = None if bias_rate is None or self.bias is None else self.bias * bias_rate
        if weight_rate is None or self.is_zero:
            return OuterSum(bias=bias)
        inputs, outputs = self.inputs.tensor, self.outputs.tensor
        if isinstance(weight_rate, float) or weight_rate.dim() == 0:
            return OuterSum(self.inputs, Rows(outputs * weight_rate), bias)
        if not inputs.is_floating_point():
            return OuterSum(self.inputs, Rows(outputs * weight_rate[inputs]), bias)
        if len(outputs) > 1:
            raise ValueError(f"a rate for every value takes one task alone, found {len(outputs)}")
        weight = self.total() * weight_rate
        return Matrix(weight, weight.new_zeros(1, len(weight)) if bias is None else bias)

    def products(self, other: "TaskMatrix") -> tuple[Tensor, Tensor | None]:
        """Per task the sum of products with another's values, [tasks]; of biases, [tasks, out].

        (sum_j d_j u_j^T) . (sum_k e_k w_k^T) = sum_jk (d_j . e_k)(u_j . w_k).
        """
        if not isinstance(other, OuterSum):
            return self.as_dense(other).products(other)
        biases = None if self.bias is None or other.bias is None else self.bias * other.bias
        if self.is_zero or other.is_zero:
            none = self.bias if self.bias is not None else other.bias
            return torch.zeros(1) if none is None else none.new_zeros(len(none)), biases
        outputs = self.outputs.tensor
        gram = _gram(self.inputs.tensor, other.inputs.tensor, outputs.dtype)
        return (gram * (outputs @ other.outputs.tensor.mT)).sum((1, 2)), biases

    def apply(self, u: Tensor, *, with_bias: bool = True) -> Tensor | None:
        """The matrix times u [tasks, n, in] (or int64 [tasks, n]) -> [tasks, n, out]; None is 0."""
        result = self.bias[:, None, :] if with_bias and self.bias is not None else None
        if self.is_zero:
            return None if result is None else result.expand(-1, u.shape[1], -1)
        attention = _gram(u, self.inputs.tensor, self.outputs.tensor.dtype)
        outputs = self.outputs.tensor
        return attention @ outputs if result is None else result.baddbmm(attention, outputs)

    def apply_transposed(self, d: Tensor) -> Tensor | None:
        """The transposed matrix times d [tasks, n, out] -> [tasks, n, in]; None is 0."""
        return None if self.is_zero else (d @ self.outputs.tensor.mT) @ self.inputs.tensor

    def squared_norm(self) -> Tensor:
        """Sum of squares of each task's matrix and bias, float64 [tasks], without the matrix.

        ||sum_j d_j u_j^T||^2 = sum_ij (d_i . d_j)(u_i . u_j).
        """
        if self.is_zero:
            return torch.zeros(1) if self.bias is None else self.bias.double().square().sum(1)
        inputs, outputs = self.inputs.tensor, self.outputs.tensor.double()
        inputs = inputs.double() if inputs.is_floating_point() else inputs
        norm = (_gram(inputs, inputs, outputs.dtype) * (outputs @ outputs.mT)).sum((1, 2))
        return norm if self.bias is None else norm + self.bias.double().square().sum(1)

    def as_dense(self, like: "Matrix | Matrices") -> "Matrix | Matrices":
        """The same in the form of another; `like` also gives the shape of 0."""
        return self.as_matrix(like) if isinstance(like, Matrix) else self.as_matrices(like)

    def as_matrices(self, like: "Matrices | None" = None) -> "Matrices":
        """The same with every product carried out, task by task; not of one-hot inputs."""
        if like is not None and self.is_zero:
            weight = torch.zeros_like(like.weight)
        else:
            weight = self.outputs.tensor.mT @ self.inputs.tensor
        bias = weight.new_zeros(weight.shape[:2]) if self.bias is None else self.bias
        return Matrices(weight, bias)

    def as_matrix(self, like: "Matrix | None" = None) -> "Matrix":
        """The same of one task alone, with every product carried out; `like` gives the shape of 0.

        Of one-hot inputs no `Matrix` is made.
        """
        weight = torch.zeros_like(like.weight) if like and self.is_zero else self.total()
        bias = weight.new_zeros(1, len(weight)) if self.bias is None else self.bias
        return Matrix(weight, bias)

    def total(self, size: int | None = None) -> Tensor:
        """The sum over tasks as one matrix [out, in]; one-hot inputs give rows: [size, out]."""
        inputs, outputs = self.inputs.tensor.flatten(0, 1), self.outputs.tensor.flatten(0, 1)
        if size is not None:
            return outputs.new_zeros(size, outputs.shape[1]).index_add_(0, inputs, outputs)
        return outputs.mT @ inputs


@dataclass(frozen=True)
class Matrix:
    """What `OuterSum` is for several tasks, for one task alone: weight [out, in], bias [1, out]."""

    weight: Tensor
    bias: Tensor

    def scaled(self, weight_rate: Rate, bias_rate: Rate) -> "Matrix":
        """The matrix and the bias times their rates; None is 0."""
        weight = self.weight * (0.0 if weight_rate is None else weight_rate)
        return Matrix(weight, self.bias * (0.0 if bias_rate is None else bias_rate))

    def products(self, other: "TaskMatrix") -> tuple[Tensor, Tensor | None]:
        """See `OuterSum.products`."""
        if isinstance(other, OuterSum):
            other = other.as_matrix(self)
        return (self.weight * other.weight).sum().view(1), self.bias * other.bias

    def plus(self, other: "TaskMatrix", scale: float) -> "Matrix":
        """`self + scale * other`."""
        if isinstance(other, OuterSum):
            other = other.as_matrix(self)
        weight = torch.add(self.weight, other.weight, alpha=scale)
        return Matrix(weight, torch.add(self.bias, other.bias, alpha=scale))

    def apply(self, u: Tensor) -> Tensor:
        """The matrix times u [1, n, in], plus the bias -> [1, n, out]."""
        return linear(u, self.weight, self.bias[0])

    def apply_transposed(self, d: Tensor) -> Tensor:
        """The transposed matrix times d [1, n, out] -> [1, n, in]."""
        return d @ self.weight

    def squared_norm(self) -> Tensor:
        """Sum of squares of matrix and bias, float64 [1]."""
        squares = [x.double().square().sum() for x in (self.weight, self.bias)]
        return torch.stack(squares).sum().view(1)

    def total(self, size: int | None = None) -> Tensor:
        """The matrix itself."""
        return self.weight


@dataclass(frozen=True)
class Matrices:
    """An `OuterSum` with all products carried out: weight [tasks, out, in], bias [tasks, out]."""

    weight: Tensor
    bias: Tensor

    def scaled(self, weight_rate: Rate, bias_rate: Rate) -> "Matrices":
        """The matrices and the biases times their rates; None is 0."""
        weight = self.weight * (0.0 if weight_rate is None else weight_rate)
        return Matrices(weight, self.bias * (0.0 if bias_rate is None else bias_rate))

    def products(self, other: "TaskMatrix") -> tuple[Tensor, Tensor | None]:
        """See `OuterSum.products`."""
        own = self._like(other)
        return (self.weight * own.weight).sum((1, 2)), self.bias * own.bias

    def plus(self, other: "TaskMatrix", scale: float) -> "Matrices":
        """`self + scale * other`."""
        own = self._like(other)
        weight = torch.add(self.weight, own.weight, alpha=scale)
        return Matrices(weight, torch.add(self.bias, own.bias, alpha=scale))

    def _like(self, other: "TaskMatrix") -> "Matrices":
        if isinstance(other, Matrix):
            return Matrices(other.weight[None], other.bias)
        return other.as_matrices(self) if isinstance(other, OuterSum) else other

    def apply(self, u: Tensor) -> Tensor:
        """The matrices times u [tasks, n, in], plus the biases -> [tasks, n, out]."""
        return torch.baddbmm(self.bias[:, None], u, self.weight.mT)

    def apply_transposed(self, d: Tensor) -> Tensor:
        """The transposed matrices times d [tasks, n, out] -> [tasks, n, in]."""
        return d @ self.weight

    def squared_norm(self) -> Tensor:
        """Sum of squares of each task's matrix and bias, float64 [tasks]."""
        return sum(x.double().square().flatten(1).sum(1) for x in (self.weight, self.bias))  # type: ignore[return-value]

    def total(self, size: int | None = None) -> Tensor:
        """The sum over tasks as one matrix [out, in]."""
        return self.weight.sum(0)


TaskMatrix = OuterSum | Matrix | Matrices


def outer_sum(inputs: Rows, outputs: Rows, bias: Tensor) -> TaskMatrix:
    """sum_j outputs_j inputs_j^T in the cheaper form, see above; [tasks, out] of the bias."""
    result = OuterSum(inputs, outputs, bias)
    if len(bias) == 1:
        return result.as_matrix()
    return result.as_matrices() if wants_matrices(bias.device) else result


def wants_matrices(device: torch.device) -> bool:
    """Whether several tasks have matrices of their own; on the CPU that takes longer."""
    return device.type != "cpu"


def _gram(u: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    if u.is_floating_point():
        return u @ inputs.mT
    return (u[:, :, None] == inputs[:, None, :]).to(dtype)


def _add(mine: Tensor | None, other: Tensor | None, scale: float) -> Tensor | None:
    if other is None:
        return mine
    return other * scale if mine is None else torch.add(mine, other, alpha=scale)
