"""What a set of baselines says of every course, as numbers that a mixture can weigh."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.baselines.base import Baseline
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes
from mooc_maml.ranking.seen import SeenFilter

_LEAST = 1e-5  # added to probabilities, so that a part that excludes a course does not decide alone
_USUAL_LENGTH = 2.0  # logarithm of a prefix's length from which lengths are counted
CONTEXT = ("level", "length", "told")  # what a part's weight depends on


class Features(NamedTuple):
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


PartScores = dict[str, Tensor]  # part -> probabilities, float [tasks, pairs, C]


def part_scores(
    parts: Mapping[str, Baseline],
    support: Examples,
    query: Examples,
    known: PartScores | None = None,
) -> PartScores:
    """What each part says of query pairs, told of the support pairs.

    `known`: their scores of the same pairs, told of others; these stay where that
    does not matter.
    """
    return {
        name: known[name]
        if known is not None and not part.reads_support
        else _probabilities(part, support, query)
        for name, part in parts.items()
    }


def features_of(
    of_parts: PartScores, seen: SeenFilter, support: Examples, query: Examples
) -> Features:
    """As a mixture sees it; `support` and `query` are those that the parts were told of."""
    each, is_seen = of_the_rest(of_parts, seen, support, query)
    log_p = torch.stack([*each, torch.stack(each).mean(0)], -1).add(_LEAST).log()
    target = (query.label - 1).clamp(min=0)
    length = (query.position + 1).to(log_p.dtype).log() - _USUAL_LENGTH
    told = torch.full_like(length, support.label.shape[1]).log1p()
    context = torch.stack([torch.ones_like(length), length, told], -1)
    return Features(log_p, context, is_seen.scatter(2, target[..., None], False), target)


def of_the_rest(
    of_parts: PartScores, seen: SeenFilter, support: Examples, query: Examples
) -> tuple[list[Tensor], Tensor]:
    """Each part's probabilities among the courses that are not left out; and which are left out.

    Returns:
        float [tasks, pairs, C] for each part, with sum 1 (0 if a part leaves nothing), and bool
        [tasks, pairs, C].
    """
    is_seen = seen.marks(query, support, next(iter(of_parts.values())).shape[-1])
    each = [p.masked_fill(is_seen, 0) for p in of_parts.values()]
    least = torch.finfo(torch.float32).tiny
    return [p / p.sum(-1, keepdim=True).clamp(min=least) for p in each], is_seen


def support_features(
    parts: Mapping[str, Baseline], seen: SeenFilter, support: Examples
) -> Features:
    """What the parts say of each support pair, told of those before it and of nothing later."""
    blind = {name: part for name, part in parts.items() if not part.reads_support}
    whole, found = part_scores(blind, first(support, 0), support), []
    for number in range(support.label.shape[1]):
        told, pair = first(support, number), _only(support, number)
        known = {name: p[:, number : number + 1] for name, p in whole.items()}
        found.append(features_of(part_scores(parts, told, pair, known), seen, told, pair))
    return Features(*(torch.cat(of_pairs, 1) for of_pairs in zip(*found, strict=True)))


def first(examples: Examples, number: int) -> Examples:
    """The first pairs of each task, their rows no longer than these pairs need."""
    courses, chosen = examples.courses, examples.pairs(0, number)
    needed = torch.zeros(courses.shape[:2], dtype=torch.int64, device=courses.device)
    needed = needed.scatter_reduce(1, chosen.row, chosen.position + 1, "amax")  # [tasks, rows]
    step = torch.arange(courses.shape[2], device=courses.device)
    return chosen._replace(courses=courses * (step < needed[..., None]))


def _only(examples: Examples, number: int) -> Examples:
    """Pair `number` of each task alone, in a row that ends with its prefix."""
    shown = first(examples, number + 1)
    pair = shown.pairs(number, number + 1)
    return pair._replace(courses=prefixes(pair), row=torch.zeros_like(pair.row))


def _probabilities(part: Baseline, support: Examples, query: Examples) -> Tensor:
    """Those of one part, or what stands for them: float32 [tasks, Q, C], not negative."""
    scores = part.scores(support, query)
    if part.law == "logits":
        return scores.softmax(-1).float()
    positive = scores.clamp(min=0).double()
    return (positive / positive.sum(-1, keepdim=True).clamp(min=1e-300)).float()
