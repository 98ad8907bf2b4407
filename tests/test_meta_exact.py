"""The engine's meta-gradient is exact: against plain autograd, `higher`, `vmap`, and by hand."""

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from meta_helpers import Pair, Weights, assemble, by_autograd, gru_loss, gru_weights, pairs_of
from torch import Tensor

from benchmarks import rivals
from benchmarks.episodes import many_sessions, reference_setting
from benchmarks.ways import problem, relative_error
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.dense import DenseTaskModel
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import adapt
from mooc_maml.meta.outer import meta_gradient

COURSES = 7
HOW = {"steps": 3, "inner_lr": 0.3}
CPU = torch.device("cpu")
EXACT = {torch.float64: 1e-9, torch.float32: 1e-5}
DTYPES = pytest.mark.parametrize("dtype", list(EXACT))
ORDERS = pytest.mark.parametrize("second_order", [True, False])
Task = list[Pair]

LONG = (generator(1, "test-long-session").integers(0, COURSES, 56) + 1).tolist()
CASES: dict[str, tuple[list[Task], list[Task]]] = {
    "one session": ([pairs_of([1, 2, 3, 4])], [pairs_of([1, 2, 3, 4, 5, 6])[3:]]),
    "ragged sessions": (
        [pairs_of([1, 2, 3, 4, 5, 6, 7]), pairs_of([3, 4]), pairs_of([5, 1, 6])],
        [pairs_of([7, 2]), pairs_of([4, 3, 2, 1, 5]), pairs_of([6, 2, 4])],
    ),
    "several sessions, padding pairs": (
        [pairs_of([1, 2, 3]) + pairs_of([4, 5]) + pairs_of([6, 7, 1]), pairs_of([2, 6])],
        [pairs_of([3, 1]), pairs_of([5, 6]) + pairs_of([7, 3, 5, 2])],
    ),
    "one-pair supports": (
        [[([4], 2)], [([1, 5, 2], 7)]],
        [pairs_of([4, 2, 4]), pairs_of([1, 2, 3])],
    ),
    "repeated courses": (
        [pairs_of([1, 2, 1, 2, 1]) + pairs_of([1, 2]), pairs_of([3, 3, 3, 3])],
        [pairs_of([2, 1, 2, 1]), pairs_of([3, 3, 1, 3])],
    ),
    "prefixes cut at 50": (
        [pairs_of(LONG)[-8:-3], pairs_of(LONG[:20])[-2:]],
        [pairs_of(LONG)[-3:], pairs_of(LONG[3:])[-4:]],
    ),
    "one task alone": (
        [pairs_of([1, 2, 1, 3]) + pairs_of([4, 5])],
        [pairs_of([2, 6, 7]) + pairs_of([1, 3])],
    ),
}
ALL_CASES = pytest.mark.parametrize("case", list(CASES))


def by_engine(
    weights: Weights, support: Examples, query: Examples, **how: Any
) -> tuple[Tensor, Weights]:
    how = HOW | how
    learner = GRUTaskModel(CPU, weights["head.bias"].dtype)
    return meta_gradient(learner, weights, support, query, **how)[:2]


def assert_exact(
    found: tuple[Tensor, Weights], expected: tuple[Tensor, Weights], dtype: torch.dtype
) -> None:
    torch.testing.assert_close(found[0].double(), expected[0], rtol=EXACT[dtype], atol=0)
    assert all(x.dtype == dtype for x in found[1].values())
    assert relative_error(found[1], expected[1]) < EXACT[dtype]


def test_cut_prefixes_have_rows_of_their_own() -> None:
    support = assemble(CASES["prefixes cut at 50"][0])
    assert support.courses.shape == (2, 3, 50)  # 48, 49 and 50 courses share a row; 51, 52 do not
    assert support.position[0].tolist() == [47, 48, 49, 49, 49]


@ALL_CASES
@ORDERS
@DTYPES
@pytest.mark.parametrize("layers", [1, 2])
def test_equals_plain_autograd(
    case: str, second_order: bool, dtype: torch.dtype, layers: int
) -> None:
    support, query = CASES[case]
    weights = gru_weights(COURSES, layers)
    expected = by_autograd(gru_loss, weights, support, query, second_order=second_order, **HOW)
    found = by_engine(
        {name: x.to(dtype) for name, x in weights.items()},
        assemble(support),
        assemble(query),
        second_order=second_order,
    )
    assert_exact(found, expected, dtype)


@ALL_CASES
@ORDERS
@pytest.mark.parametrize("way", [rivals.study_loop, rivals.with_higher, rivals.with_vmap])
def test_equals_other_ways(way: rivals.MetaGradient, case: str, second_order: bool) -> None:
    support, query = (assemble(tasks) for tasks in CASES[case])
    weights, order = gru_weights(COURSES), {"second_order": second_order}
    loss, gradient = way(weights, support, query, lr=HOW["inner_lr"], steps=HOW["steps"], **order)
    losses, found = by_engine(weights, support, query, **order)
    assert losses.mean().item() == pytest.approx(loss.item(), rel=1e-12)
    mean = {name: x / support.num_tasks for name, x in found.items()}
    assert relative_error(mean, gradient) < EXACT[torch.float64]


@ORDERS
@pytest.mark.parametrize("setting", [reference_setting, many_sessions])
def test_equals_the_study_loop_at_full_size_in_float32(setting: Any, second_order: bool) -> None:
    chosen = problem(setting(seed=1, tasks=3), seed=1, device=CPU, steps=5)
    batch, how = (chosen.setting.support, chosen.setting.query), {"second_order": second_order}
    double = {name: x.double() for name, x in chosen.weights.items()}
    _, expected = rivals.study_loop(double, *batch, lr=0.01, steps=5, **how)
    _, found = by_engine(chosen.weights, *batch, steps=5, inner_lr=0.01, **how)
    mean = {name: x / 3 for name, x in found.items()}
    assert relative_error(mean, expected) < EXACT[torch.float32]


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Task], list[Task]]:
    """One to three tasks of random sessions; any part of their pairs is the support."""
    session = st.lists(st.integers(1, COURSES), min_size=2, max_size=6)
    both = []
    for _ in range(draw(st.integers(1, 3))):
        pairs = [p for x in draw(st.lists(session, min_size=2, max_size=4)) for p in pairs_of(x, 4)]
        cut = draw(st.integers(1, len(pairs) - 1))
        both.append((pairs[:cut], pairs[cut:]))
    support, query = zip(*both, strict=True)
    return list(support), list(query)


@given(batches(), st.integers(0, 3), st.integers(1, 2), st.booleans())
def test_equals_plain_autograd_for_any_shape(
    batch: tuple[list[Task], list[Task]], steps: int, layers: int, second_order: bool
) -> None:
    how = HOW | {"steps": steps, "second_order": second_order}
    weights = gru_weights(COURSES, layers)
    expected = by_autograd(gru_loss, weights, *batch, **how)
    assert_exact(by_engine(weights, *map(assemble, batch), **how), expected, torch.float64)


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_finite_differences_of_the_meta_loss(layers: int) -> None:
    batch = [assemble(tasks) for tasks in CASES["several sessions, padding pairs"]]
    weights = gru_weights(COURSES, layers)
    _, gradient = by_engine(weights, *batch, second_order=True)
    draw, step = torch_generator(2, "test-finite-differences"), 1e-5
    for name, x in weights.items():
        for place in torch.randperm(x.numel(), generator=draw)[:4].tolist():
            ends = []
            for change in (step, -step):
                moved = weights | {name: x.clone()}
                moved[name].view(-1)[place] += change
                ends.append(by_engine(moved, *batch, second_order=False)[0].sum().item())
            slope = (ends[0] - ends[1]) / (2 * step)
            expected = pytest.approx(slope, rel=1e-6, abs=1e-8)
            assert gradient[name].view(-1)[place].item() == expected, (name, place)


@pytest.mark.parametrize("layers", [1, 2])
def test_every_parameter_learns_except_padding(layers: int) -> None:
    batch = [assemble(tasks) for tasks in CASES["several sessions, padding pairs"]]
    weights = gru_weights(COURSES, layers)
    gradients = [by_engine(weights, *batch, second_order=order)[1] for order in (True, False)]
    for gradient in gradients:
        assert {name: x.shape for name, x in gradient.items()} == {
            name: x.shape for name, x in weights.items()
        }
        assert all(x.norm() > 0 for x in gradient.values())
        assert gradient["embedding.weight"][0].abs().max() == 0
    second, first = gradients
    assert all((second[name] - x).norm() > 0.01 * x.norm() for name, x in first.items())


@DTYPES
def test_chunks_of_tasks_add_up(dtype: torch.dtype) -> None:
    names = ["ragged sessions", "one-pair supports", "several sessions, padding pairs"]
    support, query = (assemble([task for name in names for task in CASES[name][i]]) for i in (0, 1))
    weights = gru_weights(COURSES, dtype=dtype)
    losses, whole = by_engine(weights, support, query, second_order=True)
    for bounds in ([0, 3, 7], [0, 1, 2, 5, 7]):
        chunks = [
            by_engine(weights, support.tasks(a, b), query.tasks(a, b), second_order=True)
            for a, b in pairwise(bounds)
        ]
        assert torch.cat([chunk[0] for chunk in chunks]).tolist() == pytest.approx(
            losses.tolist(), rel=1e-13 if dtype == torch.float64 else 1e-5
        )
        total = {name: torch.stack([chunk[1][name] for chunk in chunks]).sum(0) for name in whole}
        assert relative_error(total, whole) < (1e-12 if dtype == torch.float64 else 1e-5)


def test_the_same_bits_every_time_and_weights_are_left_alone() -> None:
    batch = [assemble(tasks) for tasks in CASES["several sessions, padding pairs"]]
    weights = gru_weights(COURSES, 2, torch.float32)
    before = {name: x.clone() for name, x in weights.items()}
    runs = [by_engine(weights, *batch, second_order=True) for _ in range(3)]
    for losses, gradient in runs[1:]:
        assert torch.equal(losses, runs[0][0])
        assert all(torch.equal(gradient[name], x) for name, x in runs[0][1].items())
    assert all(torch.equal(weights[name], x) for name, x in before.items())


def test_nothing_is_read_before_it_is_written() -> None:
    """The same bits whether new memory is filled with NaN first or left as it is."""
    batch = [assemble(tasks) for tasks in CASES["several sessions, padding pairs"]]
    weights, found = gru_weights(COURSES, 2, torch.float32), []
    fills = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True)
        for fill in (True, False):
            torch.utils.deterministic.fill_uninitialized_memory = fill
            found.append(by_engine(weights, *batch, second_order=True))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = fills
    (losses, gradient), (again, other) = found
    assert torch.equal(losses, again)
    assert all(torch.equal(other[name], x) for name, x in gradient.items())
    assert all(bool(x.isfinite().all()) for x in gradient.values())


def test_scores_after_adaptation_are_those_of_the_adapted_weights() -> None:
    support, query = CASES["several sessions, padding pairs"]
    weights, learner = gru_weights(COURSES), GRUTaskModel(CPU, torch.float64)
    fast, tapes = adapt(learner, weights, learner.prepare(assemble(support)), 2, 0.3)
    assert len(tapes) == 2
    scores = learner.scores(fast, learner.prepare(assemble(query)))
    for task, own_support in enumerate(support):
        adapted = {name: x.requires_grad_() for name, x in weights.items()}
        for _ in range(2):
            slopes = torch.autograd.grad(gru_loss(adapted, own_support), list(adapted.values()))
            adapted = {
                name: x - 0.3 * slope
                for (name, x), slope in zip(adapted.items(), slopes, strict=True)
            }
        for pair, (prefix, label) in enumerate(query[task]):
            loss = torch.logsumexp(scores[task, pair], 0) - scores[task, pair, label - 1]
            expected = gru_loss(adapted, [(prefix, label)])
            assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@ORDERS
@ALL_CASES
def test_any_model_by_torch_func_alone(case: str, second_order: bool) -> None:
    """A loop over GRU cells as a plain function: `DenseTaskModel` agrees with plain autograd."""
    if case == "prefixes cut at 50":
        case = "one session"  # 50 cells under three transforms say nothing new, slowly
    support, query = CASES[case]
    batch = [assemble(tasks) for tasks in (support, query)]
    width, weights = rivals.longest_prefix(*batch), gru_weights(COURSES)
    learner = DenseTaskModel(lambda weights, prefixes: rivals._prefix_loss(weights, *prefixes))
    rows = [rivals.prefix_rows(examples, width) for examples in batch]
    found = meta_gradient(learner, weights, *rows, second_order=second_order, **HOW)
    expected = by_autograd(gru_loss, weights, support, query, second_order=second_order, **HOW)
    assert_exact(found, expected, torch.float64)


class Aim(NamedTuple):
    """Where a task wants the weights to be: float [tasks, 2]."""

    at: Tensor


def half_square(weights: Weights, aim: Aim) -> Tensor:
    return 0.5 * (weights["w"] - aim.at).square().sum()


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_quadratic_by_hand(steps: int) -> None:
    """L = |w - a|^2 / 2: a step takes w - a to (1 - alpha)(w - a), and so does each one after it.

    The query loss |w_S - b|^2 / 2 has the derivative (w_S - b)(1 - alpha)^S with respect to w;
    first-order MAML leaves the power out.
    """
    alpha, w = 0.25, torch.tensor([1.0, -2.0], dtype=torch.float64)
    a = torch.tensor([[5.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 1.0], [-3.0, 4.0]], dtype=torch.float64)
    shrunk = (1 - alpha) ** steps
    expected = a + shrunk * (w - a)
    learner = DenseTaskModel(half_square)
    fast, _ = adapt(learner, {"w": w}, Aim(a), steps, alpha)
    torch.testing.assert_close(fast.values["w"], expected)
    for second_order, power in ((True, shrunk), (False, 1.0)):
        losses, gradient, _ = meta_gradient(
            learner,
            {"w": w},
            Aim(a),
            Aim(b),
            steps=steps,
            inner_lr=alpha,
            second_order=second_order,
        )
        torch.testing.assert_close(losses, (expected - b).square().sum(1) / 2)
        torch.testing.assert_close(gradient["w"], ((expected - b) * power).sum(0))


def test_one_step_in_numbers() -> None:
    """w = 1, a = 5, alpha = 1/4: w' = 2. b = 0: loss 2, slope 2 x 3/4 = 1.5; first-order 2."""
    learner, one = DenseTaskModel(half_square), torch.ones(1)
    how = {"steps": 1, "inner_lr": 0.25}
    batch = {"w": one}, Aim(torch.tensor([[5.0]])), Aim(torch.tensor([[0.0]]))
    losses, gradient, _ = meta_gradient(learner, *batch, second_order=True, **how)
    assert (losses.item(), gradient["w"].item()) == (2.0, 1.5)
    assert meta_gradient(learner, *batch, second_order=False, **how)[1]["w"].item() == 2.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@ORDERS
@DTYPES
def test_the_same_on_a_gpu(second_order: bool, dtype: torch.dtype) -> None:
    gpu = torch.device("cuda")
    batch = [assemble(tasks) for tasks in CASES["several sessions, padding pairs"]]
    weights, how = gru_weights(COURSES, 2), HOW | {"second_order": second_order}
    expected = by_engine(weights, *batch, **how)
    moved = {name: x.to(gpu, dtype) for name, x in weights.items()}
    losses, found, _ = meta_gradient(GRUTaskModel(gpu, dtype), moved, *batch, **how)
    found = {name: x.cpu() for name, x in found.items()}
    assert_exact((losses.cpu(), found), expected, dtype)
