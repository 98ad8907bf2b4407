"""The pointer to courses opened before: what it is told of, and that its gradient is exact."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from meta_helpers import Pair, Weights, assemble, gru_loss, gru_weights
from torch import Tensor
from training_helpers import CPU, STORE, run, same_weights, tiny_params, tiny_trainer

from benchmarks.ways import relative_error
from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.pointer import opened
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.meta.run import check_settings
from mooc_maml.ranking.seen import NONE_LEFT_OUT

COURSES, LR, STEPS = 7, 0.3, 2
# Sessions as they begin: 0 (1 2 3 2 ...) and 1 (5 1 ...), then in the query session 2 and 0 again.
SUPPORT: list[list[Pair]] = [
    [([1, 2, 3], 2), ([5], 1)],
    [([4], 6)],
]
QUERY: list[list[Pair]] = [
    [([7, 1], 2)],
    [([6, 4], 6)],
]


def sessions(examples: Examples, numbers: list[list[int]]) -> Examples:
    return examples._replace(session=torch.tensor(numbers))


def batch() -> tuple[Examples, Examples]:
    support = sessions(assemble(SUPPORT), [[0, 1], [0, 0]])
    return support, sessions(assemble(QUERY), [[2], [1]])


def as_counts(pairs: Examples, told: Examples | None, task: int, pair: int) -> dict[int, list]:
    """Course -> features of one pair."""
    found = opened(pairs, told, CPU, torch.float64)
    chosen = found.pair == task * pairs.label.shape[1] + pair
    assert set(found.task[chosen].tolist()) == {task}
    columns = (found.column[chosen] + 1).tolist()
    return dict(zip(columns, found.features[chosen].tolist(), strict=True))


def before(times: int) -> Any:
    return pytest.approx([1.0, np.log1p(times), 0.0])


NOW = [0.0, 0.0, 1.0]


def test_a_query_is_told_of_its_prefix_and_the_support_s_sessions() -> None:
    """Opened: 1 2 3 2 in one session, 5 1 in another, 7 1 in the query's own; 1 is current."""
    support, query = batch()
    assert as_counts(query, support, 0, 0) == {
        1: NOW, 2: before(2), 3: before(1), 5: before(1), 7: before(1),
    }  # fmt: skip


def test_a_session_that_goes_on_is_not_told_twice() -> None:
    support = sessions(assemble([[([1, 2, 3], 2)]]), [[0]])
    query = sessions(assemble([[([1, 2, 3, 2], 1)]]), [[0]])
    assert as_counts(query, support, 0, 0) == {1: before(1), 2: NOW, 3: before(1)}


def test_a_support_pair_is_told_of_sessions_before_its_own() -> None:
    support, _ = batch()
    assert as_counts(support, None, 0, 0) == {1: before(1), 2: before(1), 3: NOW}
    assert as_counts(support, None, 0, 1) == {1: before(1), 2: before(2), 3: before(1), 5: NOW}


def test_untold_a_query_has_its_prefix_alone() -> None:
    support, query = batch()
    assert as_counts(query, support.pairs(0, 0), 0, 0) == {1: NOW, 7: before(1)}


def pointed_loss(weights: Weights, pairs: list[Pair], told: list[list[int]]) -> Tensor:
    """Cross-entropy with courses of other sessions told of, counted one by one."""
    losses = []
    for (prefix, label), others in zip(pairs, told, strict=True):
        plain = {name: x for name, x in weights.items() if name != "pointer.bias"}
        scores = torch.stack([-gru_loss(plain, [(prefix, c + 1)]) for c in range(COURSES)])
        extra = []
        for course in range(1, COURSES + 1):
            times = [*prefix, *others].count(course)
            known = NOW if course == prefix[-1] else [1.0, math.log1p(times), 0.0]
            features = torch.tensor(known if times else [0.0] * 3, dtype=torch.float64)
            extra.append(weights["pointer.bias"] @ features)
        losses.append(-(scores + torch.stack(extra)).log_softmax(0)[label - 1])
    return torch.stack(losses).mean()


TOLD_SUPPORT = [[[], [1, 2, 3, 2]], [[]]]
TOLD_QUERY = [[[1, 2, 3, 2, 5, 1]], [[4, 6]]]


def check_meta_gradient(
    loss_of: Callable[[Weights, list[Pair], list[list[int]]], Tensor],
    points: str,
    weights: Tensor,
    *,
    second_order: bool,
    alone: bool,
    rates: bool,
) -> None:
    """Compare the engine with plain autograd through the steps of a loss written down.

    Args:
        loss_of: (weights, pairs, what each is told of) -> mean loss.
        points: how the pointer acts.
        weights: the pointer's at the start.
        second_order: through the steps' own gradients too.
        alone: each task for itself.
        rates: a step size for each parameter, that of the pointer another.
    """
    start = gru_weights(COURSES) | {"pointer.bias": weights}
    meta = {name: x.detach().requires_grad_() for name, x in start.items()}
    own = {"pointer.bias": 2.0} if rates else {}
    sizes = {n: torch.tensor(own.get(n, LR), dtype=torch.float64) for n in meta}
    losses = []
    for task in range(2):
        fast = meta
        for _ in range(STEPS):
            loss = loss_of(fast, SUPPORT[task], TOLD_SUPPORT[task])
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            fast = {n: x - sizes[n] * s for (n, x), s in zip(fast.items(), slopes, strict=True)}
        losses.append(loss_of(fast, QUERY[task], TOLD_QUERY[task]))
    gradient = torch.autograd.grad(torch.stack(losses).sum(), list(meta.values()))
    expected = dict(zip(meta, gradient, strict=True))
    learner, (support, query) = GRUTaskModel(CPU, torch.float64, points=points), batch()
    how = {"steps": STEPS, "inner_lr": [sizes] if rates else LR, "second_order": second_order}
    values = {name: x.detach() for name, x in meta.items()}
    found = [
        meta_gradient(learner, values, support.take(t), query.take(t), **how)  # type: ignore[arg-type]
        for t in ([[0], [1]] if alone else [[0, 1]])
    ]
    total = {name: sum(part.weights[name] for part in found) for name in values}
    torch.testing.assert_close(
        torch.cat([part.losses for part in found]), torch.stack(losses).detach(), rtol=1e-9, atol=0
    )
    assert relative_error(total, expected) < 1e-9
    assert total["pointer.bias"].abs().min() > 0


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("rates", [True, False])
def test_the_meta_gradient_equals_plain_autograd(
    second_order: bool, alone: bool, rates: bool
) -> None:
    weights = torch.tensor([0.7, 0.4, -0.5]).double()
    how = {"second_order": second_order, "alone": alone, "rates": rates}
    check_meta_gradient(pointed_loss, "added", weights, **how)


def test_it_begins_where_the_settings_say_and_is_learned_kept_and_read(tmp_path: Any) -> None:
    trainer = tiny_trainer(meta={"pointer": 2.0, "variant": "maml_plus_plus"})
    assert trainer.weights["pointer.bias"].tolist() == [2, 2, -2]
    run(trainer, 3)
    assert trainer.weights["pointer.bias"].tolist() != [2, 2, -2]
    assert trainer.weights["log_step_size.0.pointer.bias"].exp().item() != pytest.approx(0.1)
    trainer.evaluate()
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, trainer.params, STORE.num_courses, NONE_LEFT_OUT)
    assert same_weights(meta.weights, trainer.best)
    support, query = STORE.support("test", np.arange(3)), STORE.query("test", np.arange(3))
    scores = {name: meta.scores(*how)(support, query) for name, how in {
        "zero": (0,), "told": (0, True), "few": ()}.items()}  # fmt: skip
    assert not torch.equal(scores["zero"], scores["told"])
    assert not torch.equal(scores["few"], scores["told"])
    other = STORE.support("test", np.array([3, 4, 5]))
    assert torch.equal(scores["zero"], meta.scores(0)(other, query)), "zero-shot is not told"


def test_a_pointer_without_a_backbone_for_it_stops_before_any_work() -> None:
    said = r"meta\.pointer: found 1; allowed with model\.backbone transformer is null"
    with pytest.raises(UserError, match=said):
        check_settings(tiny_params(meta={"pointer": 1}, model={"backbone": "transformer"}))
