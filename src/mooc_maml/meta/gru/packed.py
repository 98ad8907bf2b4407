"""Ragged sessions of several tasks without padding: the layouts that the fast GRU works in.

Two orders of the same steps (a step is one course of one session) are used:

* packed [steps, ...]: by time, within a time by session, longest session first. The sessions that
  still run at time t are one contiguous slice, whose size never grows with t.
* grouped [tasks, n, ...]: the steps of each task side by side, n = the most that a task has; where
  a task has fewer, padding. Products with a task's own low-rank weights are batched over it.

Both may be padded to a `Profile`. A step that is padding is part of a scan like any other, but
nothing reads it: no gradient reaches it, and none leaves it.
"""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.gru.copying import Copied
from mooc_maml.meta.gru.pointer import Opened
from mooc_maml.meta.gru.profile import Profile


@dataclass(frozen=True)
class Packed:
    """Where each step and each pair of some `Examples` lies.

    Attributes:
        sizes: for every time t the number of running sessions, whose steps lie side by side.
        courses: int64 [tasks, n], grouped; 0 = padding.
        mask: [tasks, n, 1], 1 where a grouped place holds a step, else 0; None: all hold one.
        to_grouped: int64 [tasks * n], the packed place of each grouped one (any for padding).
        to_packed: int64 [steps], the grouped place of each packed one (any for padding).
        previous: int64 [steps - sessions], packed place of the step before, of all but the first.
        session_task: int64 [sessions], longest session first.
        pair_step: int64 [tasks * pairs], packed place of the last course of each pair's prefix.
        pair_weight: [tasks, pairs], 1 / (real pairs of the task), 0 for no pair.
        target: int64 [tasks, pairs, 1], label - 1, the column of the true course.
        left_out: two int64 [m], rows of [tasks * pairs, C] and columns of courses that are left out
            of the loss, never the true one; None: no course is.
        opened: courses opened before, for weights with a pointer whose scores are added.
        copied: the same for a pointer that is mixed with the head.
        real: [steps, 1], 1 where a packed place holds a step, else 0; None: all do.
    """

    sizes: list[int]
    courses: Tensor
    mask: Tensor | None
    to_grouped: Tensor
    to_packed: Tensor
    previous: Tensor
    session_task: Tensor
    pair_step: Tensor
    pair_weight: Tensor
    target: Tensor
    left_out: tuple[Tensor, Tensor] | None
    opened: Opened | None = None
    real: Tensor | None = None
    copied: Copied | None = None

    def group(self, x: Tensor) -> Tensor:
        """Packed [steps, d] -> grouped [tasks, n, d]; padding holds arbitrary finite values."""
        return x.index_select(0, self.to_grouped).view(*self.courses.shape, -1)

    def group_zero(self, x: Tensor) -> Tensor:
        """Packed [steps, d] -> grouped [tasks, n, d]; padding holds 0."""
        return self.group(x) if self.mask is None else self.group(x).mul_(self.mask)

    def pack(self, x: Tensor) -> Tensor:
        """Grouped [tasks, n, d] -> packed [steps, d]; padding holds arbitrary finite values."""
        return x.flatten(0, 1).index_select(0, self.to_packed)

    def pack_zero(self, x: Tensor) -> Tensor:
        """Grouped [tasks, n, d] -> packed [steps, d]; padding holds 0."""
        return self.only_real(self.pack(x))

    def only_real(self, x: Tensor) -> Tensor:
        """Packed [steps, d], 0 at padding; x itself where there is none."""
        return x if self.real is None else x * self.real

    def before(self, x: Tensor) -> Tensor:
        """Packed [steps, d] -> the values one step earlier in the same session, 0 at its first."""
        first = x.new_zeros(self.sizes[0], x.shape[1])
        return torch.cat([first, x.index_select(0, self.previous)])

    def split_before(self, x: Tensor) -> list[Tensor]:
        """Packed [steps, ...] -> for each time t > 0 the sessions that run then, at t - 1.

        Views, so that what is written there is written to x. At t = 0 stands an empty one.
        """
        times = x.split_with_sizes(self.sizes)
        later = zip(times, self.sizes[1:], strict=False)
        return [x[:0], *(y if y.shape[0] == size else y[:size] for y, size in later)]


def pack_examples(
    examples: Examples,
    device: torch.device,
    dtype: torch.dtype,
    left_out: Tensor | None = None,
    profile: Profile | None = None,
) -> Packed:
    """Work out the layouts; on the CPU, since the slices are needed as plain numbers.

    Args:
        examples: the sessions and pairs.
        device: where the result shall lie.
        dtype: of its masks and weights.
        left_out: see `SeenFilter.courses_out_of_loss`.
        profile: a shape to pad to, which fits the examples; None: no padding.
    """
    courses, row, position, label = (x.cpu() for x in examples[:4])
    tasks, rows, time = courses.shape
    lengths = (courses != 0).sum(2).flatten()
    order = torch.argsort(lengths, descending=True, stable=True)
    order = order[: int((lengths > 0).sum())]
    running = lengths[order][None, :] > torch.arange(time)[:, None]  # [time, sessions]
    sizes = [size for size in running.sum(1).tolist() if size]
    if profile is not None:
        sizes = list(profile.sizes)
    begin = torch.tensor([0, *accumulate(sizes)])  # of each time, in packed order
    step_time, step_rank = running.nonzero(as_tuple=True)
    step_place = begin[step_time] + step_rank
    place = torch.full((tasks * rows, time), -1)
    place[order[step_rank], step_time] = step_place
    in_task = place.view(tasks, rows * time)
    n = int((in_task >= 0).sum(1).max())
    # real places first: a stable sort of "is padding" keeps session and time order
    front = torch.argsort((in_task < 0).to(torch.uint8), dim=1, stable=True)[:, :n]
    grouped, own_courses = in_task.gather(1, front), courses.reshape(tasks, -1).gather(1, front)
    weight = (label > 0).to(dtype)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    pair_step = place.view(tasks, rows, time)[torch.arange(tasks)[:, None], row, position]
    session_task, real = order // rows, None
    if profile is not None:
        grouped = pad(grouped, (0, profile.n - n), value=-1)
        own_courses = pad(own_courses, (0, profile.n - n))
        weight, pair_step, label = (
            pad(x, (0, profile.pairs - x.shape[1])) for x in (weight, pair_step, label)
        )
        session_task = pad(session_task, (0, sizes[0] - len(order)))
        real = torch.zeros(int(begin[-1]), 1, dtype=dtype)
        real[step_place] = 1
    mask = grouped >= 0
    to_packed = torch.zeros(int(begin[-1]), dtype=torch.int64)
    to_packed[grouped[mask]] = mask.flatten().nonzero().squeeze(1)
    return Packed(
        sizes,
        own_courses.to(device),
        None if profile is None and bool(mask.all()) else mask.unsqueeze(2).to(device, dtype),
        grouped.clamp(min=0).flatten().to(device),
        to_packed.to(device),
        _previous(begin).to(device),
        session_task.to(device),
        pair_step.clamp(min=0).flatten().to(device),
        weight.to(device),
        (label - 1).clamp(min=0).unsqueeze(2).to(device),
        None if left_out is None else _places(left_out.to(device)),
        real=None if real is None else real.to(device),
    )


def _previous(begin: Tensor) -> Tensor:
    """Begin of each time, and the end -> packed place of the step before, of all but the first.

    A session keeps its rank, so its step before lies as much further back as its time is wide.
    """
    widths = begin.diff()
    later = torch.arange(int(begin[min(1, len(begin) - 1)]), int(begin[-1]))
    return later - widths[:-1].repeat_interleave(widths[1:])


def _places(courses: Tensor) -> tuple[Tensor, Tensor]:
    """Courses [tasks, pairs, n], 0 = padding -> rows and columns in [tasks * pairs, C]."""
    by_pair = courses.flatten(0, 1)
    pair, place = by_pair.nonzero(as_tuple=True)
    return pair, by_pair[pair, place] - 1
