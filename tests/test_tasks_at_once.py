"""Out of a GPU's memory: tasks in two halves, once, with a word; the results stay the same.

No GPU is needed: what adapts or scores says that memory is full, as PyTorch would, from a size on.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import small_store
from test_processes import run as run_processes
from training_helpers import CPU, run, tiny_trainer

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.evaluation.controls import ranks_on_corrupted
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.ranking.query_ranks import query_answers, query_ranks
from mooc_maml.ranking.seen import NONE_LEFT_OUT
from mooc_maml.runtime.tasks_at_once import TasksAtOnce, is_out_of_gpu_memory

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def refused_from(size: int, seen: list[int]) -> Any:
    """A call on tasks start..end-1 that has memory for fewer than `size`."""

    def call(start: int, end: int) -> list[int]:
        seen.append(end - start)
        if end - start >= size:
            raise FULL
        return list(range(start, end))

    return call


def test_parts_of_half_the_size_once(capsys):
    at_once, seen = TasksAtOnce(32), []
    found = at_once.run(refused_from(5, seen), 7)
    assert found == [[0, 1, 2, 3], [4, 5, 6]]
    assert seen == [7, 4, 3]
    (line,) = capsys.readouterr().err.splitlines()
    assert "hardware.tasks_at_once: out of GPU memory with 7 tasks together; 4 from now" in line
    assert at_once.run(refused_from(5, seen), 9) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"with 4 tasks .*hardware\.tasks_at_once to 2 or less"):
        at_once.run(refused_from(3, seen), 9)


def test_one_task_alone_and_other_errors_are_not_tried_again(capsys):
    seen: list[int] = []
    with pytest.raises(
        UserError,
        match=r"one task alone; lower a size of the model, .*device to cpu",
    ):
        TasksAtOnce(32).run(refused_from(1, seen), 1)

    def broken(start: int, end: int) -> None:
        seen.append(end)
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        TasksAtOnce(32).run(broken, 4)
    assert seen == [1, 4]
    assert capsys.readouterr().err == ""


def test_what_counts_as_a_full_gpu():
    assert is_out_of_gpu_memory(FULL)
    assert is_out_of_gpu_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"))
    assert not is_out_of_gpu_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))


@pytest.fixture
def small_gpu(monkeypatch):
    """The GRU's task model adapts at most so many tasks together; gives the sizes tried."""

    def limit(most: int) -> list[int]:
        seen: list[int] = []
        prepare = GRUTaskModel.prepare

        def refusing(self, examples: Examples, support: Examples | None = None):
            seen.append(examples.num_tasks)
            if examples.num_tasks > most:
                raise FULL
            return prepare(self, examples, support)

        monkeypatch.setattr(GRUTaskModel, "prepare", refusing)
        return seen

    return limit


def test_training_and_its_evaluations_go_on_in_halves(small_gpu, capsys):
    expected = run(tiny_trainer())
    seen = small_gpu(3)
    found = run(tiny_trainer())
    assert seen.count(5) == 1  # the first evaluation's, and never again
    assert max(x for x in seen if x != 5) == 3
    assert found.progress.losses == pytest.approx(expected.progress.losses, rel=1e-9)
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight, expected.weights[name], rtol=0, atol=1e-9)
    assert found.progress.validation == expected.progress.validation
    (line,) = capsys.readouterr().err.splitlines()
    assert "with 5 tasks together; 3 from now on" in line


def test_training_that_fits_in_no_half_stops_with_the_setting(small_gpu):
    small_gpu(0)
    with pytest.raises(UserError, match=r"out of GPU memory.*hardware\.tasks_at_once to 2 or less"):
        run(tiny_trainer())


def by_course(support: Examples, query: Examples) -> torch.Tensor:
    return -torch.arange(12.0).expand(*query.label.shape, 12)


def with_little_memory(support: Examples, query: Examples) -> torch.Tensor:
    if query.num_tasks > 2:
        raise FULL
    return by_course(support, query)


def test_evaluations_in_halves_are_the_same(capsys):
    store, how = small_store(), {"tasks_at_once": 4, "device": CPU}
    own = query_ranks(by_course, store, "test", **how)
    assert np.array_equal(query_ranks(with_little_memory, store, "test", **how), own)
    answers = query_answers(with_little_memory, store, "test", **how)
    expected = query_answers(by_course, store, "test", **how)
    assert np.array_equal(answers.ranks, own)
    assert np.array_equal(answers.first, expected.first)

    def as_it_is(indices, support: Examples) -> Examples:
        return support

    args = as_it_is, store, NONE_LEFT_OUT
    assert np.array_equal(ranks_on_corrupted(with_little_memory, *args, **how), own)
    assert len(capsys.readouterr().err.splitlines()) == 3


TWO = """
import torch
from training_helpers import run, tiny_params, CPU, STORE
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.train import MetaTrainer
prepare = GRUTaskModel.prepare
def refusing(self, examples, support=None):
    if process_group.rank == {rank} and examples.num_tasks > {most}:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return prepare(self, examples, support)
GRUTaskModel.prepare = refusing
trainer = run(MetaTrainer(STORE, tiny_params(), CPU, process_group), 5)
print(trainer.progress.losses)
"""
HELPERS = f"sys.path.insert(0, {str(Path(__file__).parent)!r})"


def test_one_process_of_two_halves_and_the_other_does_not_wait_for_ever(tmp_path):
    done = run_processes(tmp_path, 2, TWO.format(rank=0, most=3), before=HELPERS)
    assert done.returncode == 0, done.stderr
    assert "with 5 tasks together; 3 from now on" in done.stderr
    losses = run(tiny_trainer(), 5).progress.losses
    assert json.loads(done.stdout) == pytest.approx(losses, rel=1e-9)


@pytest.mark.thorough
def test_one_process_of_two_without_memory_ends_both(tmp_path):
    done = run_processes(tmp_path, 2, TWO.format(rank=1, most=0), before=HELPERS)
    assert done.returncode == 1
    assert "error: out of GPU memory with one task alone" in done.stderr  # the reason, too
    assert "Traceback" not in done.stderr
