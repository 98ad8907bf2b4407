"""Second-order MAML by other ways: the study's loop, the library `higher`, and `vmap`.

Every way is one function (`MetaGradient`) from the same weights and the same examples to the same
meta-gradient. Weights are named as torch names them: embedding.weight [C + 1, E] (row 0 = padding),
gru.weight_ih_l0 [3H, E], gru.weight_hh_l0 [3H, H], gru.bias_ih_l0 and gru.bias_hh_l0 [3H],
head.weight [C, H], head.bias [C]; row j of the head is course j + 1. None of them shares code with
`mooc_maml.meta`, so that their agreement with it is evidence.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol, cast

import higher
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mooc_maml.episodes.examples import Examples

Weights = Mapping[str, Tensor]
Prefixes = tuple[Tensor, Tensor, Tensor]  # courses, last, label; see `prefix_rows`


class MetaGradient(Protocol):
    """One way to the meta-gradient."""

    def __call__(
        self,
        weights: Weights,
        support: Examples,
        query: Examples,
        *,
        lr: float,
        steps: int,
        second_order: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Adapt to each task on its support pairs, and differentiate the query loss after that.

        Args:
            weights: the initial weights, by name; left as they are.
            support: pairs to adapt on.
            query: pairs to be judged on, of the same tasks.
            lr: alpha of theta <- theta - alpha * gradient of the mean support cross-entropy.
            steps: how often that is done.
            second_order: false takes the inner gradients as constants (first-order MAML).

        Returns:
            The mean over tasks of the mean query cross-entropy, and its gradient with respect to
            `weights`, by name.
        """
        ...


def longest_prefix(*batches: Examples) -> int:
    """Courses in the longest prefix of any pair."""
    return max(int(batch.position[batch.label != 0].max()) + 1 for batch in batches)


def prefix_rows(examples: Examples, width: int) -> Prefixes:
    """Give each pair a right-padded row of its own, as the study does.

    Args:
        examples: pairs that may share rows.
        width: courses a row; at least the longest prefix.

    Returns:
        courses int64 [tasks, pairs, width], 0 = padding; last int64 [tasks, pairs], index of the
        prefix's last course; label int64 [tasks, pairs], 1..C, 0 = no pair.
    """
    courses = F.pad(examples.courses, (0, max(0, width - examples.courses.shape[2])))[..., :width]
    index = examples.row.unsqueeze(2).expand(-1, -1, width)
    own = courses.gather(1, index)  # [tasks, pairs, width]
    time = torch.arange(width, device=own.device)
    inside = (time <= examples.position.unsqueeze(2)) & (examples.label != 0).unsqueeze(2)
    last = examples.position * (examples.label != 0)
    return own * inside, last, examples.label


def study_loop(
    weights: Weights,
    support: Examples,
    query: Examples,
    *,
    lr: float,
    steps: int,
    second_order: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The study's way: a task at a time, plain autograd, the graph kept through the inner loop."""
    width = longest_prefix(support, query)
    start = OrderedDict((name, x.detach().requires_grad_()) for name, x in weights.items())
    supports, queries = prefix_rows(support, width), prefix_rows(query, width)
    meta_loss = torch.zeros_like(weights["head.bias"][0])
    for task in range(support.num_tasks):
        fast = start
        for _ in range(steps):
            courses, last, label = _of_task(supports, task)
            loss = _loss(_cell_by_cell(fast, courses, last), label)
            steps_down = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            moved = zip(fast.items(), steps_down, strict=True)
            fast = OrderedDict((name, x - lr * step) for (name, x), step in moved)
        courses, last, label = _of_task(queries, task)
        loss = _loss(_cell_by_cell(fast, courses, last), label) / support.num_tasks
        loss.backward()  # type: ignore[no-untyped-call]  # a task's graph goes before the next one
        meta_loss += loss.detach()
    return meta_loss, {name: cast(Tensor, x.grad) for name, x in start.items()}


def with_higher(
    weights: Weights,
    support: Examples,
    query: Examples,
    *,
    lr: float,
    steps: int,
    second_order: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The library `higher` around torch's own GRU (Grefenstette et al., arXiv:1910.01727).

    A task's graph is freed before the next task. cuDNN's GRU has no second derivative, so it is
    switched off for second-order.
    """
    width = longest_prefix(support, query)
    supports, queries = prefix_rows(support, width), prefix_rows(query, width)
    model = _Recommender(weights)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    meta_loss = torch.zeros_like(weights["head.bias"][0])
    for task in range(support.num_tasks):
        with (
            torch.backends.cudnn.flags(enabled=not second_order),
            higher.innerloop_ctx(
                model, optimizer, copy_initial_weights=False, track_higher_grads=second_order
            ) as (fast, descent),
        ):
            for _ in range(steps):
                courses, last, label = _of_task(supports, task)
                descent.step(_loss(fast(courses, last), label))
            courses, last, label = _of_task(queries, task)
            loss = _loss(fast(courses, last), label) / support.num_tasks
            _backward(loss, model, fast, second_order)
        meta_loss += loss.detach()
    gradient = {name: cast(Tensor, x.grad) for name, x in model.named_parameters()}
    return meta_loss, gradient


def with_vmap(
    weights: Weights,
    support: Examples,
    query: Examples,
    *,
    lr: float,
    steps: int,
    second_order: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """`torch.func`: `grad` in the inner loop, `vmap` over tasks, `grad` of the mean around both."""
    width = longest_prefix(support, query)
    supports, queries = prefix_rows(support, width), prefix_rows(query, width)

    def task_loss(start: dict[str, Tensor], own_support: Prefixes, own_query: Prefixes) -> Tensor:
        fast = start
        for _ in range(steps):
            step = torch.func.grad(_prefix_loss)(fast, *own_support)
            if not second_order:
                step = {name: x.detach() for name, x in step.items()}
            fast = {name: x - lr * step[name] for name, x in fast.items()}
        return _prefix_loss(fast, *own_query)

    def meta_loss(start: dict[str, Tensor]) -> Tensor:
        over_tasks = torch.func.vmap(task_loss, in_dims=(None, 0, 0))
        return over_tasks(start, supports, queries).mean()

    gradient, loss = torch.func.grad_and_value(meta_loss)(
        {name: x.detach() for name, x in weights.items()}
    )
    return loss, gradient


class _Recommender(nn.Module):
    """Embedding, GRU and head as torch's own modules, holding copies of `weights`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        rows, embedding_dim = weights["embedding.weight"].shape
        hidden_dim = weights["gru.weight_hh_l0"].shape[1]
        self.embedding = nn.Embedding(rows, embedding_dim)
        self.gru = nn.GRU(embedding_dim, hidden_dim, batch_first=True)
        self.head = nn.Linear(hidden_dim, rows - 1)
        self.to(weights["head.bias"])  # its device and its type of numbers
        self.load_state_dict(dict(weights))

    def forward(self, courses: Tensor, last: Tensor) -> Tensor:
        """Scores [pairs, C] of courses [pairs, width] read at `last` [pairs]."""
        hidden, _ = self.gru(self.embedding(courses))
        return cast(Tensor, self.head(_at(hidden, last)))


def _backward(loss: Tensor, model: nn.Module, fast: nn.Module, second_order: bool) -> None:
    """Add the loss's gradient to `model`; without tracking `higher` leaves it on the fast weights.

    First-order MAML's meta-gradient is the gradient at the adapted weights.
    """
    if second_order:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    adapted = list(fast.parameters())
    gradient = torch.autograd.grad(loss, adapted)
    for parameter, step in zip(model.parameters(), gradient, strict=True):
        parameter.grad = step if parameter.grad is None else parameter.grad + step


def _cell_by_cell(weights: Weights, courses: Tensor, last: Tensor) -> Tensor:
    """Scores [pairs, C] by one whole GRU cell a time step (torch's `GRU` documents the gates)."""
    embedded = F.embedding(courses, weights["embedding.weight"])  # [pairs, width, E]
    hidden = embedded.new_zeros(len(courses), weights["gru.weight_hh_l0"].shape[1])
    states = []
    for x in embedded.unbind(1):
        from_input = F.linear(x, weights["gru.weight_ih_l0"], weights["gru.bias_ih_l0"])
        hidden = _gates(weights, from_input, hidden)
        states.append(hidden)
    return F.linear(_at(torch.stack(states, 1), last), weights["head.weight"], weights["head.bias"])


def _prefix_loss(weights: Weights, courses: Tensor, last: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy; the cells' share of the inputs is computed for all times at once."""
    embedded = F.embedding(courses, weights["embedding.weight"])  # [pairs, width, E]
    from_inputs = F.linear(embedded, weights["gru.weight_ih_l0"], weights["gru.bias_ih_l0"])
    hidden = embedded.new_zeros(len(courses), weights["gru.weight_hh_l0"].shape[1])
    states = []
    for from_input in from_inputs.unbind(1):
        hidden = _gates(weights, from_input, hidden)
        states.append(hidden)
    read = _at(torch.stack(states, 1), last)
    return _loss(F.linear(read, weights["head.weight"], weights["head.bias"]), label)


def _gates(weights: Weights, from_input: Tensor, hidden: Tensor) -> Tensor:
    """The next hidden state [pairs, H] from W_ih x + b_ih [pairs, 3H] and the present one."""
    from_hidden = F.linear(hidden, weights["gru.weight_hh_l0"], weights["gru.bias_hh_l0"])
    input_r, input_z, input_n = from_input.chunk(3, -1)
    hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, -1)
    reset = torch.sigmoid(input_r + hidden_r)
    update = torch.sigmoid(input_z + hidden_z)
    new = torch.tanh(input_n + reset * hidden_n)
    return (1 - update) * new + update * hidden


def _at(states: Tensor, last: Tensor) -> Tensor:
    """States [pairs, width, H] at index `last` [pairs] of each row: [pairs, H]."""
    index = last[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, index).squeeze(1)


def _loss(scores: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy over the real pairs; scores [pairs, C], label [pairs] 1..C or 0."""
    return F.cross_entropy(scores, label - 1, ignore_index=-1)


def _of_task(prefixes: Prefixes, task: int) -> Prefixes:
    """One task's prefixes, without the leading axis."""
    courses, last, label = prefixes
    return courses[task], last[task], label[task]
