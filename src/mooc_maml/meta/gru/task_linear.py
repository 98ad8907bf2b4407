"""A linear layer whose weights differ from task to task by a sum of outer products."""

from dataclasses import dataclass

from torch import Tensor, addmm, baddbmm
from torch.nn.functional import linear

from mooc_maml.meta.outer_products import OuterSum

# Up to so many rows times a weight matrix of at least so many, PyTorch's CPU product is up to four
# times faster the other way round, one row worst of all; measured on 1 to 16 rows, 100,000 courses.
_FEW, _TALL = 11, 10_000


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
        return add(d @ self.weight, self.own.apply_transposed(d))


def add(x: Tensor, y: Tensor | None) -> Tensor:
    """x + y in the memory of x, where None stands for 0."""
    return x if y is None else x.add_(y)


def _affine(u: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    rows = u.shape[0] * u.shape[1]
    if rows > _FEW or len(weight) < _TALL or u.device.type != "cpu":
        return linear(u, weight, bias)
    few = u.flatten(0, 1).expand(max(rows, 2), -1) if rows == 1 else u.flatten(0, 1)
    found = addmm(bias[:, None], weight, few.T)  # [out, rows]
    return found[:, :rows].T.contiguous().view(*u.shape[:2], -1)
