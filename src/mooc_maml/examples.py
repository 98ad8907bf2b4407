"""The one batch type that models, engine, training and testing share."""

from typing import NamedTuple

import torch
from torch import Tensor


class Examples(NamedTuple):
    """Pairs (prefix -> next course) of several tasks, one task a learner.

    Pairs of one session whose prefixes are not cut share one row, since the state of a sequence
    model after course `position` of the row is the state of that prefix.

    Attributes:
        courses: int64 [tasks, rows, time], 0 = padding, on the right; no course later than needed.
        row: int64 [tasks, pairs], the row that the pair's prefix lies in.
        position: int64 [tasks, pairs], index of the prefix's last course in that row.
        label: int64 [tasks, pairs], the next course 1..C; 0 = no pair.
    """

    courses: Tensor
    row: Tensor
    position: Tensor
    label: Tensor

    def to(self, device: torch.device) -> "Examples":
        """The same examples on another device."""
        return Examples(*(x.to(device) for x in self))

    def tasks(self, start: int, end: int) -> "Examples":
        """The examples of tasks start..end-1, without the padding that only others need."""
        courses = self.courses[start:end]
        rows = max(1, int((courses != 0).any(2).sum(1).max()))
        time = max(1, int((courses != 0).sum(2).max()))
        rest = (x[start:end] for x in (self.row, self.position, self.label))
        return Examples(courses[:, :rows, :time], *rest)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return self.courses.shape[0]
