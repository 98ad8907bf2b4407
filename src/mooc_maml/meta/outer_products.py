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

With more products than about in x out / (in + out) the matrix itself is cheaper. A task that has so
many is adapted alone, and what is its own is then a plain `Matrix`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import linear

Rate = Tensor | float | None


class Rows:
    """Rows [tasks, r, d] of several tasks, to which more can be appended.

    The rows lie at the front of a larger buffer, so that appending copies only what is new; an
    older `Rows` goes on seeing its own front part. If somebody else has appended there since, or
    the buffer is full, the rows move to a new one first.
    """

    def __init__(self, *blocks: Tensor) -> None:
        self.blocks = blocks
        self._buffer: Tensor | None = None
        self._filled = [0]  # rows of the buffer in use, shared by all who look at it

    @property
    def tensor(self) -> Tensor:
        """All rows: [tasks, r, d]."""
        return self.blocks[0] if len(self.blocks) == 1 else torch.cat(self.blocks, 1)

    def appended(self, more: "Rows", scale: float | None = None) -> "Rows":
        """These rows, then `more`, times `scale` if given."""
        if not more.blocks:
            return self
        rank = sum(block.shape[1] for block in self.blocks)
        new_rank = rank + sum(block.shape[1] for block in more.blocks)
        result = Rows()
        result._buffer, result._filled = self._buffer, self._filled
        buffer = self._buffer
        if buffer is None or self._filled[0] != rank or new_rank > buffer.shape[1]:
            like = more.blocks[0]
            room = new_rank + 9 * (new_rank - rank)  # untouched memory costs nothing on a CPU
            buffer = like.new_empty(like.shape[0], room, *like.shape[2:])
            result._buffer, result._filled = buffer, [rank]
            if rank:
                buffer[:, :rank] = self.tensor
        for block in more.blocks:
            place = buffer[:, rank : rank + block.shape[1]]
            if scale is None:
                place.copy_(block)
            else:
                torch.mul(block, scale, out=place)
            rank += block.shape[1]
        result._filled[0] = rank
        result.blocks = (buffer[:, :rank],)
        return result


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
        if isinstance(other, Matrix):
            if self.is_zero and self.bias is None:
                return other.scaled(scale, scale)
            return self.as_matrix(other).plus(other, scale)
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
        if isinstance(other, Matrix):
            return self.as_matrix(other).products(other)
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


TaskMatrix = OuterSum | Matrix


def outer_sum(inputs: Rows, outputs: Rows, bias: Tensor) -> TaskMatrix:
    """sum_j outputs_j inputs_j^T in the cheaper form: a `Matrix` for one task, else `OuterSum`."""
    result = OuterSum(inputs, outputs, bias)
    return result.as_matrix() if len(bias) == 1 else result


def _gram(u: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    if u.is_floating_point():
        return u @ inputs.mT
    return (u[:, :, None] == inputs[:, None, :]).to(dtype)


def _add(mine: Tensor | None, other: Tensor | None, scale: float) -> Tensor | None:
    if other is None:
        return mine
    return other * scale if mine is None else torch.add(mine, other, alpha=scale)
