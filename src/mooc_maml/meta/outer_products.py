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
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OuterSum:
    """For every task the matrix sum_j outputs_j inputs_j^T, and a bias.

    Attributes:
        inputs: blocks [tasks, r, in], or int64 [tasks, r] for one-hot inputs.
        outputs: blocks [tasks, r, out], as many as `inputs`; zero rows are padding.
        bias: [tasks, out], or None where the layer has none.
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    bias: Tensor | None = None

    def plus(self, other: "OuterSum", scale: float) -> "OuterSum":
        """`self + scale * other`; blocks with the very same inputs are merged, others appended."""
        inputs, outputs = list(self.inputs), list(self.outputs)
        for block, values in zip(other.inputs, other.outputs, strict=True):
            same = [i for i, mine in enumerate(inputs) if mine is block]
            if same:
                outputs[same[0]] = torch.add(outputs[same[0]], values, alpha=scale)
            else:
                inputs.append(block)
                outputs.append(values * scale)
        return OuterSum(tuple(inputs), tuple(outputs), _add(self.bias, other.bias, scale))

    def joined(self) -> tuple[Tensor, Tensor]:
        """All blocks side by side: inputs [tasks, r, in] and outputs [tasks, r, out]."""
        if len(self.inputs) == 1:
            return self.inputs[0], self.outputs[0]
        return torch.cat(self.inputs, 1), torch.cat(self.outputs, 1)

    def apply(self, u: Tensor, *, with_bias: bool = True) -> Tensor | None:
        """The matrix times u [tasks, n, in] (or int64 [tasks, n]) -> [tasks, n, out]; None is 0."""
        result = self.bias[:, None, :] if with_bias and self.bias is not None else None
        if self.inputs:
            inputs, outputs = self.joined()
            product = _gram(u, inputs, outputs.dtype) @ outputs
            result = product if result is None else product.add_(result)
        return result

    def apply_transposed(self, d: Tensor) -> Tensor | None:
        """The transposed matrix times d [tasks, n, out] -> [tasks, n, in]; None is 0."""
        if not self.inputs:
            return None
        inputs, outputs = self.joined()
        return (d @ outputs.mT) @ inputs

    def total(self, size: int | None = None) -> Tensor:
        """The sum over tasks as one matrix [out, in]; one-hot inputs give rows: [size, out]."""
        inputs, outputs = (x.flatten(0, 1) for x in self.joined())
        if size is not None:
            return outputs.new_zeros(size, outputs.shape[1]).index_add_(0, inputs, outputs)
        return outputs.mT @ inputs


def _gram(u: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    if u.is_floating_point():
        return u @ inputs.mT
    return (u[:, :, None] == inputs[:, None, :]).to(dtype)


def _add(mine: Tensor | None, other: Tensor | None, scale: float) -> Tensor | None:
    if other is None:
        return mine
    return other * scale if mine is None else torch.add(mine, other, alpha=scale)
