"""Every stage on a disk that takes no more: one line that names the file, and nothing lost."""

import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from committed import settings
from crash import killed_before, needs_fork, said_without
from tiny import SETTINGS, changed

STAGES = {
    "simulate": "--raw data/raw/synthetic --truth data/truth --titles data/titles.csv",
    "preprocess": "--raw data/raw/synthetic --pairs data/pairs --report results/preprocess.json",
    "build_episodes": "--pairs data/pairs --episodes data/episodes --report results/episodes.json",
    "train_baselines": (
        "--episodes data/episodes --model models/baselines --results results/baselines_K5_Q10.json"
    ),
    "train_composites": (
        "--episodes data/episodes --baselines models/baselines --model models/composites "
        "--results results/composites_K5_Q10.json"
    ),
    "meta_train": (
        "--episodes data/episodes --gru models/baselines/gru.pth --model models/maml "
        "--plots results/plots"
    ),
    "meta_train_tuned": (
        "--episodes data/episodes --gru models/baselines/gru.pth --model models/maml_tuned "
        "--plots results/plots/tuned"
    ),
    "test": (
        "--pairs data/pairs --episodes data/episodes --baselines models/baselines "
        "--composites models/composites --model models/maml --tuned models/maml_tuned "
        "--truth data/truth "
        "--results results/maml_K5_Q10.json --records data/records --plots results/plots"
    ),
    "export": (
        "--preprocessed results/preprocess.json --tested results/maml_K5_Q10.json "
        "--pairs data/pairs --episodes data/episodes --models models --titles data/titles.csv "
        "--bundle models/bundle"
    ),
    "ablate": (
        "--episodes data/episodes --baselines models/baselines --composites models/composites "
        "--model models/maml --tuned models/maml_tuned --results results/ablations_K5_Q10.json "
        "--cold-start results/cold_start_K5_Q10.json --plots results/plots"
    ),
    "controls": (
        "--pairs data/pairs --episodes data/episodes --baselines models/baselines "
        "--composites models/composites --model models/maml --tuned models/maml_tuned "
        "--truth data/truth "
        "--results results/controls_K5_Q10.json"
    ),
    "visualize": "--results results --models models --report results/report",
}

pytestmark = needs_fork


def start(stage: str) -> None:
    """As `python -m stages.STAGE` does."""
    sys.argv = [stage, *STAGES[stage].split()]
    torch.set_num_threads(1)  # before any work of the forked process
    runpy.run_module(f"stages.{stage}", run_name="__main__")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run; not to be changed."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "params.yaml").write_text(yaml.safe_dump(changed(settings(), SETTINGS)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        threads = torch.get_num_threads()
        for stage in STAGES:
            start(stage)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture
def folder(done: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy to do with as one likes."""
    copy = tmp_path / "project"
    shutil.copytree(done, copy)
    monkeypatch.chdir(copy)
    return copy


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_takes_no_more_is_one_line(stage, folder: Path):
    before, file_size = contents(folder), 2500  # smaller than needed
    status, said = said_without(lambda: start(stage), file_size)
    assert status == 1, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert "Traceback" not in said
    assert "Errno" not in errors[0], "words, not a list of all that failed"
    assert ": File too large; " in errors[0], "the system's reason, not a library's"
    assert str(folder) in errors[0] or any(f"{top}/" in errors[0] for top in os.listdir(folder))
    after = contents(folder)
    assert {name: after[name] for name in before} == before, "what stood there stands there yet"
    assert not [name for name in after if ".partial" in name]
    assert not killed_before(10**9, lambda: start(stage)), "with room again it runs to its end"
    assert contents(folder) == before


@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_a_change_of_the_disk_and_started_again_it_ends_the_same(stage, folder: Path):
    """MOOC_MAML_EVERY_CHANGE=1 tries all of them, one after the other."""
    step = int(os.environ.get("MOOC_MAML_EVERY_CHANGE", 61 if stage == "visualize" else 11))
    before = contents(folder)
    for change in range(step // 2, 10_000, step):
        was_killed = killed_before(change, lambda: start(stage))
        start_again = killed_before(10_000, lambda: start(stage))
        assert not start_again
        assert contents(folder) == before, f"killed before change {change}"
        if not was_killed:
            break
    print(f"{stage}: killed at {change // step} of its changes")
    assert not was_killed
