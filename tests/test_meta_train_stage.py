"""How the processes of one meta-training run take up its state."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pipeline_files import ROOT
from training_helpers import run, tiny_trainer

from mooc_maml.common.errors import UserError
from mooc_maml.meta.run import take_up
from mooc_maml.runtime import stage_processes as stage
from mooc_maml.runtime.run_state import RunState
from stages import meta_train


class TwoProcesses:
    """Stands for a process_group of two, of which the other would go on after some meta-update."""

    size = 2

    def __init__(self, rank: int, other: int, said: list[str]) -> None:
        self.rank, self.other, self.said = rank, other, said

    def sum(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        self.said.append("sum")
        return [x + self.other for x in tensors]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch) -> RunState:
    """A run with a state after 3 meta-updates."""
    monkeypatch.chdir(tmp_path)
    found = RunState("meta_train", "seed: 1", "code")
    found.save(run(tiny_trainer(), 3).state())
    return found


def taken_up(saved: RunState, monkeypatch, rank: int, other: int) -> tuple[int, list[str]]:
    """The meta-update that the process goes on after, and what it did in which order."""
    said: list[str] = []
    load = saved.load
    monkeypatch.setattr(saved, "load", lambda: said.append("load") or load())
    trainer = tiny_trainer()
    trainer.process_group = TwoProcesses(rank, other, said)
    take_up(trainer, saved)
    return trainer.progress.iteration, said


def test_the_first_process_opens_the_state_before_the_others(saved, monkeypatch, capsys):
    assert taken_up(saved, monkeypatch, 0, 3) == (3, ["load", "sum", "sum"])
    assert capsys.readouterr().err == "going on after meta-update 3\n"
    monkeypatch.undo()
    assert taken_up(saved, monkeypatch, 1, 3) == (3, ["sum", "load", "sum"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_would_go_on_from_different_states_stop(saved, monkeypatch, rank):
    with pytest.raises(UserError, match=rf"process {rank} of 2 would go on after meta-update 3"):
        taken_up(saved, monkeypatch, rank, 0)
    saved.forget()
    with pytest.raises(UserError, match="would go on after meta-update 0, others would not"):
        taken_up(saved, monkeypatch, rank, 3)


def test_processes_get_the_arguments_of_main(tmp_path: Path, monkeypatch):
    """Not those of the program that called it."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook", "--whatever"])
    monkeypatch.setattr(stage, "process_count", lambda hardware: 3)
    started = []
    monkeypatch.setattr(stage, "launch", lambda *how: started.append(how) or 0)
    names = {"episodes": "a b", "gru": "gru.pth", "model": "maml", "plots": "plots"}
    paths = {name: Path(path) for name, path in names.items()}
    meta_train.main(**paths, evaluations=Path("evaluations.csv"))
    ((processes, command, lines_of_all),) = started
    assert (processes, lines_of_all) == (3, False)
    assert command == [
        *(sys.executable, "-m", "stages.meta_train", "--episodes=a b", "--gru=gru.pth"),
        *("--model=maml", "--plots=plots", "--evaluations=evaluations.csv"),
    ]
    monkeypatch.setattr(stage, "launch", lambda *how: 130)
    with pytest.raises(SystemExit) as end:
        meta_train.main(**paths)
    assert end.value.code == 130


WAITS = """
import time
from mooc_maml.runtime.signals import end_with_starter
end_with_starter()
time.sleep({seconds})
print("went on")
"""


@pytest.mark.parametrize("stdin", ["nothing", "a file", "closed"])
def test_without_a_starter_a_run_goes_on(tmp_path: Path, stdin: str):
    (tmp_path / "empty").touch()
    place = {"nothing": "</dev/null", "a file": "<empty", "closed": "<&-"}[stdin]
    command = ["sh", "-c", f'"$0" -c "$1" {place}', sys.executable, WAITS.format(seconds=0.5)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_a_run_ends_with_its_starter_and_says_so():
    command = [sys.executable, "-c", WAITS.format(seconds=60)]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ended: the program that started this one is gone\n"
