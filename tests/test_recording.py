"""Shapes that repeat, and calls that are recorded: equal to the plain way, and what cannot be told
without a GPU is what a CUDA graph itself does. Graphs are stood for by calling the function again.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from meta_helpers import Weights, assemble, gru_weights, pairs_of
from test_meta_exact import CASES
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from training_helpers import CPU, STORE, run, same_weights, through_a_file, tiny_params

from benchmarks.episodes import reference_setting
from benchmarks.ways import problem, relative_error
from mooc_maml.episodes.examples import Examples, costs_on, courses_read, groups_by_size, groups_on
from mooc_maml.meta import outer_products
from mooc_maml.meta import train as training
from mooc_maml.meta.gru.packed import pack_examples
from mooc_maml.meta.gru.profile import Profile, envelope, profile_of
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.outer import MetaGradient, meta_gradient, prepared_meta_gradient
from mooc_maml.meta.recording import recorded
from mooc_maml.meta.replay import CUDAGraph, Replays, shape_of, tensors_of, with_tensors
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.runtime.processes import ALONE, ProcessGroup

GPU = torch.device("cuda")
HOW = {"steps": 3, "inner_lr": 0.3, "second_order": True}
SEVERAL = ["ragged sessions", "one-pair supports", "several sessions, padding pairs"]
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Again:
    """Stands for a graph: it calls the function again, and puts the results where they were."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def record(self, function: Callable[[], Any]) -> Any:
        self.function, self.outputs = function, function()
        return self.outputs

    def replay(self) -> None:
        with torch.inference_mode():
            for place, x in zip(tensors_of(self.outputs), tensors_of(self.function()), strict=True):
                place.copy_(x)


@pytest.fixture(autouse=True)
def _counted() -> None:
    Again.made = 0


def batch_of(*names: str) -> tuple[Examples, Examples]:
    support, query = (assemble([t for name in names for t in CASES[name][i]]) for i in (0, 1))
    return support, query


def wider(profile: Profile, by: int = 3) -> Profile:
    """More of everything: sessions at each time, times, steps of a task, pairs."""
    sizes = (*(size + by for size in profile.sizes), *[by] * by)
    return Profile(profile.tasks, profile.pairs + by, profile.n + by, sizes)


def padded(device: torch.device, dtype: torch.dtype, batch: Any, replays: Any) -> GRUTaskModel:
    profiles = tuple(wider(profile_of(examples)) for examples in batch)
    return GRUTaskModel(device, dtype).recording(replays, profiles)  # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["sums", "matrices"])
def own_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """In which form several tasks have weights of their own: as on the CPU, or as on a GPU."""
    monkeypatch.setattr(outer_products, "wants_matrices", lambda device: request.param)
    return bool(request.param)


# --- groups -----------------------------------------------------------------------------------


def test_on_a_gpu_as_few_groups_as_may_be_and_shares_of_equal_number() -> None:
    support, query = batch_of(*SEVERAL)
    tasks = list(range(support.num_tasks))
    assert groups_on(CPU, support, query, tasks, 5) == groups_by_size(support, query, tasks, 5)
    groups = groups_on(GPU, support, query, tasks, 5)
    assert [len(group) for group in groups] == [5, 2]
    read = courses_read(support, query)
    assert max(read[groups[0]]) <= min(read[groups[1]])
    assert groups_on(GPU, support, query, [], 5) == []
    assert costs_on(GPU, support, query) == [1.0] * len(tasks)


# --- padding ----------------------------------------------------------------------------------


def test_a_profile_by_hand() -> None:
    """Sessions of 3, 1 and 2 steps of one task, and of 2 of another: 4 run at first, 3, then 1."""
    courses = torch.tensor([[[1, 2, 3], [4, 0, 0], [5, 6, 0]], [[7, 8, 0], [0] * 3, [0] * 3]])
    pairs = torch.zeros(2, 5, dtype=torch.int64)
    found = profile_of(Examples(courses, *[pairs] * 3, torch.ones(2), *[pairs] * 2))
    assert found == Profile(tasks=2, pairs=5, n=6, sizes=(4, 3, 1))
    assert sum(found.sizes) == 8
    assert found.fits(found)
    for change in (
        {"tasks": 3},
        {"pairs": 6},
        {"n": 7},
        {"sizes": (4, 4)},
        {"sizes": (1, 1, 1, 1)},
    ):
        assert not found.fits(replace(found, **change))
    assert found.fits(Profile(2, 4, 1, (4, 3)))


def test_an_envelope_fits_all_that_it_was_drawn_from() -> None:
    drawn = [assemble(CASES[name][0]) for name in SEVERAL] + [assemble([pairs_of([1, 2])])]
    largest = max(examples.num_tasks for examples in drawn)
    whole = envelope(drawn)
    assert whole.tasks == largest
    fitting = [whole.fits(profile_of(examples)) for examples in drawn]
    assert fitting == [examples.num_tasks == largest for examples in drawn]
    assert list(whole.sizes) == sorted(whole.sizes, reverse=True)


@pytest.mark.usefixtures("own_weights")
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("case", list(CASES))
def test_padding_contributes_nothing(case: str, layers: int) -> None:
    """Losses, meta-gradient, each step's gradient and Hessian-vector product, to 1e-12."""
    support, query = batch_of(case)
    weights = gru_weights(7, layers)
    plain, other = (
        GRUTaskModel(CPU, torch.float64),
        padded(CPU, torch.float64, batch_of(case), None),
    )
    expected = meta_gradient(plain, weights, support, query, **HOW)
    found = meta_gradient(other, weights, support, query, **HOW)
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-13, atol=0)
    assert relative_error(found.weights, expected.weights) < 1e-12

    def parts(model: GRUTaskModel) -> list[Weights]:
        layout = model.prepare(support)
        start = model.initial(weights, layout)
        _, slope, _ = model.gradient(start, layout)
        fast = start.plus(slope, -0.3)
        _, again, tape = model.gradient(fast, layout)
        product = model.hessian_product(tape, slope)
        return [x.sum_over_tasks() for x in (slope, again, product)]

    for own, true in zip(parts(other), parts(plain), strict=True):
        assert relative_error(own, true) < 1e-12


@pytest.mark.usefixtures("own_weights")
def test_padding_may_hold_anything() -> None:
    """The control: what lies in padded places is another, and not a bit of the result is."""
    support, query = batch_of(*SEVERAL)
    weights, model = gru_weights(7), padded(CPU, torch.float64, batch_of(*SEVERAL), None)
    found = []
    for course in (0, 5):
        packed = []
        for layout in (model.prepare(support), model.prepare(query, support)):
            assert layout.real is not None
            fake = layout.real[:, 0] == 0
            assert bool(fake.any())
            place = int((layout.mask[..., 0] > 0).flatten().nonzero()[course])
            packed.append(replace(layout, to_packed=layout.to_packed.where(~fake, place)))
        found.append(
            prepared_meta_gradient(model, weights, *packed, 0.3, steps=3, second_order=True)
        )
    assert torch.equal(found[0].losses, found[1].losses)
    assert same_weights(found[0].weights, found[1].weights)


def test_what_does_not_fit_is_not_padded() -> None:
    support, query = batch_of("ragged sessions")
    model = padded(CPU, torch.float64, batch_of("one session"), None)
    assert model.prepare(support).real is None
    expected = pack_examples(query, CPU, torch.float64)
    assert torch.equal(model.prepare(query, support).to_packed, expected.to_packed)


# --- nothing depends on values ------------------------------------------------------------------


@pytest.mark.usefixtures("own_weights")
def test_nothing_after_preparing_looks_at_a_value() -> None:
    """Fake tensors have no values, so .item() and the like fail."""
    support, query = batch_of(*SEVERAL)
    model, weights = GRUTaskModel(CPU, torch.float64), gru_weights(7, 2)
    arguments = weights, model.prepare(support), model.prepare(query, support), 0.3
    with FakeTensorMode() as fakes, torch.inference_mode():
        fake = with_tensors(arguments, (fakes.from_tensor(x) for x in tensors_of(arguments)))
        how = {"steps": 3, "second_order": True}
        found = prepared_meta_gradient(model, *fake, **how, step_weights=(0.2, 0.3, 0.5))
        with pytest.raises(Exception, match="_local_scalar_dense"):
            found.losses.sum().item()  # the control
    assert found.losses.shape == (support.num_tasks,)
    assert {name: x.shape for name, x in found.weights.items()} == {
        name: x.shape for name, x in weights.items()
    }


@pytest.mark.parametrize("is_padded", [True, False])
@pytest.mark.parametrize("by_name", [True, False], ids=["rates by name", "one rate"])
def test_off_the_cpu_all_stays_on_the_device(is_padded: bool, by_name: bool) -> None:
    """On the device `meta`, which is not the CPU and has no values, in the form for a GPU."""
    batch, weights = batch_of(*SEVERAL), gru_weights(7, 2)
    plain = GRUTaskModel(CPU, torch.float64)
    model = padded(CPU, torch.float64, batch, None) if is_padded else plain
    rates = [{name: torch.tensor(0.1) for name in weights}] if by_name else 0.1
    arguments = weights, model.prepare(batch[0]), model.prepare(batch[1], batch[0]), rates
    moved = with_tensors(arguments, (x.to("meta") for x in tensors_of(arguments)))
    how = {"steps": 3, "second_order": True, "step_weights": (0.2, 0.3, 0.5)}
    found = prepared_meta_gradient(model, *moved, **how)
    assert {x.device.type for x in tensors_of(found)} == {"meta"}
    expected = prepared_meta_gradient(model, *arguments, **how)
    assert [x.shape for x in tensors_of(found)] == [x.shape for x in tensors_of(expected)]


# --- recording ----------------------------------------------------------------------------------


def by(replays: Replays, batch: Any, weights: Weights, **how: Any) -> MetaGradient:
    model = padded(CPU, torch.float64, batch_of("ragged sessions"), replays)
    return meta_gradient(model, weights, *batch, **(HOW | how))


@pytest.mark.usefixtures("own_weights")
def test_a_replay_is_the_call_itself() -> None:
    """From the second call of a shape on, with other weights and examples than were recorded."""
    replays = Replays(Again)
    plain = padded(CPU, torch.float64, batch_of("ragged sessions"), None)
    other = tuple(
        x._replace(courses=x.courses.where(x.courses == 0, 8 - x.courses))
        for x in batch_of("ragged sessions")
    )
    batches = [batch_of("ragged sessions"), other] * 2
    kept = []
    for number, batch in enumerate(batches):
        weights = gru_weights(7, seed=number)
        expected = meta_gradient(plain, weights, *batch, **HOW)
        found = by(replays, batch, weights)
        assert Again.made == (number > 0)
        kept.append((found, expected))
    for found, expected in kept:  # a later replay leaves earlier results alone
        assert torch.equal(found.losses, expected.losses)
        assert same_weights(found.weights, expected.weights)


def test_what_differs_in_shape_or_order_is_recorded_apart() -> None:
    replays, weights, batch = Replays(Again), gru_weights(7), batch_of("ragged sessions")
    for change in ({}, {"second_order": False}, {"steps": 2}, {"inner_lr": 0.1}):
        for _ in range(3):
            found = by(replays, batch, weights, **change)
        plain = meta_gradient(
            padded(CPU, torch.float64, batch, None), weights, *batch, **(HOW | change)
        )
        assert same_weights(found.weights, plain.weights)
    assert Again.made == 4


def add_one(x: dict[str, Tensor]) -> list[Tensor]:
    return [x["x"] + 1]


def test_those_used_last_are_kept() -> None:
    replays = Replays(Again, at_most=2)

    def call(size: int) -> int:
        before = Again.made
        (found,) = replays.run("add", add_one, {"x": torch.full((size,), float(size))})
        assert found.tolist() == [size + 1.0] * size
        return Again.made - before

    assert [call(size) for size in (1, 1, 2, 2, 1)] == [0, 1, 0, 1, 0]
    assert [call(size) for size in (3, 3)] == [0, 1]  # 2 has to go
    assert [call(size) for size in (1, 3, 2, 1)] == [0, 0, 1, 1]
    assert len(replays._recorded) == 2


class Refusing:
    def record(self, function: Callable[[], Any]) -> Any:
        function()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    def replay(self) -> None:
        raise AssertionError("nothing was recorded")


def test_what_cannot_be_recorded_is_done_without_and_told_once(capsys) -> None:
    replays = Replays(Refusing)
    for size in (1, 1, 1, 2, 2):
        (found,) = replays.run("add", add_one, {"x": torch.zeros(size)})
        assert found.tolist() == [1.0] * size
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "hardware.cuda_graphs: not recorded (CUDA error: operation not permitted when stream is "
        "capturing); without from now on"
    )


def test_trees_are_taken_apart_and_put_together() -> None:
    layout = pack_examples(batch_of("one session")[0], CPU, torch.float64)
    tree = {"a": [torch.ones(2), 3], "b": layout}
    again = with_tensors(tree, (x * 2 for x in tensors_of(tree)))
    assert shape_of(again) == shape_of(tree)
    assert again["a"][0].tolist() == [2, 2]
    assert again["b"].sizes == layout.sizes
    assert torch.equal(again["b"].courses, layout.courses * 2)
    assert shape_of({"a": torch.ones(2)}) != shape_of({"a": torch.ones(3)})
    assert shape_of({"a": torch.ones(2)}) != shape_of({"a": torch.ones(2).double()})


# --- training -----------------------------------------------------------------------------------


def recording_trainer(new_graph: Any = Again, **changes: Any) -> MetaTrainer:
    """As on a GPU: a trainer whose meta-gradients are recorded."""
    trainer = MetaTrainer(STORE, tiny_params(**changes), CPU)
    args = trainer.task_model, STORE, trainer.params, ALONE
    trainer.recording = recorded(*args, new_graph)
    return trainer


@pytest.mark.usefixtures("own_weights")
def test_a_recorded_run_is_the_plain_run_to_rounding_and_resumes_to_the_bit() -> None:
    whole, plain = run(recording_trainer()), run(MetaTrainer(STORE, tiny_params(), CPU))
    assert Again.made >= 1
    assert whole.progress.losses == pytest.approx(plain.progress.losses, rel=1e-10)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(weight, plain.weights[name], rtol=0, atol=1e-9)
    stopped = run(recording_trainer(), 5)
    again = recording_trainer()
    again.restore(through_a_file(stopped.state()))
    assert same_weights(run(again).weights, whole.weights)
    assert again.progress.losses == whole.progress.losses


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": {"pointer": 1.0}},
        {"meta": {"variant": "reliability"}},
        {"model": {"backbone": "transformer"}},
    ],
)
def test_settings_that_cannot_be_recorded_are_told_and_run_as_ever(changes, capsys) -> None:
    found = run(recording_trainer(Refusing, **changes), 3)
    assert "hardware.cuda_graphs: not with these settings" in capsys.readouterr().err
    plain = run(MetaTrainer(STORE, tiny_params(**changes), CPU), 3)
    assert same_weights(found.weights, plain.weights)


def test_a_process_that_never_has_a_task_says_nothing(capsys) -> None:
    trainer = MetaTrainer(STORE, tiny_params(meta_batch_size=1), CPU)
    args = trainer.task_model, STORE, trainer.params, ProcessGroup(size=2, rank=1)
    assert recorded(*args, Refusing) is trainer.task_model
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("variant", ["maml_plus_plus", "proximal", "reptile", "anil", "context"])
def test_other_variants_give_the_same_when_recorded(variant: str) -> None:
    changes = {"meta": {"variant": variant}}
    found = run(recording_trainer(**changes), 4)
    plain = run(MetaTrainer(STORE, tiny_params(**changes), CPU), 4)
    assert found.progress.losses == pytest.approx(plain.progress.losses, rel=1e-10)


def test_dropout_runs_without_recording() -> None:
    changes = {"meta": {"dropout": 0.3}}
    found = run(recording_trainer(Refusing, **changes), 3)
    assert same_weights(
        found.weights, run(MetaTrainer(STORE, tiny_params(**changes), CPU), 3).weights
    )


def test_the_switch_is_off_and_for_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("recorded")

    monkeypatch.setattr(training, "recorded", never)
    assert not tiny_params().hardware.cuda_graphs
    MetaTrainer(STORE, tiny_params(hardware={"cuda_graphs": True}), CPU)


# --- on a GPU -----------------------------------------------------------------------------------


def on_a_gpu(**changes: Any) -> MetaTrainer:
    hardware = {"device": "cuda", "cuda_graphs": True, "precision": "float32"} | changes
    return MetaTrainer(STORE, tiny_params(hardware=hardware), GPU)


@pytest.fixture
def _deterministic(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@NEEDS_GPU
@pytest.mark.usefixtures("_deterministic")
def test_a_graph_on_a_gpu_equals_the_plain_way_and_itself() -> None:
    chosen = problem(reference_setting(0, tasks=8), 0, GPU)
    batch = chosen.setting.support, chosen.setting.query
    replays = Replays(lambda: CUDAGraph(GPU))
    profiles = tuple(wider(profile_of(x.to(CPU))) for x in batch)
    plain = GRUTaskModel(GPU, torch.float32)
    own = plain.recording(replays, profiles)  # type: ignore[arg-type]
    how = {"steps": 5, "inner_lr": 0.01, "second_order": True}
    expected = meta_gradient(plain, chosen.weights, *batch, **how)
    found = [meta_gradient(own, chosen.weights, *batch, **how) for _ in range(4)]
    assert replays.fault == ""
    assert len(replays._recorded) == 1
    for each in found:
        assert relative_error(each.weights, expected.weights) < 1e-5
        assert same_weights(each.weights, found[0].weights)  # found[0]: not replayed
        assert torch.equal(each.losses, found[0].losses)


@NEEDS_GPU
def test_nothing_after_preparing_waits_for_the_gpu() -> None:
    chosen = problem(reference_setting(0, tasks=8), 0, GPU)
    model = GRUTaskModel(GPU, torch.float32)
    support, query = chosen.setting.support, chosen.setting.query
    arguments = chosen.weights, model.prepare(support), model.prepare(query, support), 0.01
    prepared_meta_gradient(model, *arguments, steps=2, second_order=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        prepared_meta_gradient(model, *arguments, steps=2, second_order=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@NEEDS_GPU
@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_a_run_on_a_gpu_twice_and_resumed_is_the_same_to_the_bit(cuda_graphs: bool) -> None:
    whole = run(on_a_gpu(cuda_graphs=cuda_graphs))
    assert same_weights(run(on_a_gpu(cuda_graphs=cuda_graphs)).weights, whole.weights)
    again = on_a_gpu(cuda_graphs=cuda_graphs)
    again.restore(through_a_file(run(on_a_gpu(cuda_graphs=cuda_graphs), 5).state()))
    assert same_weights(run(again).weights, whole.weights)
    plain = run(MetaTrainer(STORE, tiny_params(hardware={"precision": "float32"}), CPU))
    assert whole.progress.losses == pytest.approx(plain.progress.losses, rel=1e-3)
