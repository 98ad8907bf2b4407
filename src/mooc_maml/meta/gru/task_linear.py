"""A linear layer whose weights differ from task to task by a sum of outer products."""

from dataclasses import dataclass

import torch
from torch import Tensor, baddbmm
from torch.nn.functional import linear

from mooc_maml.meta.outer_products import OuterSum

# Up to so many rows times a weight matrix of at least so many, what PyTorch asks of MKL takes up to
# four times as long as it need; measured on 1 to 16 rows, 5,000 to 100,000 courses, on AMD. With
# 10,000 courses it is quick enough.
_FEW, _TALL = 8, 20_000
_HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # of PyTorch's own compiler, not public
)


@dataclass(frozen=True)
class TaskLinear:
    """y = W u + b, with a shared W [out, in] and b [out] plus a task's own sum of products.

    Or W [tasks, out, in] and b [tasks, out] of each task's own, and no sum of products.
    """

    weight: Tensor
    bias: Tensor
    own: OuterSum

    @property
    def is_of_tasks(self) -> bool:
        """Whether W is each task's own."""
        return self.weight.dim() == 3

    def affine(self, u: Tensor) -> Tensor:
        """W u + b: [tasks, n, in] -> [tasks, n, out]."""
        if self.is_of_tasks:
            return baddbmm(self.bias[:, None], u, self.weight.mT)
        return add(_affine(u, self.weight, self.bias), self.own.apply(u))

    def product(self, u: Tensor) -> Tensor:
        """W u: [tasks, n, in] -> [tasks, n, out]."""
        if self.is_of_tasks:
            return u @ self.weight.mT
        return add(linear(u, self.weight), self.own.apply(u, with_bias=False))

    def transposed(self, d: Tensor) -> Tensor:
        """W^T d: [tasks, n, out] -> [tasks, n, in]."""
        return add(_transposed(d, self.weight), self.own.apply_transposed(d))


def add(x: Tensor, y: Tensor | None) -> Tensor:
    """x + y in the memory of x, where None stands for 0."""
    return x if y is None else x.add_(y)


def _affine(u: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W u + b: [tasks, n, in] -> [tasks, n, out]."""
    if not _few_by_tall(u, weight):
        return linear(u, weight, bias)
    few = u.flatten(0, 1)
    number = len(few)
    # MKL is quick at W u^T where both are read along their rows; of one row it would see a column.
    product = weight @ (few.repeat(2, 1) if number == 1 else few).T  # [out, n]
    result = u.new_empty(number, len(weight))
    return torch.add(product[:, :number].T, bias, out=result).view(*u.shape[:2], len(weight))


def _transposed(d: Tensor, weight: Tensor) -> Tensor:
    """W^T d: [tasks, n, out] -> [tasks, n, in]."""
    if _few_by_tall(d, weight) and d.dtype == torch.float32 and _HAS_ONEDNN:
        # MKL copies the matrix first; oneDNN, which `torch.mm` asks for no float32, does not.
        found: Tensor = torch.ops.mkldnn._linear_pointwise(d, weight.mT, None, "none", [], "")
        return found
    return d @ weight


def _few_by_tall(x: Tensor, weight: Tensor) -> bool:
    return x.device.type == "cpu" and x.shape[0] * x.shape[1] <= _FEW and len(weight) >= _TALL
