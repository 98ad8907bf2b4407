"""Reads of the test learners: what counts, and what outlasts what."""

from collections.abc import Callable
from pathlib import Path

import pytest
from episode_helpers import small_store

from mooc_maml.common.errors import UserError
from mooc_maml.evaluation.schema import OfTestLearners
from mooc_maml.evaluation.test_reads import FILE, count_reads, write_test_results

TEST_SET = "0123456789abcdef"
ABOUT = {"data_source": "table", "synthetic": False, "learners": 1, "queries": 3}


class Written(OfTestLearners):
    value: float


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, int]]:
    """Write a result file in the folder `results` of a workspace; what is counted then."""
    monkeypatch.chdir(tmp_path)

    def write(value: float, name: str = "maml.json", of: str = TEST_SET) -> dict[str, int]:
        write_test_results(Path("results") / name, Written(test_set=of, value=value, **ABOUT))
        return count_reads(Path("results") / FILE, TEST_SET)

    return write


def test_other_figures_are_another_read_and_the_same_are_none(read: Callable) -> None:
    assert read(0.1) == {"maml.json": 1}
    assert read(0.1) == {"maml.json": 1}, "the same run again tells nothing new"
    assert read(0.2) == {"maml.json": 2}
    assert read(0.1) == {"maml.json": 2}, "nor does going back to settings seen before"
    assert read(0.1, "ablations.json") == {"maml.json": 2, "ablations.json": 1}


def test_another_test_set_is_counted_for_itself(read: Callable) -> None:
    read(0.1)
    assert read(0.1, of="fedcba9876543210") == {"maml.json": 1}
    assert count_reads(Path("results") / FILE, "fedcba9876543210") == {"maml.json": 1}


def test_the_count_outlasts_what_dvc_deletes(read: Callable) -> None:
    read(0.1)
    Path("results/maml.json").unlink()  # as DVC does with outputs before a stage runs
    assert read(0.2) == {"maml.json": 2}


def test_a_clone_that_makes_the_same_figures_has_the_same_file(
    read: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(0.1)
    read(0.2)
    committed = (tmp_path / "results" / FILE).read_bytes()
    clone = tmp_path / "clone"
    (clone / "results").mkdir(parents=True)
    (clone / "results" / FILE).write_bytes(committed)
    monkeypatch.chdir(clone)
    read(0.2)
    assert (clone / "results" / FILE).read_bytes() == committed


def test_what_an_experiment_in_a_copy_has_read_is_taken_over(
    read: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(0.1)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "a1"
    (copy / "results").mkdir(parents=True)
    monkeypatch.chdir(copy)
    read(0.2)
    monkeypatch.chdir(tmp_path)
    assert count_reads(Path("results") / FILE, TEST_SET) == {"maml.json": 1}, "left alone"
    assert read(0.3) == {"maml.json": 3}


def test_a_file_that_is_none_is_refused(read: Callable, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / FILE).write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match="expected the header"):
        read(0.1)


def test_the_test_set_is_named_by_its_learners_and_queries() -> None:
    assert small_store().test_set == small_store().test_set
    assert len(small_store().test_set) == 16
    assert small_store().test_set != small_store(seed=2).test_set
    assert small_store().test_set != small_store(episodes={"position": "first"}).test_set
