"""What a model is adapted to: losses of one task as functions of (weights, examples)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.inner import Weights


class Pairs(NamedTuple):
    """Examples as a cross-entropy reads them; of one task, without the first axis.

    Attributes:
        courses: int64 [tasks, rows, time], 0 = padding, on the right.
        row: int64 [tasks, pairs], the row that the pair's prefix lies in.
        position: int64 [tasks, pairs], index of the prefix's last course in that row.
        target: int64 [tasks, pairs], the column of the next course; any where there is no pair.
        weight: [tasks, pairs], 1 / (real pairs of the task), 0 for no pair.
        left_out: bool [tasks, pairs, C], courses that the loss does not count, never the target;
            [tasks, pairs, 1] and false where there are none at all.
    """

    courses: Tensor
    row: Tensor
    position: Tensor
    target: Tensor
    weight: Tensor
    left_out: Tensor


TaskLoss = Callable[[Weights, Pairs], Tensor]


def pairs_of(
    examples: Examples, dtype: torch.dtype, num_courses: int, left_out: Tensor | None = None
) -> Pairs:
    """Examples and courses left out, int64 [tasks, pairs, n] with 0 = padding -> `Pairs`."""
    courses, row, position, label = examples[:4]
    real = (label > 0).to(dtype)
    weight = real / real.sum(1, keepdim=True).clamp(min=1)
    columns = 1 if left_out is None else num_courses + 1  # with one for padding
    marked = torch.zeros(*label.shape, columns, dtype=torch.bool, device=label.device)
    if left_out is not None:
        marked = marked.scatter_(2, left_out, True)[..., 1:]
    return Pairs(courses, row, position, (label - 1).clamp(min=0), weight, marked)


def recommender_loss(module: nn.Module) -> TaskLoss:
    """Cross-entropy of the next course, for `DenseTaskModel`.

    Args:
        module: called as module(courses [rows, time], row [pairs], position [pairs]), it returns
            scores [pairs, C], column j for course j + 1. Its own weights are not used.

    Returns:
        (weights by name, the pairs of one task) -> mean over the real pairs; 0 for a task without
        any.
    """

    def task_loss(weights: Weights, pairs: Pairs) -> Tensor:
        scores: Tensor = functional_call(module, weights, tuple(pairs[:3]))
        scores = scores.masked_fill(pairs.left_out, -torch.inf)
        log_p = scores.log_softmax(1).gather(1, pairs.target.unsqueeze(1)).squeeze(1)  # [pairs]
        return -(log_p * pairs.weight).sum()

    return task_loss
