"""Ridge regression as the inner loop: its solution, and its meta-gradient, three ways."""

from typing import Any

import numpy as np
import pytest
import torch
from meta_helpers import Pair, Weights, assemble, gru_weights
from test_variants import COURSES, QUERY, SUPPORT, settings
from torch import Tensor
from training_helpers import STORE, run, same_weights, tiny_params, tiny_trainer

from benchmarks.ways import relative_error
from mooc_maml.common.errors import UserError
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.run import check_settings
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.seen import NONE_LEFT_OUT

CPU = torch.device("cpu")
LEARNER = GRUTaskModel(CPU, torch.float64)
OWN = {"log_ridge.scale": 0.7, "log_ridge.lambda": -0.4, "log_ridge.bias": 0.3}


def everything() -> Weights:
    return gru_weights(COURSES) | {n: torch.tensor(x).double() for n, x in OWN.items()}


def states_of(weights: Weights, pairs: list[Pair]) -> Tensor:
    """[pairs, H] by torch's own GRU, a prefix at a time."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [weights[f"gru.{kind}_l0"] for kind in kinds]
    found = []
    for prefix, _ in pairs:
        x = weights["embedding.weight"][torch.tensor([prefix])]
        start = x.new_zeros(1, 1, weights["head.weight"].shape[1])
        found.append(torch.gru(x, start, parameters, True, 1, 0.0, False, False, True)[0][0, -1])
    return torch.stack(found)


def primal_scores(meta: Weights, support: list[Pair], query: list[Pair]) -> Tensor:
    """The same regression by its weights, not by a kernel: (X'X + lambda I)^-1 X'(Y - P)."""
    h, u = states_of(meta, support), states_of(meta, query)
    logits = h @ meta["head.weight"].T + meta["head.bias"]
    wrong = torch.eye(COURSES).double()[[label - 1 for _, label in support]] - logits.softmax(1)
    side = (0.5 * meta["log_ridge.bias"]).exp()
    x = torch.cat([h, side.expand(len(h), 1)], 1)
    unit = torch.eye(x.shape[1]).double()
    inner = torch.linalg.inv(x.T @ x + meta["log_ridge.lambda"].exp() * unit) @ x.T @ wrong
    more = torch.cat([u, side.expand(len(u), 1)], 1) @ inner
    return u @ meta["head.weight"].T + meta["head.bias"] + meta["log_ridge.scale"].exp() * more


def reference(meta: Weights) -> Tensor:
    """Query losses [tasks]."""
    losses = []
    for support, query in zip(SUPPORT, QUERY, strict=True):
        log_p = primal_scores(meta, support, query).log_softmax(1)
        losses.append(-log_p[torch.arange(len(query)), [label - 1 for _, label in query]].mean())
    return torch.stack(losses)


def by_ridge(meta: Weights, tasks: list[list[int]], **changes: Any) -> tuple[Tensor, Weights]:
    chosen, support, query = (
        variant_of(settings("ridge", **changes)),
        *map(assemble, (SUPPORT, QUERY)),
    )
    found = [chosen.meta_gradient(LEARNER, meta, support.take(t), query.take(t), 0) for t in tasks]
    total = {name: sum(part[1][name] for part in found) for name in meta}
    return torch.cat([losses for losses, _ in found]), total


@pytest.mark.parametrize("tasks", [[[0, 1]], [[0], [1]]])
def test_equals_plain_autograd_on_the_primal_solution(tasks: list[list[int]]) -> None:
    meta = {name: x.requires_grad_() for name, x in everything().items()}
    losses = reference(meta)
    gradient = torch.autograd.grad(losses.sum(), list(meta.values()))
    found, total = by_ridge({name: x.detach() for name, x in meta.items()}, tasks)
    torch.testing.assert_close(found, losses.detach(), rtol=1e-9, atol=0)
    assert relative_error(total, dict(zip(meta, gradient, strict=True))) < 1e-9
    assert all(total[name].abs().max() > 0 for name in meta)


def test_equals_finite_differences() -> None:
    """Along a random direction of all that is learned, by the engine's own losses."""
    meta, step = everything(), 1e-5
    drawn = torch.Generator().manual_seed(3)
    along = {n: torch.randn(x.shape, generator=drawn, dtype=x.dtype) for n, x in meta.items()}
    along["embedding.weight"][0] = 0
    ends = [
        by_ridge({n: x + sign * step * along[n] for n, x in meta.items()}, [[0, 1]])[0].sum()
        for sign in (1, -1)
    ]
    _, gradient = by_ridge(meta, [[0, 1]])
    slope = sum(float((gradient[n] * x).sum()) for n, x in along.items())
    assert float(ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-7)


def test_first_order_takes_the_solution_as_it_is() -> None:
    meta = {name: x.detach() for name, x in everything().items()}
    exact, first = by_ridge(meta, [[0, 1]])[1], by_ridge(meta, [[0, 1]], use_second_order=False)[1]
    assert not torch.equal(exact["gru.weight_ih_l0"], first["gru.weight_ih_l0"])
    assert not torch.equal(exact["head.weight"], first["head.weight"])
    assert all(torch.equal(exact[name], first[name]) for name in OWN)


def test_scores_few_shot_are_those_of_the_primal_solution_and_zero_shot_the_plain_model() -> None:
    meta, chosen = everything(), variant_of(settings("ridge"))
    support, query = assemble(SUPPORT), assemble(QUERY)
    prepared = LEARNER.prepare(query, support)
    few = LEARNER.scores(chosen.adapt(LEARNER, meta, support), prepared)
    zero = LEARNER.scores(chosen.adapt(LEARNER, meta, support, 0), prepared)
    for task, (shown, asked) in enumerate(zip(SUPPORT, QUERY, strict=True)):
        expected = primal_scores(meta, shown, asked)
        torch.testing.assert_close(few[task, : len(asked)], expected, rtol=1e-8, atol=1e-8)
        plain = states_of(meta, asked) @ meta["head.weight"].T + meta["head.bias"]
        torch.testing.assert_close(zero[task, : len(asked)], plain, rtol=1e-9, atol=1e-12)


def test_it_is_learned_kept_and_read(tmp_path: Any) -> None:
    trainer = tiny_trainer(meta={"variant": "ridge", "adapt_on": "sessions", "dropout": 0.3})
    start = {name: trainer.weights[name].clone() for name in OWN}
    run(trainer, 3)
    assert all(trainer.weights[name] != x for name, x in start.items())
    trainer.evaluate()
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, trainer.params, STORE.num_courses, NONE_LEFT_OUT)
    assert same_weights(meta.weights, trainer.best)
    support, query = STORE.support("test", np.arange(3)), STORE.query("test", np.arange(3))
    assert not torch.equal(meta.scores()(support, query), meta.scores(0)(support, query))


def test_a_backbone_without_a_head_of_that_kind_is_refused() -> None:
    changes = {"meta": {"variant": "ridge"}, "model": {"backbone": "transformer"}}
    with pytest.raises(UserError, match="which moves the head alone, and model"):
        check_settings(tiny_params(**changes))
