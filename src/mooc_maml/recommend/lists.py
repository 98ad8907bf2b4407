"""From scores to lists: who is left out, what comes first, and where it stood before."""

from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.ranking.query_ranks import first_courses

_CELLS = 1_000_000  # compared together; bounds memory


class TopLists(NamedTuple):
    """The first courses of several learners.

    Attributes:
        courses: int64 [tasks, n], courses 1..C, best first.
        scores: float64 [tasks, n]; -inf: no course is left for this place.
        places: int64 [tasks, n], where the courses stand in the list before, from 1.
    """

    courses: Tensor
    scores: Tensor
    places: Tensor


def top_lists(scores: Tensor, before: Tensor | None, left_out: Tensor | None, top: int) -> TopLists:
    """The best courses that are not left out; equals stand in the order of their numbers.

    Args:
        scores: [tasks, C]; a score that is not a number counts as worst.
        before: the same of the list before; None: this is that list.
        left_out: bool [tasks, C] or [1, C]; None: none is.
        top: courses wanted.
    """
    own = _masked(scores, left_out)
    last = torch.full((len(own),), own.shape[1])  # no course that is known to be the true one
    courses = first_courses(own, last, top)
    if before is None:
        places = torch.arange(1, courses.shape[1] + 1).expand_as(courses)
    else:
        places = _places(_masked(before, left_out), courses)
    return TopLists(courses, own.gather(1, courses - 1).double(), places)


def _masked(scores: Tensor, left_out: Tensor | None) -> Tensor:
    if not scores.is_floating_point():
        scores = scores.double()
    scores = scores.nan_to_num(-torch.inf, torch.inf, -torch.inf)
    return scores if left_out is None else scores.masked_fill(left_out, -torch.inf)


def _places(scores: Tensor, courses: Tensor) -> Tensor:
    """Places [tasks, n] of courses [tasks, n] in the order of scores [tasks, C]."""
    at_once = max(1, _CELLS // scores.numel())
    number = torch.arange(1, scores.shape[1] + 1)
    whole = scores[:, None]  # [tasks, 1, C]
    found = []
    for own in torch.split(courses, at_once, dim=1):
        score = scores.gather(1, own - 1)[..., None]  # [tasks, at_once, 1]
        ahead = (whole > score) | ((whole == score) & (number < own[..., None]))
        found.append(1 + ahead.sum(2))
    return torch.cat(found, 1)
