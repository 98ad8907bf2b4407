"""What a set of baselines says of every course, as numbers that a mixture can weigh."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.sequence import SequenceBaseline
from mooc_maml.episodes.examples import Examples
from mooc_maml.ranking.seen import TakenCourses

_LEAST = 1e-5  # added to probabilities, so that a part that excludes a course does not decide alone
_USUAL_LENGTH = 2.0  # logarithm of a prefix's length from which lengths are counted
CONTEXT = ("level", "length", "told")  # what a part's weight depends on


class Evidence(NamedTuple):
    """Pairs of several tasks, as a mixture sees them.

    Attributes:
        log_p: float [tasks, pairs, C, E], logarithms of the probabilities of each of the parts and,
            last, of their mean; low for courses that cannot come.
        context: float [tasks, pairs, 3], by `CONTEXT`: 1; logarithm of the courses in the prefix, 0
            at e^2; logarithm of 1 + the support pairs that the parts were told of.
        is_out: bool [tasks, pairs, C], courses that the loss leaves out; never the pair's own.
        target: int64 [tasks, pairs], index of the next course, 0..C-1.
    """

    log_p: Tensor
    context: Tensor
    is_out: Tensor
    target: Tensor


Said = dict[str, Tensor]  # part -> probabilities, float [tasks, pairs, C]


def said_of(
    parts: Mapping[str, Baseline], support: Examples, query: Examples, known: Said | None = None
) -> Said:
    """What each part says of query pairs, told of the support pairs.

    `known`: what they said of the same pairs, told of others; it stays where that does not matter.
    """
    return {
        name: known[name]
        if known is not None and not part.reads_support
        else _probabilities(part, support, query)
        for name, part in parts.items()
    }


def evidence_of(said: Said, taken: TakenCourses, support: Examples, query: Examples) -> Evidence:
    """As a mixture sees it; `support` and `query` are those that the parts were told of."""
    each, is_taken = of_the_rest(said, taken, support, query)
    log_p = torch.stack([*each, torch.stack(each).mean(0)], -1).add(_LEAST).log()
    target = (query.label - 1).clamp(min=0)
    length = (query.position + 1).to(log_p.dtype).log() - _USUAL_LENGTH
    told = torch.full_like(length, support.label.shape[1]).log1p()
    context = torch.stack([torch.ones_like(length), length, told], -1)
    return Evidence(log_p, context, is_taken.scatter(2, target[..., None], False), target)


def of_the_rest(
    said: Said, taken: TakenCourses, support: Examples, query: Examples
) -> tuple[list[Tensor], Tensor]:
    """Each part's probabilities among the courses that are not left out; and which are left out.

    Returns:
        float [tasks, pairs, C] for each part, with sum 1 (0 if a part leaves nothing), and bool
        [tasks, pairs, C].
    """
    is_taken = taken.marks(query, support, next(iter(said.values())).shape[-1])
    each = [p.masked_fill(is_taken, 0) for p in said.values()]
    least = torch.finfo(torch.float32).tiny
    return [p / p.sum(-1, keepdim=True).clamp(min=least) for p in each], is_taken


def support_evidence(
    parts: Mapping[str, Baseline], taken: TakenCourses, support: Examples
) -> Evidence:
    """What the parts say of each support pair, told of those before it and of nothing later."""
    blind = {name: part for name, part in parts.items() if not part.reads_support}
    whole, found = said_of(blind, first(support, 0), support), []
    for number in range(support.label.shape[1]):
        told, pair = first(support, number), _only(support, number)
        known = {name: p[:, number : number + 1] for name, p in whole.items()}
        found.append(evidence_of(said_of(parts, told, pair, known), taken, told, pair))
    return Evidence(*(torch.cat(of_pairs, 1) for of_pairs in zip(*found, strict=True)))


def first(examples: Examples, number: int) -> Examples:
    """The first pairs of each task, their rows no longer than these pairs need."""
    courses = examples.courses
    row, position, label = (x[:, :number] for x in examples[1:4])
    needed = torch.zeros(courses.shape[:2], dtype=torch.int64, device=courses.device)
    needed = needed.scatter_reduce(1, row, position + 1, "amax")  # [tasks, rows]
    step = torch.arange(courses.shape[2], device=courses.device)
    shown = courses * (step < needed[..., None])
    return examples._replace(courses=shown, row=row, position=position, label=label)


def _only(examples: Examples, number: int) -> Examples:
    """Pair `number` of each task alone, in a row that ends with its prefix."""
    shown = first(examples, number + 1)
    row, position, label = (x[:, number:] for x in shown[1:4])
    task = torch.arange(examples.num_tasks, device=row.device)[:, None]
    step = torch.arange(shown.courses.shape[2], device=row.device)
    courses = shown.courses[task, row] * (step <= position[..., None])
    own = torch.zeros_like(row)
    return examples._replace(courses=courses, row=own, position=position, label=label)


def _probabilities(part: Baseline, support: Examples, query: Examples) -> Tensor:
    """Those of one part, or what stands for them: float32 [tasks, Q, C], not negative."""
    scores = part.scores(support, query)
    if isinstance(part, SequenceBaseline):  # these are logarithms
        return scores.softmax(-1).float()
    positive = scores.clamp(min=0).double()
    return (positive / positive.sum(-1, keepdim=True).clamp(min=1e-300)).float()
