"""A pointer that is mixed with the head, rather than added to its scores: a law of its own.

Pointer-generator networks (See, Liu, Manning, ACL 2017) draw the next course from the head's law P
or, with probability g, from a law Q over the courses that the learner has opened:

    p = (1 - g) P + g Q,   g = sigmoid(a . (1, log(1 + courses opened))),
    Q = softmax of b . (log(1 + times opened), is the current one, is the one before it).

What is added to a course's score leaves a course that hardly anybody opens far down, however often
the learner has; what is mixed does not. The five weights a and b are meta-learned and adapted like
all others. A pair that knows of no opened course has g = 0. What a pair is told of is as in
`pointer`.

With r = (1 - g) P_t / p_t, the chance that the head has drawn the true course t, the loss -log p_t
has the gradients r (P - e_t) by the head's scores, (1 - r)(Q - e_t) by the pointer's, and
g - (1 - r) by the gate's; and the log-odds of r change by what log P_t - log Q_t - a . f does.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.gru.pointer import known_courses

GATE, SIZE = 2, 5  # weights of the gate; all weights


class Copied(NamedTuple):
    """Courses that may be copied, each once for each pair that knows of it.

    Attributes:
        pair: int64 [m], the pair, counted through all tasks.
        column: int64 [m], course - 1.
        features: [m, 3], of the course.
        gate: [pairs, 2], of the pair.
        task: int64 [pairs].
    """

    pair: Tensor
    column: Tensor
    features: Tensor
    gate: Tensor
    task: Tensor

    def laws(self, weights: Tensor) -> "Laws":
        """Gate and law of every pair under the weights of its task, [tasks, 5]."""
        own = weights[self.task]  # [pairs, 5]
        number = len(self.task)
        score = (self.features * own[self.pair, GATE:]).sum(1)
        none = torch.full_like(own[:, 0], -torch.inf)
        top = none.scatter_reduce(0, self.pair, score, "amax")
        total = torch.zeros_like(none).index_add_(0, self.pair, (score - top[self.pair]).exp())
        log_q = score - top[self.pair] - total.log()[self.pair]
        gate = (self.gate * own[:, :GATE]).sum(1)
        gate = gate.where(torch.bincount(self.pair, minlength=number) > 0, -torch.inf)
        return Laws(self, gate, log_q)


class Laws(NamedTuple):
    """See `Copied.laws`: log-odds of g [pairs], and log Q [m]."""

    copied: Copied
    gate: Tensor
    log_q: Tensor

    def mixed(self, scores: Tensor, left_out: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Scores of the head [tasks, pairs, C] -> log p.

        `left_out`: rows and columns that the head's law does not count. They get what the head
        gives them beside the others.
        """
        if left_out is None:
            log_p = scores.log_softmax(2)
        else:
            counted = scores.clone()
            counted.view(-1, scores.shape[2])[left_out] = -torch.inf
            log_p = scores - counted.logsumexp(2, keepdim=True)
        flat = log_p.view(-1, scores.shape[2])
        flat += logsigmoid(-self.gate)[:, None]
        pair, column = self.copied.pair, self.copied.column
        copied = logsigmoid(self.gate)[pair] + self.log_q
        flat[pair, column] = torch.logaddexp(flat[pair, column], copied)
        return log_p

    def at(self, log_head: Tensor, target: Tensor) -> "Mixed":
        """The loss at the true courses.

        Args:
            log_head: log P_t [pairs].
            target: int64 [pairs], their columns.
        """
        pair, column = self.copied.pair, self.copied.column
        hit = column == target[pair]
        log_q = torch.full_like(log_head, -torch.inf)
        log_q[pair[hit]] = self.log_q[hit]
        from_head = log_head + logsigmoid(-self.gate)
        log_p = torch.logaddexp(from_head, log_q + logsigmoid(self.gate))
        return Mixed(self.copied, self.gate.sigmoid(), self.log_q.exp(), hit, log_p, from_head)


class Mixed(NamedTuple):
    """The loss of the mixture, and what its derivatives need.

    Attributes:
        copied: the courses.
        g: [pairs].
        q: [m].
        hit: bool [m], whether the course is the true one.
        log_p: [pairs], log p_t.
        from_head: [pairs], log (1 - g) P_t.
    """

    copied: Copied
    g: Tensor
    q: Tensor
    hit: Tensor
    log_p: Tensor
    from_head: Tensor

    @property
    def share(self) -> Tensor:
        """The chance r that the head has drawn the true course: [pairs]."""
        return (self.from_head - self.log_p).exp()

    def gradient(self, weight: Tensor) -> Tensor:
        """By the weights of each task, [tasks, 5], of losses that count so much, [tasks, pairs]."""
        rest = 1 - self.share
        off = self.q - self.hit.to(self.q)
        return self._to_weights(self.g - rest, rest[self.copied.pair] * off, weight)

    def tangent(
        self, t_head: Tensor, direction: Tensor | None, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where log P_t moves by t_head [pairs] and the weights by a direction [tasks, 5].

        Returns:
            How r moves, [pairs], and how `gradient` does, [tasks, 5].
        """
        copied, pair, r = self.copied, self.copied.pair, self.share
        own = t_head.new_zeros(len(copied.task), SIZE)
        if direction is not None:
            own = direction[copied.task]
        t_gate = (copied.gate * own[:, :GATE]).sum(1)
        t_score = (copied.features * own[pair, GATE:]).sum(1)
        mean = torch.zeros_like(r).index_add_(0, pair, self.q * t_score)
        t_log_q = torch.zeros_like(r)
        t_log_q[pair[self.hit]] = t_score[self.hit]
        t_r = r * (1 - r) * (t_head - t_log_q + mean - t_gate)
        t_q = self.q * (t_score - mean[pair])
        t_scores = (1 - r)[pair] * t_q - t_r[pair] * (self.q - self.hit.to(self.q))
        return t_r, self._to_weights(self.g * (1 - self.g) * t_gate + t_r, t_scores, weight)

    def _to_weights(self, gate: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
        """What reaches the weights, [tasks, 5], from gates [pairs] and scores [m]."""
        copied, total = self.copied, gate.new_zeros(len(weight), SIZE)
        counts = weight.flatten()
        own = copied.gate * (gate * counts)[:, None]
        total[:, :GATE].index_add_(0, copied.task, own)
        own = copied.features * (scores * counts[copied.pair])[:, None]
        total[:, GATE:].index_add_(0, copied.task[copied.pair], own)
        return total


def copied(
    pairs: Examples,
    told: Examples | None,
    device: torch.device,
    dtype: torch.dtype,
    left_out: Tensor | None = None,
) -> Copied:
    """What each pair may copy.

    Args:
        pairs: those that are scored.
        told: support pairs before them; None: `pairs` are support pairs themselves.
        device: of the result.
        dtype: of the result.
        left_out: int64 [tasks, pairs, n], courses that are not to be copied, 0 = none.
    """
    found, number = known_courses(pairs, told), pairs.label.numel()
    if left_out is not None:
        out = left_out.flatten(0, 1).to(found.course)
        kept = ~(out[found.pair] == found.course[:, None]).any(1)
        found = type(found)(*(x[kept] for x in found))
    features = [found.times.to(dtype).log1p(), found.current.to(dtype), found.previous.to(dtype)]
    counted = torch.bincount(found.pair, minlength=number).to(dtype)
    gate = torch.stack([torch.ones_like(counted), counted.log1p()], 1)
    task = torch.arange(number, device=gate.device) // max(pairs.label.shape[1], 1)
    parts = (found.pair, found.course - 1, torch.stack(features, 1), gate, task)
    return Copied(*(x.to(device) for x in parts))
