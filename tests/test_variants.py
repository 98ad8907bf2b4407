"""Each variant's meta-gradient against plain autograd on what its paper writes down."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from meta_helpers import Weights, assemble, gru_loss, gru_weights, pairs_of
from test_meta_exact import Aim, half_square
from torch import Tensor
from training_helpers import CPU, STORE, run, tiny_params, tiny_trainer

from benchmarks.ways import relative_error
from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.dense import DenseTaskModel
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.meta.variant import model_weights
from mooc_maml.meta.variants import VARIANTS, Context, variant_of
from mooc_maml.models.gru import read_model, write_model
from mooc_maml.ranking.seen import NONE_LEFT_OUT

COURSES, STEPS, LR, PULL = 7, 3, 0.3, 0.7
SUPPORT = [pairs_of([1, 2, 3, 2]), pairs_of([4, 5]) + pairs_of([6, 7, 1])]
QUERY = [pairs_of([1, 2, 3, 2, 5]), pairs_of([7, 1, 4])]
LEARNER = GRUTaskModel(CPU, torch.float64)
Rate = Callable[[int, str], Tensor | None]  # (step, parameter) -> its step size


def settings(variant: str, **changes: Any) -> Any:
    own = {"first_order_updates": 5, "multi_step_updates": 10, "proximal": PULL}
    meta = {"variant": variant, **own}
    return tiny_params(num_inner_steps=STEPS, inner_lr=LR, meta=meta, **changes)


def learned(variant: str) -> Weights:
    """All that is meta-learned; step sizes all differ, so that none can stand for another."""
    model = gru_weights(COURSES)
    rates = variant_of(settings(variant)).learned(model)
    drawn = torch.Generator().manual_seed(1)
    noise = {n: torch.rand(x.shape, generator=drawn, dtype=x.dtype) for n, x in rates.items()}
    return model | {name: x + (0.5 + noise[name]).log() for name, x in rates.items()}


def by_autograd(
    meta: Weights, rate: Rate, second_order: bool, step_weights: list[float], pull: float = 0.0
) -> tuple[Tensor, Weights]:
    """Last query losses [tasks], and the gradient of the weighted query losses, summed."""
    last, total = [], torch.zeros((), dtype=torch.float64)
    for own_support, own_query in zip(SUPPORT, QUERY, strict=True):
        fast = model_weights(meta)
        for step in range(STEPS):
            loss = gru_loss(fast, own_support)
            slopes = torch.autograd.grad(
                loss, list(fast.values()), create_graph=second_order, retain_graph=True
            )
            moved = {}
            for (name, x), slope in zip(fast.items(), slopes, strict=True):
                size = rate(step, name)
                back = pull * (x - meta[name])
                moved[name] = x if size is None else x - size * (slope + back)
            fast = moved
            query_loss = gru_loss(fast, own_query)
            total = total + step_weights[step] * query_loss
        last.append(query_loss.detach())
    gradient = torch.autograd.grad(total, list(meta.values()), allow_unused=True)
    found = {n: g for n, g in zip(meta, gradient, strict=True) if g is not None}
    return torch.stack(last), found


def by_variant(
    variant: str,
    meta: Weights,
    update: int,
    batch: tuple[Examples, Examples] | None = None,
    *,
    alone: bool = False,
    **changes: Any,
) -> tuple[Tensor, Weights]:
    """`alone`: every task for itself, also where several could be taken at once."""
    chosen = variant_of(settings(variant, **changes))
    values = {name: x.detach() for name, x in meta.items()}
    support, query = batch or (assemble(SUPPORT), assemble(QUERY))
    if not (alone or chosen.one_task_alone):
        return chosen.meta_gradient(LEARNER, values, support, query, update)
    parts = [
        chosen.meta_gradient(LEARNER, values, support.take([i]), query.take([i]), update)
        for i in range(len(SUPPORT))
    ]
    summed = {name: sum(part[1][name] for part in parts) for name in parts[0][1]}
    return torch.cat([losses for losses, _ in parts]), summed


def of_part(part: str) -> Rate:
    return lambda _, name: torch.tensor(LR, dtype=torch.float64) if name.startswith(part) else None


LAST = [0.0, 0.0, 1.0]
# At update 5 of 10 an earlier step counts (1 - 5/10) / 3.
HALFWAY = [1 / 6, 1 / 6, 4 / 6]


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize(
    ("variant", "update", "step_weights"),
    [
        ("maml", 0, LAST),
        ("anil", 0, LAST),
        ("context", 0, LAST),
        ("meta_sgd", 0, LAST),
        ("maml_plus_plus", 10, LAST),
        ("maml_plus_plus", 5, HALFWAY),
    ],
)
def test_equals_plain_autograd(
    variant: str, update: int, step_weights: list[float], second_order: bool
) -> None:
    meta = {name: x.detach().requires_grad_() for name, x in learned(variant).items()}
    rates: dict[str, Rate] = {
        "maml": of_part(""),
        "anil": of_part("head"),
        "context": of_part("gru.bias_ih"),
        "meta_sgd": lambda _, name: meta[f"log_step_size.0.{name}"].exp(),
        "maml_plus_plus": lambda step, name: meta[f"log_step_size.{step}.{name}"].exp(),
    }
    expected = by_autograd(meta, rates[variant], second_order, step_weights)
    found = by_variant(variant, meta, update, use_second_order=second_order)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=0)
    assert relative_error(found[1], expected[1]) < 1e-9


def test_steps_of_the_recurrent_bias_alone_equal_plain_autograd() -> None:
    """A direction that has a bias and no matrix, inside the recurrence."""
    meta = {name: x.detach().requires_grad_() for name, x in gru_weights(COURSES).items()}
    expected = by_autograd(meta, of_part("gru.bias_hh"), True, LAST)
    chosen = Context(settings("context"), {"context": "gru.bias_hh"})
    values = {name: x.detach() for name, x in meta.items()}
    batch = assemble(SUPPORT), assemble(QUERY)
    _, found = chosen.meta_gradient(LEARNER, values, *batch, 0)
    assert relative_error(found, expected[1]) < 1e-9


def test_maml_plus_plus_is_first_order_at_first_and_weighs_all_steps_alike() -> None:
    meta = {n: x.detach().requires_grad_() for n, x in learned("maml_plus_plus").items()}
    expected = by_autograd(
        meta, lambda step, name: meta[f"log_step_size.{step}.{name}"].exp(), False, [1 / 3] * 3
    )
    found = by_variant("maml_plus_plus", meta, 0)
    assert relative_error(found[1], expected[1]) < 1e-9


def test_step_weights_by_hand() -> None:
    """1/3 each at first; an earlier step keeps 0.03 / 3 at least; the last alone from 10 on."""
    chosen = variant_of(settings("maml_plus_plus"))
    assert chosen.step_weights(0) == pytest.approx([1 / 3] * 3)
    assert chosen.step_weights(9) == pytest.approx([0.1 / 3, 0.1 / 3, 1 - 0.2 / 3])
    assert chosen.step_weights(10) is None


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_proximal_equals_plain_autograd(second_order: bool, alone: bool) -> None:
    meta = {name: x.detach().requires_grad_() for name, x in learned("proximal").items()}
    expected = by_autograd(meta, of_part(""), second_order, LAST, PULL)
    how = {"use_second_order": second_order, "alone": alone}
    found = by_variant("proximal", meta, 0, **how)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=0)
    assert relative_error(found[1], expected[1]) < 1e-9
    assert (found[0] - by_variant("maml", meta, 0, **how)[0]).abs().min() > 1e-3, "the pull shows"


def test_proximal_in_numbers() -> None:
    """L = (w - 5)^2 / 2, w = 1, alpha = 1/4, lambda = 2: w goes by 1, to 2; then it is
    1/2 + 3/4 = 5/4 from the start.

    In w, two steps end at 11/16 w + 25/16, so L' = w_2 of the query loss w_2^2 / 2 is carried back
    as 9/4 x 11/16.
    """
    own = {"variant": "proximal", "proximal": 2.0}
    chosen: Any = variant_of(tiny_params(inner_lr=0.25, num_inner_steps=2, meta=own))
    learner = DenseTaskModel(half_square)
    start, support, query = {"w": torch.ones(1)}, Aim(torch.tensor([[5.0]])), Aim(torch.zeros(1, 1))
    moved = [chosen.adapt(learner, start, support, n).values["w"].item() for n in (1, 2)]
    assert moved == [2, 2.25]
    losses, gradient = chosen.meta_gradient(learner, start, support, query, 0)
    assert (losses.item(), gradient["w"].item()) == (2.25**2 / 2, 2.25 * 11 / 16)


def test_reptile_is_the_way_that_gradient_steps_go() -> None:
    """(theta - theta') / alpha on all pairs of each task, added up; losses before any step."""
    meta = learned("reptile")
    losses, found = by_variant("reptile", meta, 0)
    expected = {name: torch.zeros_like(x) for name, x in meta.items()}
    for task, (own_support, own_query) in enumerate(zip(SUPPORT, QUERY, strict=True)):
        fast = {name: x.detach().requires_grad_() for name, x in meta.items()}
        for step in range(STEPS):
            loss = gru_loss(fast, own_support + own_query)
            if step == 0:
                assert losses[task].item() == pytest.approx(loss.item(), rel=1e-12)
            slopes = torch.autograd.grad(loss, list(fast.values()))
            moved = zip(fast.items(), slopes, strict=True)
            fast = {n: (x - LR * slope).detach().requires_grad_() for (n, x), slope in moved}
        for name, x in fast.items():
            expected[name] += (meta[name] - x.detach()) / LR
    assert relative_error(found, expected) < 1e-9


def reliable(shares: list[float]) -> tuple[Examples, Examples]:
    srs = torch.tensor(shares, dtype=torch.float64)
    return assemble(SUPPORT)._replace(reliability=srs), assemble(QUERY)


@pytest.mark.parametrize("second_order", [True, False])
def test_reliability_is_the_study_s_update(second_order: bool) -> None:
    """alpha_i = alpha SRS_i; 3 steps from SRS 0.5 on, 7 below; sum of SRS_i times query loss i."""
    meta = {name: x.detach().requires_grad_() for name, x in gru_weights(COURSES).items()}
    total, last = torch.zeros((), dtype=torch.float64), []
    for i, (share, steps) in enumerate([(0.5, 3), (0.2, 7)]):
        fast = dict(meta)
        for _ in range(steps):
            loss = gru_loss(fast, SUPPORT[i])
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            moved = zip(fast.items(), slopes, strict=True)
            fast = {name: x - LR * share * slope for (name, x), slope in moved}
        last.append(gru_loss(fast, QUERY[i]))
        total = total + share * last[-1]
    gradient = torch.autograd.grad(total, list(meta.values()))
    expected = dict(zip(meta, gradient, strict=True))
    batch = reliable([0.5, 0.2])
    losses, found = by_variant("reliability", meta, 0, batch, use_second_order=second_order)
    torch.testing.assert_close(losses, torch.stack(last).detach(), rtol=1e-9, atol=0)
    assert relative_error(found, expected) < 1e-9


def test_reliability_sets_the_steps_of_few_shot_but_not_those_asked_for() -> None:
    chosen, meta = variant_of(settings("reliability")), gru_weights(COURSES)
    query = LEARNER.prepare(assemble(QUERY[:1]))

    def scores(share: float, steps: int | None) -> Tensor:
        support = reliable([share, share])[0].take([0])
        return LEARNER.scores(chosen.adapt(LEARNER, meta, support, steps), query)

    assert torch.equal(scores(0.5, None), scores(0.5, 3))
    assert torch.equal(scores(0.49, None), scores(0.49, 7))
    assert not torch.equal(scores(0.5, 3), scores(0.5, 1))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_zero_steps_leave_the_model_as_it_is(variant: str) -> None:
    meta, support, query = learned(variant), assemble(SUPPORT[:1]), assemble(QUERY[:1])
    fast = variant_of(settings(variant)).adapt(LEARNER, meta, support, 0)
    plain = variant_of(settings("maml")).adapt(LEARNER, gru_weights(COURSES), support, 0)
    prepared = LEARNER.prepare(query)
    assert torch.equal(LEARNER.scores(fast, prepared), LEARNER.scores(plain, prepared))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_learner_is_scored_by_its_own_pairs_alone(variant: str) -> None:
    trainer = run(tiny_trainer(meta={"variant": variant}), 3)
    score = trainer.scores(trainer.weights, 2)
    support, query = STORE.support("test", np.arange(4)), STORE.query("test", np.arange(4))
    together = score(support, query)
    for i in range(4):
        alone = score(support.take([i]), query.take([i]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-12)


def test_rates_for_every_value_do_not_take_several_tasks_at_once() -> None:
    meta = learned("meta_sgd")
    with pytest.raises(ValueError, match="one task alone, found 2"):
        variant_of(settings("meta_sgd")).adapt(LEARNER, meta, assemble(SUPPORT), 1)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_what_was_trained_is_what_is_read(variant: str, tmp_path: Any) -> None:
    trainer = run(tiny_trainer(meta={"variant": variant}), 5)
    trainer.evaluate()
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, trainer.params, STORE.num_courses, NONE_LEFT_OUT)
    assert meta.weights.keys() == trainer.best.keys()
    assert all(torch.equal(x, trainer.best[name]) for name, x in meta.weights.items())
    other = "proximal" if variant != "proximal" else "maml"  # whose shapes fit, of most
    said = rf"meta\.variant {variant}, the settings say gru and {other}"
    with pytest.raises(UserError, match=said):
        read_meta_model(
            tmp_path, tiny_params(meta={"variant": other}), STORE.num_courses, NONE_LEFT_OUT
        )


def test_a_learned_step_size_learns() -> None:
    trainer = run(tiny_trainer(meta={"variant": "meta_sgd"}), 5)
    rates = {n: x for n, x in trainer.weights.items() if n.startswith("log_step_size.")}
    assert rates
    start = math.log(trainer.params.inner_lr)
    moved = [name for name, x in rates.items() if not torch.all(x == start)]
    assert sorted(moved) == sorted(rates)


def test_a_learned_step_size_reaches_100_times_its_start_in_some_hundred_updates() -> None:
    """Adam adds about the outer step size to what it learns; here to a logarithm."""
    chosen: Any = variant_of(settings("meta_sgd"))
    start = {"w": torch.ones(1)}
    rates = chosen.learned(start)
    adam = torch.optim.Adam(rates.values(), lr=0.01)
    for _ in range(500):
        (log_rate,) = rates.values()
        log_rate.grad = -torch.ones(1)
        adam.step()
    assert chosen.inner_lr(start | rates, None)[0]["w"].item() == pytest.approx(
        LR * math.exp(5), rel=1e-3
    )


BIAS_LR = 20 * LR


def of_bias(_: int, name: str) -> Tensor:
    return torch.tensor(BIAS_LR if name == "head.bias" else LR, dtype=torch.float64)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_an_own_step_size_of_the_output_bias_equals_plain_autograd(
    second_order: bool, alone: bool
) -> None:
    meta = {name: x.detach().requires_grad_() for name, x in gru_weights(COURSES).items()}
    expected = by_autograd(meta, of_bias, second_order, LAST)
    how = {"use_second_order": second_order, "alone": alone}
    found = by_variant("maml", meta, 0, inner_lr_bias=BIAS_LR, **how)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=0)
    assert relative_error(found[1], expected[1]) < 1e-9
    assert (found[0] - by_variant("maml", meta, 0, **how)[0]).abs().min() > 1e-3, "it shows"


def test_an_equal_step_size_of_the_output_bias_changes_nothing() -> None:
    meta = gru_weights(COURSES)
    same = by_variant("maml", meta, 0, inner_lr_bias=LR), by_variant("maml", meta, 0)
    torch.testing.assert_close(same[0][0], same[1][0], rtol=1e-12, atol=0)
    assert relative_error(same[0][1], same[1][1]) < 1e-12


@pytest.mark.parametrize("variant", ["meta_sgd", "maml_plus_plus"])
def test_learned_step_sizes_start_with_that_of_the_output_bias(variant: str) -> None:
    chosen = variant_of(settings(variant, inner_lr_bias=BIAS_LR))
    model = gru_weights(COURSES)
    (first, *_) = chosen.inner_lr(model | chosen.learned(model), assemble(SUPPORT))
    for name, x in first.items():
        start = BIAS_LR if name == "head.bias" else LR
        torch.testing.assert_close(x, torch.full_like(x, start), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "proximal"}, r"meta\.variant proximal, whose steps have one size, is null"),
        ({"backbone": "transformer"}, r"model\.backbone transformer, .* no output bias, is null"),
    ],
)
def test_a_step_size_that_nothing_has_is_refused(changes: dict[str, str], said: str) -> None:
    backbone = {"backbone": changes.pop("backbone", "gru")}
    with pytest.raises(UserError, match=f"inner_lr_bias: found 6; allowed with {said}"):
        variant_of(tiny_params(meta=changes, model=backbone, inner_lr_bias=6))


def test_a_warm_start_begins_where_the_baseline_stands(tmp_path: Any) -> None:
    start = tiny_trainer(seed=1)
    keep_model(tmp_path, start)
    path = next(tmp_path.glob("*.pth"))
    trainer = MetaTrainer(STORE, tiny_params(), CPU, start=read_model(path, STORE.num_courses))
    assert all(torch.equal(x, start.weights[name]) for name, x in trainer.weights.items())
    write_model(path, read_model(path), learned={"x": torch.ones(1)})
    assert torch.load(path, weights_only=True)["learned"]["x"].item() == 1
