"""What keeps meta-training from overfitting: exact, off by default, and the same when taken up."""

import math

import numpy as np
import pytest
import torch
from meta_helpers import Weights, assemble, gru_loss, gru_weights, pairs_of
from test_variants import COURSES, LAST, LR, QUERY, STEPS, SUPPORT, by_autograd, of_part, settings
from torch import Tensor
from training_helpers import (
    CPU,
    STORE,
    run,
    same_weights,
    through_a_file,
    tiny_params,
    tiny_trainer,
)

from benchmarks.ways import relative_error
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.shown_steps import shown_steps
from mooc_maml.meta import optimiser as outer
from mooc_maml.meta.diagnostics import Curves, diagnose
from mooc_maml.meta.gru.masks import Masks
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.run import check_settings
from mooc_maml.meta.supervised import supervised_gradient
from mooc_maml.meta.variants import variant_of
from mooc_maml.runtime.processes import ALONE, ProcessGroup

ALL = {
    "adapt_on": "sessions",
    "dropout": 0.4,
    "weight_decay": 0.1,
    "average": 0.5,
    "schedule": "cosine",
    "supervised": 0.5,
}
MASKS = Masks(torch.tensor([2.0, 0.0, 2.0]).double(), torch.tensor([0.0, 2.0, 2.0, 0.0]).double())


def masked_loss(weights: Weights, pairs: list) -> Tensor:
    """The thinned network, written with torch's own GRU, a prefix at a time."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [weights[f"gru.{kind}_l0"] for kind in kinds]
    losses = []
    for prefix, label in pairs:
        x = weights["embedding.weight"][torch.tensor([prefix])] * MASKS.embedding
        start = x.new_zeros(1, 1, weights["head.weight"].shape[1])
        states, _ = torch.gru(x, start, parameters, True, 1, 0.0, False, False, True)
        scores = weights["head.weight"] @ (states[0, -1] * MASKS.state) + weights["head.bias"]
        losses.append(-scores.log_softmax(0)[label - 1])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_the_meta_gradient_of_a_thinned_network_equals_plain_autograd(
    second_order: bool, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = {name: x.detach().requires_grad_() for name, x in gru_weights(COURSES).items()}
    monkeypatch.setattr("test_variants.gru_loss", masked_loss)
    expected = by_autograd(meta, of_part(""), second_order, LAST)
    learner = GRUTaskModel(CPU, torch.float64, masks=MASKS)
    chosen = variant_of(settings("maml", use_second_order=second_order))
    values = {name: x.detach() for name, x in meta.items()}
    support, query = assemble(SUPPORT), assemble(QUERY)
    tasks = [[0], [1]] if alone else [[0, 1]]
    found = [
        chosen.meta_gradient(learner, values, support.take(t), query.take(t), 0) for t in tasks
    ]
    total = {name: sum(part[1][name] for part in found) for name in values}
    torch.testing.assert_close(torch.cat([x for x, _ in found]), expected[0], rtol=1e-9, atol=0)
    assert relative_error(total, expected[1]) < 1e-9
    assert total["head.weight"][:, 0].abs().max() == 0, "a column left out gets no gradient"


def test_masks_leave_out_their_share_and_scale_the_rest() -> None:
    weights = {"embedding.weight": torch.zeros(2, 4000), "head.weight": torch.zeros(2, 4000)}
    for mask in Masks.drawn(0.25, weights, torch.Generator().manual_seed(3)):
        assert mask is not None
        assert sorted(set(mask.tolist())) == [0, pytest.approx(4 / 3)]
        assert (mask == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("variant", ["maml", "meta_sgd", "maml_plus_plus"])
def test_adaptation_on_sessions_is_adaptation_on_all_that_they_show(variant: str) -> None:
    support, query = assemble([[([1, 2, 3], 4), ([5], 6)]]), assemble([pairs_of([6, 7, 1])])
    learner = GRUTaskModel(CPU, torch.float64)
    plain, whole = settings(variant), settings(variant)
    whole = whole.model_copy(
        update={"meta": whole.meta.model_copy(update={"adapt_on": "sessions"})}
    )
    model = gru_weights(COURSES)
    meta = model | variant_of(plain).learned(model)
    told = variant_of(plain).meta_gradient(learner, meta, shown_steps(support), query, 50)
    found = variant_of(whole).meta_gradient(learner, meta, support, query, 50)
    assert torch.equal(found[0], told[0])
    assert same_weights(found[1], told[1])
    assert not torch.equal(
        found[0], variant_of(plain).meta_gradient(learner, meta, support, query, 50)[0]
    )


def test_adaptation_on_sessions_is_exact() -> None:
    """The prefix (1 2 3 -> 4) also shows 1 -> 2 and 1 2 -> 3."""
    start = {name: x.detach().requires_grad_() for name, x in gru_weights(COURSES).items()}
    fast, query = start, pairs_of([6, 7, 1])
    for _ in range(STEPS):
        loss = gru_loss(fast, [*pairs_of([1, 2, 3, 4]), ([5], 6)])
        slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {n: x - LR * s for (n, x), s in zip(fast.items(), slopes, strict=True)}
    gradient = torch.autograd.grad(gru_loss(fast, query), list(start.values()))
    whole = settings("maml")
    whole = whole.model_copy(
        update={"meta": whole.meta.model_copy(update={"adapt_on": "sessions"})}
    )
    batch = assemble([[([1, 2, 3], 4), ([5], 6)]]), assemble([query])
    learner = GRUTaskModel(CPU, torch.float64)
    values = {name: x.detach() for name, x in start.items()}
    _, found = variant_of(whole).meta_gradient(learner, values, *batch, 0)
    assert relative_error(found, dict(zip(start, gradient, strict=True))) < 1e-9


def test_the_supervised_loss_is_that_of_all_pairs_of_training_learners() -> None:
    weights = gru_weights(STORE.num_courses)
    start = {name: x.detach().requires_grad_() for name, x in weights.items()}
    learner, rng = GRUTaskModel(CPU, torch.float64), generator(1, "test")
    found = supervised_gradient(learner, weights, STORE, 10_000, rng, ALONE)  # all that there are
    pairs = [
        (STORE.courses[begin : begin + n].tolist(), int(STORE.courses[begin + n]))
        for pair in STORE.pairs_of("train")
        for begin, n in [(STORE.session_start[STORE.pair_session[pair]], STORE.pair_position[pair])]
    ]
    longest = STORE.max_prefix_length
    loss = gru_loss(start, [(prefix[-longest:], label) for prefix, label in pairs])
    expected = torch.autograd.grad(loss, list(start.values()))
    assert relative_error(found, dict(zip(start, expected, strict=True))) < 1e-9


def test_processes_share_the_supervised_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, learner = gru_weights(STORE.num_courses), GRUTaskModel(CPU, torch.float64)
    monkeypatch.setattr(ProcessGroup, "sum", lambda _, *tensors: list(tensors))

    def part(group: ProcessGroup) -> Weights:
        return supervised_gradient(learner, weights, STORE, 5, generator(1, "test"), group)

    parts = [part(ProcessGroup(rank, 2)) for rank in (0, 1)]
    added = {name: sum(x[name] for x in parts) for name in weights}
    assert relative_error(added, part(ALONE)) < 1e-12


def test_a_cosine_falls_from_the_whole_outer_step_to_none() -> None:
    trainer = tiny_trainer(meta={"schedule": "cosine"}, num_meta_iterations=8)
    shares = [trainer.optimiser.share(update) for update in (0, 2, 4, 8)]
    assert shares == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, 0])


def test_weight_decay_takes_off_its_share_and_leaves_step_sizes_alone() -> None:
    params = tiny_params(meta={"weight_decay": 0.5}, outer_lr=0.1)
    weights = {"head.bias": torch.full((1,), 2.0), "log_step_size.0.w": torch.full((1,), 2.0)}
    still = {name: torch.zeros(1) for name in weights}
    outer.OuterOptimiser(weights, params).step(still, 0)
    assert weights["head.bias"].item() == pytest.approx(2 * (1 - 0.1 * 0.5))
    assert weights["log_step_size.0.w"].item() == 2


def test_the_running_mean_in_numbers() -> None:
    """SGD would go 1, 2; so the mean of 0.75 before goes 0.25, then 0.75 x 0.25 + 0.25 x 2."""
    weights = {"w": torch.zeros(1)}
    optimiser = outer.OuterOptimiser(weights, tiny_params(meta={"average": 0.75}))
    optimiser.adam = torch.optim.SGD(weights.values(), lr=1.0)
    for expected in (0.25, 0.6875):
        optimiser.step({"w": torch.tensor([-1.0])}, 0)
        assert optimiser.kept["w"].item() == expected


def test_what_is_kept_is_the_running_mean() -> None:
    trainer = run(tiny_trainer(meta={"average": 0.5}, eval_interval=1), 3)
    trainer.evaluate()
    assert not same_weights(trainer.optimiser.kept, trainer.weights)
    before = trainer.scores(trainer.optimiser.kept)(
        STORE.support("test", np.arange(2)), STORE.query("test", np.arange(2))
    )
    trainer.restore(through_a_file(trainer.state()))
    after = trainer.scores(trainer.optimiser.kept)(
        STORE.support("test", np.arange(2)), STORE.query("test", np.arange(2))
    )
    assert torch.equal(before, after)


@pytest.mark.parametrize("setting", list(ALL))
def test_each_setting_changes_the_run_and_a_run_taken_up_is_the_same(setting: str) -> None:
    changes = {"meta": {setting: ALL[setting]}, "num_meta_iterations": 5, "eval_interval": 5}
    whole, plain = run(tiny_trainer(**changes)), run(tiny_trainer(**changes | {"meta": {}}))
    assert not same_weights(whole.best, plain.best) or not same_weights(
        whole.weights, plain.weights
    )
    again = tiny_trainer(**changes)
    again.restore(through_a_file(run(tiny_trainer(**changes), 3).state()))
    run(again)
    assert same_weights(again.weights, whole.weights)
    assert same_weights(again.best, whole.best)


def test_dropout_without_a_backbone_for_it_stops_before_any_work() -> None:
    said = r"meta\.dropout: found 0\.1; allowed with model\.backbone transformer is 0"
    with pytest.raises(UserError, match=said):
        check_settings(tiny_params(meta={"dropout": 0.1}, model={"backbone": "transformer"}))


@pytest.mark.parametrize(
    ("values", "is_said"),
    [([0.3, 0.2, 0.3], True), ([0.3, 0.2, 0.31], False), ([0.3], False), ([], False)],
)
def test_a_start_that_stays_the_best_is_said_aloud(values: list[float], is_said: bool) -> None:
    curves = Curves([1, 2], [2.0, 1.0], [], values)
    keys = [warning.key for warning in diagnose(curves, ended=True)]
    assert ("start_best" in keys) is is_said
    assert "start_best" not in [warning.key for warning in diagnose(curves, ended=False)]


def test_what_has_few_numbers_moves_by_its_own_outer_step_size() -> None:
    """Adam's first update moves every number by its step size; a schedule lowers both alike."""
    own = {"pointer": 1.0, "variant": "maml_plus_plus", "schedule": "cosine", "weight_decay": 0.5}
    trainer = tiny_trainer(outer_lr=1e-6, meta=own | {"outer_lr_few": 0.25})
    before = {name: x.clone() for name, x in trainer.weights.items()}
    run(trainer, 1)
    moved = {name: (x - before[name]).abs() for name, x in trainer.weights.items()}
    few = {name for name in moved if name.startswith(("pointer.", "log_step_size."))}
    assert "log_step_size.1.pointer.bias" in few
    for name in few:
        assert float(moved[name].max()) == pytest.approx(0.25, rel=1e-3)
        assert float(moved[name].min()) > 0.2, "no weight decay: 0.5 x 0.25 of a pointer of 1"
    assert max(float(moved[name].max()) for name in moved.keys() - few) < 1e-5
    rates = [group["lr"] for group in trainer.optimiser.adam.param_groups]
    run(trainer, 1)
    assert [group["lr"] / rate for group, rate in zip(
        trainer.optimiser.adam.param_groups, rates, strict=True)] == pytest.approx(
        [trainer.optimiser.share(1)] * 2)  # fmt: skip
