"""The ways that benchmarks compare agree with each other and with finite differences."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pipeline_files import ROOT
from torch import Tensor

from benchmarks import episodes, measure, rivals
from benchmarks.episodes import QUERY_SIZE, SUPPORT_SIZE, many_sessions, reference_setting
from benchmarks.measure import interleaved_seconds
from benchmarks.ways import WAYS, problem, relative_error
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EPISODE_SETS, write_episodes
from mooc_maml.report.measured import Row, table

COURSES, EMBEDDING, HIDDEN = 7, 3, 4
LR, STEPS = 0.3, 3


def examples(courses: list[list[list[int]]], *rest: list[list[int]]) -> Examples:
    row, position, label = (torch.tensor(x) for x in rest)
    reliability, offset = torch.ones(len(courses)), torch.zeros_like(row)
    return Examples(torch.tensor(courses), row, position, label, reliability, row, offset)


@pytest.fixture
def ragged() -> tuple[Examples, Examples]:
    """Two tasks: several rows and sessions, repeated courses, and pairs that are padding."""
    support = examples(
        [[[1, 2, 1, 2], [3, 0, 0, 0]], [[5, 0, 0, 0], [0, 0, 0, 0]]],
        [[0, 0, 1], [0, 0, 0]],
        [[1, 3, 0], [0, 0, 0]],
        [[1, 6, 2], [7, 0, 0]],
    )
    query = examples(
        [[[2, 4, 2, 4, 6], [1, 3, 0, 0, 0]], [[5, 7, 5, 0, 0], [4, 0, 0, 0, 0]]],
        [[0, 0, 1, 1], [0, 0, 1, 0]],
        [[0, 4, 1, 0], [1, 2, 0, 0]],
        [[4, 1, 7, 3], [5, 1, 2, 0]],
    )
    return support, query


@pytest.fixture
def weights() -> dict[str, Tensor]:
    shapes = {
        "embedding.weight": (COURSES + 1, EMBEDDING),
        "gru.weight_ih_l0": (3 * HIDDEN, EMBEDDING),
        "gru.weight_hh_l0": (3 * HIDDEN, HIDDEN),
        "gru.bias_ih_l0": (3 * HIDDEN,),
        "gru.bias_hh_l0": (3 * HIDDEN,),
        "head.weight": (COURSES, HIDDEN),
        "head.bias": (COURSES,),
    }
    draw = torch_generator(3, "test-rivals")
    drawn = {
        name: 0.7 * torch.randn(shape, generator=draw, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    drawn["embedding.weight"][0] = 0
    return drawn


def solve(
    way: rivals.MetaGradient,
    weights: dict[str, Tensor],
    batch: tuple[Examples, Examples],
    second_order: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    return way(weights, *batch, lr=LR, steps=STEPS, second_order=second_order)


def test_each_pair_gets_its_own_padded_row(ragged: tuple[Examples, Examples]) -> None:
    courses, last, label = rivals.prefix_rows(ragged[0], width=5)
    assert courses.tolist() == [
        [[1, 2, 0, 0, 0], [1, 2, 1, 2, 0], [3, 0, 0, 0, 0]],
        [[5, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]
    assert last.tolist() == [[1, 3, 0], [0, 0, 0]]
    assert label.tolist() == [[1, 6, 2], [7, 0, 0]]


def test_longest_prefix_counts_real_pairs_only(ragged: tuple[Examples, Examples]) -> None:
    support = ragged[0]._replace(position=torch.tensor([[1, 2, 0], [0, 9, 9]]))
    assert rivals.longest_prefix(support) == 3
    assert rivals.longest_prefix(support, ragged[1]) == 5


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("way", [rivals.with_higher, rivals.with_vmap])
def test_ways_agree(
    way: rivals.MetaGradient,
    second_order: bool,
    weights: dict[str, Tensor],
    ragged: tuple[Examples, Examples],
) -> None:
    loss, gradient = solve(way, weights, ragged, second_order)
    expected_loss, expected = solve(rivals.study_loop, weights, ragged, second_order)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-12)
    assert relative_error(gradient, expected) < 1e-9


def test_first_order_is_another_gradient_of_the_same_loss(
    weights: dict[str, Tensor], ragged: tuple[Examples, Examples]
) -> None:
    second_loss, second = solve(rivals.study_loop, weights, ragged)
    first_loss, first = solve(rivals.study_loop, weights, ragged, second_order=False)
    assert first_loss.item() == pytest.approx(second_loss.item(), rel=1e-12)
    assert all((first[name] - g).norm() > 0.01 * g.norm() for name, g in second.items())


@pytest.mark.parametrize("name", ["embedding", "gru", "head"])
def test_second_order_equals_finite_differences(
    name: str, weights: dict[str, Tensor], ragged: tuple[Examples, Examples]
) -> None:
    _, gradient = solve(rivals.study_loop, weights, ragged)
    draw = torch_generator(5, f"test-rivals-{name}")
    for key in (key for key in weights if key.startswith(name)):
        for index in torch.randperm(weights[key].numel(), generator=draw)[:4].tolist():
            expected = slope(weights, key, index, ragged)
            assert gradient[key].view(-1)[index].item() == pytest.approx(
                expected, rel=1e-6, abs=1e-9
            ), (key, index)


def slope(
    weights: dict[str, Tensor], key: str, index: int, batch: tuple[Examples, Examples]
) -> float:
    """Central difference of the meta-loss along one coordinate."""
    losses = []
    for step in (1e-5, -1e-5):
        moved = weights | {key: weights[key].clone()}
        moved[key].view(-1)[index] += step
        losses.append(solve(rivals.study_loop, moved, batch, second_order=False)[0].item())
    return (losses[0] - losses[1]) / 2e-5


def test_no_way_changes_the_weights_or_gives_padding_a_gradient(
    weights: dict[str, Tensor], ragged: tuple[Examples, Examples]
) -> None:
    before = {name: x.clone() for name, x in weights.items()}
    for way in WAYS.values():
        _, gradient = solve(way.run, weights, ragged, way.second_order)
        assert gradient["embedding.weight"][0].abs().max() == 0
        assert all(torch.equal(weights[name], x) for name, x in before.items())


def test_reference_setting_is_as_stated() -> None:
    setting = reference_setting(seed=1)
    assert setting.support.label.shape == (32, SUPPORT_SIZE)
    assert setting.query.label.shape == (32, QUERY_SIZE)
    assert rivals.longest_prefix(setting.support, setting.query) == 20
    assert setting.query.courses.shape == (32, 1, 20)  # one session a learner
    # The query goes on where the support ends: one session, one step a pair.
    assert torch.equal(setting.query.position[:, 0], setting.support.position[:, -1] + 1)
    assert 1 <= int(setting.query.label.min()) <= int(setting.query.label.max()) <= 343


def test_many_sessions_are_many_and_short() -> None:
    setting = many_sessions(seed=1)
    assert setting.query.label.shape == (32, QUERY_SIZE)
    assert rivals.longest_prefix(setting.support, setting.query) <= 7
    assert ((setting.query.courses != 0).any(2).sum(1) > 1).all()


def test_no_course_follows_itself() -> None:
    for setting in (reference_setting(seed=2), many_sessions(seed=2)):
        courses = setting.query.courses
        assert not ((courses[..., 1:] == courses[..., :-1]) & (courses[..., 1:] != 0)).any()


def test_a_stored_meta_batch_is_the_stored_episodes(tmp_path: Path) -> None:
    sessions = [np.array([1, 2] * 8, dtype=np.int32), np.array([3, 4] * 8, dtype=np.int32)]
    train = np.array([[0, 0], [1, 15]])  # (learner, first support pair)
    store = episodes._store(sessions, [1, 1], num_courses=4)
    empty = {name: np.zeros((0, 2), dtype=np.int64) for name in EPISODE_SETS}
    write_episodes(tmp_path / "episodes", replace(store, episodes=empty | {"train": train}))
    setting = episodes.from_store(tmp_path / "episodes", seed=1, tasks=2)
    assert setting.name == "store:episodes"
    assert setting.num_courses == 4
    assert sorted(setting.support.label.tolist()) == [[2, 1, 2, 1, 2], [4, 3, 4, 3, 4]]
    assert setting.query.position.tolist() == [list(range(5, 15))] * 2


def test_relative_error_is_of_the_worst_parameter() -> None:
    expected = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([10.0])}
    found = {"a": torch.tensor([3.0, 4.5]), "b": torch.tensor([10.1])}
    assert relative_error(found, expected) == pytest.approx(0.5 / 5)
    with pytest.raises(ValueError, match="'a'"):
        relative_error({"a": found["a"]}, expected)


def test_ways_take_turns_and_a_turn_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def seconds_of(call: Callable[[], object]) -> float:
        call()
        return 0.2 if order[-1] == "a" else 0.6

    monkeypatch.setattr(measure, "seconds_of", seconds_of)
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = interleaved_seconds(calls, repeats=2)
    assert order == ["a", "a", "a", "b"] * 2
    assert seconds["a"] == pytest.approx([0.2, 0.2])
    assert seconds["b"] == [0.6, 0.6]


def test_table_shows_what_is_missing_as_nothing() -> None:
    rows: list[Row] = [
        {"way": "x", "seconds": 0.12345},
        {"way": "y", "seconds": 2840.4},
        {"way": "z"},
    ]
    assert table(rows, ["way", "seconds"]).splitlines() == [
        "| way | seconds |",
        "| --- | ------- |",
        "| x   | 0.123   |",
        "| y   | 2840    |",
        "| z   |         |",
    ]


def test_a_problem_is_solved_on_the_study_model() -> None:
    chosen = problem(many_sessions(seed=1, tasks=2), seed=1, device=torch.device("cpu"), steps=1)
    loss, gradient = chosen.solve(WAYS["vmap"])
    assert loss.item() == pytest.approx(torch.log(torch.tensor(343.0)).item(), abs=0.3)
    assert {name: x.shape for name, x in gradient.items()} == {
        name: x.shape for name, x in chosen.weights.items()
    }


@pytest.mark.thorough
def test_two_processes_give_the_same_meta_gradient() -> None:
    command = [sys.executable, "-m", "benchmarks.meta_step", "--repeats=1", "--ways"]
    names = ["ours", "ours_first_order"]  # in two processes
    done = subprocess.run(
        [*command, *names], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:4]]
    assert [row[0].strip() for row in rows] == names
    assert all(0 < float(row[-1]) < 1e-5 for row in rows)
