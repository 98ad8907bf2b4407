"""The one batch type that models, engine, training and testing share."""

from typing import NamedTuple

import numpy as np
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
        reliability: float [tasks], how much the sessions of the pairs tell, up to the last of each:
            the mean over the pairs of SRS (see `reliability`), 0 to 1; 0 without pairs.
        session: int64 [tasks, pairs], the pair's session: equal for two pairs of a learner, support
            or query, if and only if they lie in the same one.
        offset: int64 [tasks, pairs], steps of the session before the row's first course; above 0
            where the prefix is cut.
    """

    courses: Tensor
    row: Tensor
    position: Tensor
    label: Tensor
    reliability: Tensor
    session: Tensor
    offset: Tensor

    def to(self, device: torch.device) -> "Examples":
        """The same examples on another device."""
        return Examples(*(x.to(device) for x in self))

    def tasks(self, start: int, end: int) -> "Examples":
        """The examples of tasks start..end-1, without the padding that only others need."""
        courses = self.courses[start:end]
        rows = max(1, int((courses != 0).any(2).sum(1).max()))
        time = max(1, int((courses != 0).sum(2).max()))
        rest = (x[start:end] for x in self[1:])
        return Examples(courses[:, :rows, :time], *rest)

    def take(self, tasks: list[int]) -> "Examples":
        """The examples of these tasks, in this order, without padding that only others need."""
        return Examples(*(x[tasks] for x in self)).tasks(0, len(tasks))

    def pairs(self, start: int, end: int) -> "Examples":
        """Pairs start..end-1 of each task; the rows stay, and so does what only others need."""
        chosen = {name: getattr(self, name)[:, start:end] for name in _OF_PAIRS}
        return self._replace(**chosen)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return self.courses.shape[0]


_OF_PAIRS = ("row", "position", "label", "session", "offset")  # fields with a value a pair
SMALL, LARGE = 16, 100  # courses read: all tasks below share a group, and none above
# What a task costs by the courses that it reads, in the same unit; measured on one core.
_COURSES, _COST = (0, 16, 32, 50, 100, 700), (16, 16, 32, 100, 130, 450)


def courses_read(support: Examples, query: Examples) -> Tensor:
    """Courses that a model reads in each task: int64 [tasks]."""
    return (support.courses != 0).sum((1, 2)) + (query.courses != 0).sum((1, 2))


def costs(support: Examples, query: Examples) -> list[float]:
    """About how long each task takes; the unit is arbitrary."""
    read = courses_read(support, query).tolist()
    return [float(np.interp(courses, _COURSES, _COST)) for courses in read]


def costs_on(device: torch.device, support: Examples, query: Examples) -> list[float]:
    """What tasks cost on a device; elsewhere than on the CPU all alike, so that shapes repeat."""
    return costs(support, query) if device.type == "cpu" else [1.0] * support.num_tasks


def groups_on(
    device: torch.device, support: Examples, query: Examples, tasks: list[int], at_most: int
) -> list[list[int]]:
    """Put tasks in groups as suits a device: on the CPU by size, elsewhere in as few as may be.

    On a GPU the time of a group is that of launching its kernels, whose number does not depend on
    how many tasks there are. Where one group does not take them all, those of similar size are
    together.
    """
    if device.type == "cpu":
        return groups_by_size(support, query, tasks, at_most)
    counts = courses_read(support, query).tolist()
    ordered = sorted(tasks, key=lambda i: (counts[i], i))
    return [ordered[i : i + at_most] for i in range(0, len(ordered), at_most)]


def groups_by_size(
    support: Examples, query: Examples, tasks: list[int], at_most: int
) -> list[list[int]]:
    """Put tasks in groups of similar size, so that one long learner does not pad all the others.

    Within a group of at most `at_most` tasks the longest reads up to twice the courses of the
    shortest. Below `SMALL` the fixed cost of a group outweighs padding; above `LARGE` a task has so
    many rows that it is cheaper alone, with weights of its own (`Matrix`). Measured on 20
    meta-batches of the synthetic data, prefixes of up to 50, one second-order meta-gradient:
    0.20 s with groups from 32 and no limit above, 0.15 from 16, 0.12 with both.
    """
    counts = courses_read(support, query).clamp(min=SMALL).tolist()
    groups: list[list[int]] = []
    for task in sorted(tasks, key=lambda i: (counts[i], i)):
        last = groups[-1] if groups else []
        fits = last and counts[task] <= min(LARGE, 2 * counts[last[0]])
        if fits and len(last) < at_most:
            last.append(task)
        else:
            groups.append([task])
    return groups
