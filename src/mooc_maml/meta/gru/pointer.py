"""A pointer to courses that the learner has opened before: what it adds to the scores.

Learners come back to courses. A network of ordinary size learns which course follows which, and
hardly to repeat what the learner in front of it has opened. So, as in pointer networks (Vinyals,
Fortunato, Jaitly, NIPS 2015) and RepeatNet (Ren et al., AAAI 2019), a course that has been opened
gets a score of its own besides the head's,

    w . (1, log(1 + times opened), 0), or w . (0, 0, 1) for the current course,

with three weights w that are meta-learned and adapted like all others. A pair is told of its own
prefix and of other sessions: a query pair of those that the support pairs show, a support pair of
those before its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import last_courses, prefixes
from mooc_maml.episodes.shown_steps import shown_steps

SIZE = 3
NAME = "pointer.weight"  # of the matrix that the weights, "pointer.bias", would be the bias of


class Opened(NamedTuple):
    """Courses that have been opened, each once for each pair that is told of it.

    Attributes:
        task: int64 [m], the pair's task.
        pair: int64 [m], row of [tasks * pairs, C].
        column: int64 [m], course - 1.
        features: [m, 3], what the weights are multiplied by.
    """

    task: Tensor
    pair: Tensor
    column: Tensor
    features: Tensor

    def add_to(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Scores [tasks, pairs, C], in their memory, plus what weights [tasks, 3] give."""
        flat = scores.view(-1, scores.shape[2])
        flat[self.pair, self.column] += (self.features * weights[self.task]).sum(1)
        return scores

    def gradient(self, d: Tensor) -> Tensor:
        """What reaches the weights of each task, [tasks, 3], from that of the scores."""
        reaching = d.reshape(-1, d.shape[2])[self.pair, self.column]
        total = d.new_zeros(len(d), SIZE)
        return total.index_add_(0, self.task, self.features * reaching[:, None])


def opened(
    pairs: Examples, told: Examples | None, device: torch.device, dtype: torch.dtype
) -> Opened:
    """What each pair is told of.

    Args:
        pairs: those that are scored.
        told: support pairs before them; None: `pairs` are support pairs themselves.
    """
    found = known_courses(pairs, told)
    before = (~found.current).to(dtype)
    features = torch.stack([before, before * found.times.to(dtype).log1p(), 1 - before], 1)
    task = found.pair // max(pairs.label.shape[1], 1)
    return Opened(*(x.to(device) for x in (task, found.pair, found.course - 1, features)))


class Known(NamedTuple):
    """Courses that pairs know of as opened, each once for each pair: [m].

    Attributes:
        pair: int64, the pair, counted through all tasks.
        course: int64.
        times: int64, how often it has been opened.
        current: bool, whether it is the latest of the pair's prefix.
        previous: bool, whether it is the one before that, and another.
    """

    pair: Tensor
    course: Tensor
    times: Tensor
    current: Tensor
    previous: Tensor


def known_courses(pairs: Examples, told: Examples | None) -> Known:
    """What `opened` and `copied` say in features; arguments as there."""
    item, session = _shown(pairs if told is None else told)  # [tasks, n]
    own = pairs.session[..., None]
    other = session[:, None] < own if told is None else session[:, None] != own
    courses = torch.cat([prefixes(pairs), item[:, None].where(other, 0)], 2)  # [tasks, pairs, n]
    base = int(courses.max()) + 1 if courses.numel() else 1
    flat = courses.flatten(0, 1)
    keys = (torch.arange(len(flat), device=flat.device)[:, None] * base + flat)[flat > 0]
    key, times = keys.unique(return_counts=True)  # type: ignore[no-untyped-call]
    pair, course = key // base, key % base
    current = last_courses(pairs).flatten()[pair] == course
    earlier = pairs._replace(position=(pairs.position - 1).clamp(min=0))
    previous = (last_courses(earlier).flatten()[pair] == course) & ~current
    return Known(pair, course, times, current, previous)


def _shown(told: Examples) -> tuple[Tensor, Tensor]:
    """Courses that pairs show, int64 [tasks, n], 0 = none, and the session of each.

    Those of a session are its first course and what follows in each step.
    """
    steps = shown_steps(told)
    begins = (steps.position == 0) & (steps.label > 0)
    first = told.courses[..., 0].gather(1, steps.row).where(begins, 0)
    return torch.cat([first, steps.label], 1), torch.cat([steps.session, steps.session], 1)
