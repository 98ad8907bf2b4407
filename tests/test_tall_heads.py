"""Few rows by a head of many courses go a quicker way, which gives the same."""

from typing import Any

import pytest
import torch
from meta_helpers import assemble, gru_weights
from test_pointer import COURSES, QUERY, SUPPORT
from torch import Tensor
from training_helpers import CPU

from benchmarks.ways import relative_error
from mooc_maml.common.randomness import torch_generator
from mooc_maml.meta.gru import task_linear
from mooc_maml.meta.gru.task_linear import _FEW, _TALL, TaskLinear
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import StepSizes, Weights, adapt
from mooc_maml.meta.outer_products import OuterSum
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter

EXACT = [(torch.float32, 1e-6), (torch.float64, 1e-12)]
POINTERS = {
    None: {},
    "added": {"pointer.bias": torch.tensor([0.4, -0.3, 0.8]).double()},
    "mixed": {"pointer.bias": torch.tensor([0.4, -0.3, 0.8, -0.6, 0.5]).double()},
}
ALL = SeenFilter(True, True, None)


def drawn(*shape: int) -> Tensor:
    draw = torch_generator(1, f"test-tall-heads-{shape}")
    return torch.randn(shape, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("tasks_and_rows", [(1, 1), (1, 2), (1, 5), (2, 4), (1, _FEW + 1), (2, 0)])
def test_products_are_those_of_the_whole_matrix(
    tasks_and_rows: tuple[int, int], dtype: torch.dtype, error: float
) -> None:
    """In float32 a sum of 20,000 terms is good to 1e-5, whichever way; MKL's comes to 4e-6."""
    weight, bias = drawn(_TALL, 4), drawn(_TALL)
    u, d = drawn(*tasks_and_rows, 4), drawn(*tasks_and_rows, _TALL)
    layer = TaskLinear(weight.to(dtype), bias.to(dtype), OuterSum())
    found = {"W u + b": layer.affine(u.to(dtype)), "W^T d": layer.transposed(d.to(dtype))}
    assert all(x.is_contiguous() and x.dtype == dtype for x in found.values())
    expected = {"W u + b": u @ weight.T + bias, "W^T d": d @ weight}
    assert relative_error(found, expected) < error


def adapted(
    weights: Weights, tasks: int, points: str | None, seen: SeenFilter, sizes: StepSizes
) -> Tensor:
    """Scores of the first query pairs after three steps."""
    learner = GRUTaskModel(CPU, weights["head.bias"].dtype, seen, points=points)
    support, query = assemble(SUPPORT[:tasks]), assemble(QUERY[:tasks])
    fast, _ = adapt(learner, weights, learner.prepare(support), 3, sizes, keep=False)
    return learner.scores(fast, learner.prepare_scores(query, support))


def step_sizes(kind: str, weights: Weights) -> StepSizes:
    """One for all, one of each weight matrix, or one of each value."""
    if kind == "one":
        return 0.3
    draw = torch_generator(1, "test-tall-heads-rates")
    shapes = {name: x.shape if kind == "values" else () for name, x in weights.items()}
    rates = {name: torch.rand(shape, generator=draw) for name, shape in shapes.items()}
    return [{name: x.to(weights[name].dtype) for name, x in rates.items()}]


def both_ways(monkeypatch: pytest.MonkeyPatch, *how: Any) -> tuple[Tensor, Tensor]:
    """What is adapted where 7 courses count as many, and where they do not."""
    plain = adapted(*how)
    monkeypatch.setattr(task_linear, "_TALL", COURSES)
    monkeypatch.setattr(task_linear, "linear", None)  # the plain way is not taken
    return adapted(*how), plain


@pytest.mark.parametrize(("dtype", "error"), EXACT)
@pytest.mark.parametrize("points", list(POINTERS))
@pytest.mark.parametrize("seen", [NONE_LEFT_OUT, ALL])
@pytest.mark.parametrize(
    ("tasks", "kind"), [(1, "one"), (2, "one"), (1, "matrices"), (2, "matrices"), (1, "values")]
)
def test_adaptation_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
    tasks: int,
    kind: str,
    seen: SeenFilter,
    points: str | None,
    dtype: torch.dtype,
    error: float,
) -> None:
    weights = gru_weights(COURSES) | POINTERS[points]
    weights = {name: x.to(dtype) for name, x in weights.items()}
    how = weights, tasks, points, seen, step_sizes(kind, weights)
    found, plain = both_ways(monkeypatch, *how)
    assert not torch.equal(plain, adapted(weights, tasks, points, seen, 0.0))
    assert relative_error({"scores": found}, {"scores": plain}) < error


@pytest.mark.parametrize("large", [1e3, 1e6])
def test_huge_scores_do_not_overflow(monkeypatch: pytest.MonkeyPatch, large: float) -> None:
    weights = {name: x.float() for name, x in gru_weights(COURSES).items()}
    weights |= {name: large * weights[name] for name in ("head.weight", "head.bias")}
    found, plain = both_ways(monkeypatch, weights, 2, None, NONE_LEFT_OUT, 0.01)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6 * large)
