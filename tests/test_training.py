import math
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from training_helpers import (
    CPU,
    STORE,
    run,
    same_weights,
    through_a_file,
    tiny_params,
    tiny_trainer,
)

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.store import sample_tasks
from mooc_maml.meta import files as training_files
from mooc_maml.meta import train as training
from mooc_maml.meta.diagnostics import Curves, diagnose, loss_change
from mooc_maml.meta.run import curves_of
from mooc_maml.meta.train import MetaTrainer, Progress, meta_train
from mooc_maml.meta.variants import variant_of
from mooc_maml.models.gru import read_model


@pytest.fixture(autouse=True)
def _one_thread():
    """Models of this size only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def whole_state(trainer: MetaTrainer) -> tuple:
    """Everything that a run leaves, comparable with ==."""
    tensors = [*trainer.weights.values(), *trainer.best.values()]
    adam = [x for s in trainer.optimiser.adam.state_dict()["state"].values() for x in s.values()]
    return [x.tolist() for x in (*tensors, *adam)], vars(trainer.progress)


@pytest.fixture(scope="module")
def uninterrupted() -> MetaTrainer:
    return run(tiny_trainer())


@pytest.mark.parametrize("updates", [1, 4, 7])  # 4: just before an evaluation at the validation set
def test_a_run_taken_up_elsewhere_is_the_same_to_the_last_bit(updates, uninterrupted):
    stopped = run(tiny_trainer(), updates)
    assert stopped.progress.iteration == updates
    state = through_a_file(stopped.state())
    again = tiny_trainer()
    again.restore(state)
    assert whole_state(run(again)) == whole_state(uninterrupted)
    assert [evaluation["iteration"] for evaluation in again.progress.validation] == [0, 4, 8, 12]
    assert len(again.progress.losses) == 12


@pytest.mark.parametrize("part", ["weights", "best", "optimiser", "progress"])
def test_every_part_of_the_state_matters(part, uninterrupted):
    """The control: with one part of the state forgotten, the result is another."""
    state = through_a_file(run(tiny_trainer(), 7).state())
    again = tiny_trainer()
    state[part] = again.state()[part]
    again.restore(state)
    assert whole_state(run(again)) != whole_state(uninterrupted)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(uninterrupted):
    torch.manual_seed(99)  # the global state is of no account
    assert same_weights(run(tiny_trainer()).weights, uninterrupted.weights)
    assert not same_weights(run(tiny_trainer(seed=5), 1).weights, run(tiny_trainer(), 1).weights)


@pytest.mark.parametrize("at_once", [1, 3])
def test_tasks_at_once_changes_rounding_only(at_once, uninterrupted):
    trainer = run(tiny_trainer(hardware={"tasks_at_once": at_once}))
    for name, weight in trainer.weights.items():
        torch.testing.assert_close(weight, uninterrupted.weights[name], rtol=0, atol=1e-9)
    assert trainer.progress.losses == pytest.approx(uninterrupted.progress.losses, rel=1e-9)


WIDE = {"embedding_dim": 64, "hidden_dim": 128}


def after_ten_updates(threads: int, **hardware: object) -> tuple[torch.Tensor, list[float]]:
    """All weights of a model of real width in one row, and the losses."""
    torch.set_num_threads(threads)
    changes = {"inner_lr": 0.01, "outer_lr": 0.001, "model": WIDE, "hardware": hardware}
    trainer = run(tiny_trainer(**changes), 10)
    weights = torch.cat([weight.flatten() for weight in trainer.weights.values()])
    return weights, trainer.progress.losses


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 2e-5), pytest.param("float64", 1e-12, marks=pytest.mark.thorough)],
)
def test_threads_and_tasks_at_once_change_rounding_only(precision, tolerance):
    """Weights after ten meta-updates, within the tolerance that README states; again: same bits."""
    how = {"precision": precision}
    weights, losses = after_ten_updates(1, **how)
    start = tiny_trainer(model=WIDE, hardware=how).weights.values()
    moved = weights - torch.cat([weight.flatten() for weight in start])
    assert moved.abs().median() > 100 * tolerance, "the tolerance is small beside what was learnt"
    for threads, at_once in ((2, 32), (1, 1), (2, 3)):
        found = after_ten_updates(threads, tasks_at_once=at_once, **how)
        torch.testing.assert_close(found[0], weights, rtol=0, atol=tolerance)
        assert found[1] == pytest.approx(losses, rel=tolerance)
    again = after_ten_updates(threads, tasks_at_once=at_once, **how)
    assert torch.equal(again[0], found[0])
    assert again[1] == found[1]


def test_first_order_is_another_run(uninterrupted):
    first_order = run(tiny_trainer(use_second_order=False), 1)
    assert first_order.progress.losses[0] == uninterrupted.progress.losses[0]
    assert not same_weights(first_order.weights, run(tiny_trainer(), 1).weights)


def with_evaluations(monkeypatch, values, **changes) -> MetaTrainer:
    """A run whose few-shot validation metric takes these values, one an evaluation."""
    found = iter([{"NDCG@10": x, "HR@1": x} for value in values for x in (0.0, value)])
    monkeypatch.setattr(training, "summary", lambda _: next(found))
    return run(tiny_trainer(num_meta_iterations=6, eval_interval=1, **changes))


def test_patience_counts_looks_without_a_new_best(monkeypatch):
    after_one = run(tiny_trainer(), 1).weights
    # evaluations at 0, 1, 2, 3: best at 1, then two without a new best; equal is not better
    trainer = with_evaluations(monkeypatch, [0.1, 0.5, 0.5, 0.4], early_stopping_patience=2)
    assert trainer.progress.iteration == 3
    assert same_weights(trainer.best, after_one)
    assert not same_weights(trainer.best, trainer.weights)


def test_a_new_best_renews_patience(monkeypatch):
    values = [0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1]
    trainer = with_evaluations(monkeypatch, values, early_stopping_patience=2)
    assert trainer.progress.iteration == 6  # the upper bound, which has an evaluation of its own
    assert [
        evaluation["few_shot"]["NDCG@10"] for evaluation in trainer.progress.validation
    ] == values


def test_without_patience_a_run_goes_to_its_upper_bound(monkeypatch):
    trainer = with_evaluations(monkeypatch, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0])
    assert trainer.progress.iteration == 6


def test_early_stopping_survives_a_restart(monkeypatch):
    found = iter([{"NDCG@10": x, "HR@1": x} for x in (0, 0.5, 0, 0.4, 0, 0.3)])
    monkeypatch.setattr(training, "summary", lambda _: next(found))
    changes = {"eval_interval": 1, "early_stopping_patience": 2}
    stopped = run(tiny_trainer(**changes), 2)
    again = tiny_trainer(**changes)
    again.restore(through_a_file(stopped.state()))
    assert run(again).progress.iteration == 2


def test_a_loss_that_is_not_finite_stops_and_changes_nothing():
    trainer = run(tiny_trainer(), 3)
    before = whole_state(trainer)
    trainer.variant = variant_of(tiny_params().model_copy(update={"inner_lr": 1e200}))
    with pytest.raises(UserError, match=r"meta-update 4: .* saved last is kept.*inner_lr") as stop:
        trainer.step()
    number, learner = re.search(
        r"4 of its 4 tasks.* episode (\d+), of learner (\d+);", str(stop.value)
    ).groups()
    assert STORE.episodes["train"][int(number), 0] == int(learner)
    assert whole_state(trainer) == before


def test_the_one_task_that_is_to_blame_is_named(monkeypatch):
    trainer = tiny_trainer()
    drawn = sample_tasks(STORE, 4, generator(trainer.params.seed, "meta-batch", 0))
    plain = trainer._meta_gradient

    def spoilt(tasks, process_group):
        loss, gradient = plain(tasks, process_group)
        return (math.nan if drawn[2] in tasks else loss), gradient

    monkeypatch.setattr(trainer, "_meta_gradient", spoilt)
    learner = STORE.episodes["train"][drawn[2], 0]
    named = (
        f"1 of its 4 tasks, the first of them training episode {drawn[2]}, of learner {learner};"
    )
    with pytest.raises(UserError, match=named):
        trainer.step()


def test_weights_that_are_not_finite_stop_and_are_not_saved(monkeypatch):
    trainer = run(tiny_trainer(), 3)
    trainer.optimiser.adam.param_groups[0]["lr"] = math.inf
    with pytest.raises(UserError, match="meta-update 4: the new weights are too large"):
        trainer.step()
    assert trainer.progress.iteration == 3


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_stops_and_changes_nothing(bad, monkeypatch):
    trainer = run(tiny_trainer(), 3)
    before = whole_state(trainer)
    gradient = {name: torch.zeros_like(weight) for name, weight in trainer.weights.items()}
    gradient["head.bias"][2] = bad
    monkeypatch.setattr(trainer, "_meta_gradient", lambda *_: (1.0, gradient))
    with pytest.raises(UserError, match=r"meta-gradient's norm (inf|nan), because of 4 of"):
        trainer.step()
    assert whole_state(trainer) == before


def test_a_state_of_another_variant_is_not_taken_up():
    state = run(tiny_trainer(meta={"variant": "proximal"}), 1).state()
    trainer = tiny_trainer()
    before = whole_state(trainer)
    with pytest.raises(UserError, match=r"meta\.variant gru proximal, the settings say gru maml"):
        trainer.restore(state)
    assert whole_state(trainer) == before


def test_a_large_gradient_is_scaled_down_to_the_norm_allowed():
    trainer = tiny_trainer(max_grad_norm=0.001)
    trainer.step()
    gradient = [weight.grad for weight in trainer.weights.values()]
    norm = torch.stack([g.norm() for g in gradient]).norm()
    assert float(norm) == pytest.approx(0.001)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_no_memory_is_told_in_words(error, monkeypatch):
    def fail(*_):
        raise error

    trainer = tiny_trainer()
    monkeypatch.setattr(trainer, "_meta_gradient", fail)
    with pytest.raises(UserError, match=r"out of memory; lower hardware\.tasks_at_once"):
        list(meta_train(trainer, lambda _: None))


def test_another_runtime_error_is_not_taken_for_that(monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes differ")

    trainer = tiny_trainer()
    monkeypatch.setattr(trainer, "_meta_gradient", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(meta_train(trainer, lambda _: None))


def evaluated(*hr1: float) -> list[dict]:
    return [{"iteration": 0, "few_shot": {"HR@1": x}} for x in hr1]


FALLING, LEVEL = [1.0] * 1500 + [0.9] * 500, [1.0] * 2000
RISING, FLAT = evaluated(0.1, 0.1, 0.15, 0.2), evaluated(0.1, 0.1, 0.104, 0.1)


@pytest.mark.parametrize(
    ("losses", "validation", "expected"),
    [
        (FALLING, RISING, []),
        (LEVEL, RISING, ["loss"]),
        (FALLING, FLAT, ["validation_flat"]),
        (FALLING, FLAT[:3], []),  # three evaluations tell nothing
        (FALLING, evaluated(0.4, 0.4, 0.4, 0.4), []),  # flat, but good
        (LEVEL[1:], FLAT, []),  # too early to tell
        ([*LEVEL[1:], math.nan], RISING, ["loss_not_finite", "loss"]),
        ([math.inf], [], ["loss_not_finite"]),
        ([], [], []),
    ],
)
def test_diagnostics_of_a_run_under_way(losses, validation, expected):
    curves = curves_of(Progress(len(losses), losses, validation))
    assert [warning.key for warning in diagnose(curves, ended=False)] == expected


def test_what_is_too_early_to_tell_is_told_at_the_end():
    curves = curves_of(Progress(1999, LEVEL[1:], FLAT))
    found = dict(diagnose(curves, ended=True))
    assert list(found) == ["loss", "validation_flat"]
    assert "by iteration 1,999 (1.00 at first, 1.00 then)" in found["loss"]
    assert "below 30 % (best 10.4 %)" in found["validation_flat"]


def test_the_change_of_the_loss_by_hand():
    """Blocks that end at 500, ..., 2500: of the four till 2000 the first and the last count."""
    curves = Curves([500, 1000, 1500, 2000, 2500], [4.0, 3.0, 2.0, 1.5, 9.0], [])
    assert loss_change(curves) == (4.0, 1.5, 2000)
    assert loss_change(Curves([1, 2, 3], [3.0, 2.0, 1.0], [])) is None


def test_files_hold_the_best_weights_and_those_of_a_moment(tmp_path: Path, uninterrupted):
    training_files.keep_model(tmp_path, uninterrupted)
    training_files.keep_checkpoint(tmp_path, uninterrupted)
    best = read_model(tmp_path / "maml_gru_K2.pth", STORE.num_courses)
    last = read_model(tmp_path / "checkpoints" / "checkpoint_iter12.pth", STORE.num_courses)
    assert same_weights(best.state_dict(), uninterrupted.best)
    assert same_weights(last.state_dict(), uninterrupted.weights)
    content = torch.load(tmp_path / "maml_gru_K2.pth", weights_only=True)
    assert content["settings"]["inner_lr"] == 0.1


def test_curves_by_hand(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_files, "_CURVE_POINTS", 2)
    modes = {"zero_shot": {"HR@1": 0.25}, "few_shot": {"HR@1": 0.5}}
    progress = Progress(3, [1.0, 2.0, 6.0], [{"iteration": 0, **modes}])
    training_files.write_curves(tmp_path, progress)
    # three losses in at most two points: blocks of two, 1.5 = (1 + 2) / 2, and the rest
    curve = pd.read_csv(tmp_path / "training.csv")
    assert curve.to_dict("list") == {"iteration": [2, 3], "train_loss": [1.5, 6.0]}
    evaluations = pd.read_csv(tmp_path / "validation.csv").to_dict("records")
    assert evaluations == [{"iteration": 0, "zero_shot HR@1": 0.25, "few_shot HR@1": 0.5}]


def test_a_trainer_starts_on_the_device_and_in_the_precision_asked_for():
    trainer = MetaTrainer(STORE, tiny_params(hardware={"precision": "float32"}), CPU)
    assert {weight.dtype for weight in trainer.weights.values()} == {torch.float32}
    assert math.isfinite(trainer.step())
