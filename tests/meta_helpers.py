"""Tasks written as pairs, and a plain reference for their meta-gradient.

A pair is (prefix, next course); a task is a list of pairs. The reference reads every prefix in a
pass of its own and keeps the whole graph, so it shares neither rows nor rules with the engine.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.models.gru import GRURecommender

Pair = tuple[list[int], int]
Left = tuple[list[int], int, set[int]]
Weights = dict[str, Tensor]


def pairs_of(session: Sequence[int], longest: int = 50) -> list[Pair]:
    """Every step but the first, predicted from the (at most `longest`) steps before it."""
    return [
        (list(session[max(0, end - longest) : end]), session[end]) for end in range(1, len(session))
    ]


def assemble(tasks: Sequence[Sequence[Pair]]) -> Examples:
    """A prefix that continues the row before it shares that row; all else is padded with 0."""
    rows: list[list[list[int]]] = [[] for _ in tasks]
    places: list[list[tuple[int, int, int]]] = [[] for _ in tasks]
    for own, place, task in zip(rows, places, tasks, strict=True):
        for prefix, label in task:
            if own and prefix[: len(own[-1])] == own[-1]:
                own[-1] = prefix
            else:
                own.append(prefix)
            place.append((len(own) - 1, len(prefix) - 1, label))
    height, time = max(map(len, rows)), max(len(row) for own in rows for row in own)
    courses = torch.zeros(len(tasks), height, time, dtype=torch.int64)
    pairs = torch.zeros(len(tasks), max(map(len, tasks)), 3, dtype=torch.int64)
    for task, (own, place) in enumerate(zip(rows, places, strict=True)):
        for index, row in enumerate(own):
            courses[task, index, : len(row)] = torch.tensor(row)
        pairs[task, : len(place)] = torch.tensor(place)
    return Examples(courses, *pairs.unbind(2), torch.ones(len(tasks)))


def left_out(pairs: Sequence[Pair], shown: Sequence[Pair] = ()) -> list[Left]:
    """Pairs with what is left out of their loss: their own prefix and all that `shown` shows."""
    before = {course for prefix, label in shown for course in (*prefix, label)}
    return [(prefix, label, ({*prefix} | before) - {label}) for prefix, label in pairs]


def gru_weights(
    courses: int, layers: int = 1, dtype: torch.dtype = torch.float64, seed: int = 1
) -> Weights:
    """Embedding of 3, GRU of 4; biases and gates are large enough to matter."""
    draw = torch_generator(seed, "test-meta-weights")
    model = GRURecommender(courses, 3, 4, layers, generator=draw)
    return {name: 1.5 * x.to(dtype) for name, x in model.state_dict().items()}


def gru_pair_scores(model: GRURecommender, examples: Examples) -> Tensor:
    """Scores of every pair of every task by torch's own GRU: float [tasks, pairs, C]."""
    hidden = model.hidden(examples.courses)  # [tasks, rows, time, H]
    task = torch.arange(examples.num_tasks, device=hidden.device)[:, None]
    return model.scores(hidden[task, examples.row, examples.position])


def gru_loss(weights: Weights, pairs: Sequence[Any]) -> Tensor:
    """Mean cross-entropy of one task by torch's own GRU, a prefix at a time.

    A pair may have a third part: courses that are left out.
    """
    layers = sum("weight_ih" in name for name in weights)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [weights[f"gru.{kind}_l{layer}"] for layer in range(layers) for kind in kinds]
    losses = []
    for prefix, label, *left_out in pairs:
        x = weights["embedding.weight"][torch.tensor([prefix])]
        start = x.new_zeros(layers, 1, weights["head.weight"].shape[1])
        states, _ = torch.gru(x, start, parameters, True, layers, 0.0, False, False, True)
        scores = weights["head.weight"] @ states[0, -1] + weights["head.bias"]
        ranked = [c for c in range(len(scores)) if not left_out or c + 1 not in left_out[0]]
        losses.append(torch.logsumexp(scores[ranked], 0) - scores[label - 1])
    return torch.stack(losses).mean()


def by_autograd(
    task_loss: Callable[[Weights, Any], Tensor],
    weights: Weights,
    support: Sequence[Any],
    query: Sequence[Any],
    *,
    steps: int,
    inner_lr: float,
    second_order: bool,
) -> tuple[Tensor, Weights]:
    """MAML as it is written down: query losses [tasks], and the gradient of their sum."""
    start = {name: x.detach().clone().requires_grad_() for name, x in weights.items()}
    losses = []
    for own_support, own_query in zip(support, query, strict=True):
        fast = start
        for _ in range(steps):
            loss = task_loss(fast, own_support)
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            moved = zip(fast.items(), slopes, strict=True)
            fast = {name: x - inner_lr * slope for (name, x), slope in moved}
        losses.append(task_loss(fast, own_query))
    total = torch.stack(losses).sum()
    gradient = torch.autograd.grad(total, list(start.values()))
    return torch.stack(losses).detach(), dict(zip(start, gradient, strict=True))
