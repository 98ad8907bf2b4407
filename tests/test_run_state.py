import hashlib
import itertools
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from crash import killed_before, needs_fork

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path
from mooc_maml.runtime import run_state
from mooc_maml.runtime.run_state import RunState

STATE = {"iteration": 7, "weights": {"w": torch.arange(3.0)}}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    """With a run that was just killed."""
    monkeypatch.setattr(run_state, "_SECONDS_TO_DIE", 0)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch) -> Path:
    """A folder of input files, beside the folder that states are kept in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "episodes"
    folder.mkdir()
    (folder / "courses.npy").write_bytes(b"courses")
    return folder


def test_a_state_comes_back_as_it_was(inputs):
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is None
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    found = RunState("meta_train", "seed: 1", "code", inputs).load()
    assert found["iteration"] == 7
    assert torch.equal(found["weights"]["w"], STATE["weights"]["w"])


def test_the_last_state_counts(inputs):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    for iteration in (1, 2, 3):
        run.save({"iteration": iteration})
    assert RunState("meta_train", "seed: 1", "code", inputs).load() == {"iteration": 3}


def test_other_settings_or_another_stage_find_nothing(inputs):
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    assert RunState("meta_train", "seed: 2", "code", inputs).load() is None
    assert RunState("train_baselines", "seed: 1", "code", inputs).load() is None


def test_other_input_finds_nothing(inputs):
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    (inputs / "courses.npy").write_bytes(b"others")
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is None
    (inputs / "courses.npy").write_bytes(b"courses")
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is not None
    (inputs / "more.npy").write_bytes(b"")
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is None


def test_other_code_finds_nothing(inputs):
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    assert RunState("meta_train", "seed: 1", "edited", inputs).load() is None
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is not None


def test_a_run_begun_on_other_hardware_is_told(inputs, capsys):
    def on(hardware: str) -> RunState:
        return RunState("meta_train", "seed: 1", "code", inputs, hardware=hardware)

    with on("cpu by 2 processes") as run:
        run.save(STATE)
    with on("cpu by 2 processes") as run:
        assert run.load()["iteration"] == 7
    with RunState("meta_train", "seed: 2", "code", inputs, hardware="cuda by 1 process"):
        pass
    assert capsys.readouterr().err == "", "nothing of another run, or of the same hardware"
    with on("cuda by 1 process") as run:
        assert run.load() is None
        (line,) = capsys.readouterr().err.splitlines()
        assert "cpu-by-2-processes: saved by the same run on cpu by 2 processes; this one" in line
        assert "on cuda by 1 process, starts from the beginning" in line
        run.save({"iteration": 1})
    with on("cuda by 1 process") as run:
        assert run.load() == {"iteration": 1}
    assert capsys.readouterr().err == ""


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"empty": b"", "cut": content[:-100], "one bit": content}[how])


def states(run: RunState) -> list[Path]:
    return sorted(run.folder.glob("state-*"))


def test_a_state_of_another_version_of_torch_is_not_found(inputs, monkeypatch):
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    monkeypatch.setattr(run_state.torch, "__version__", "0.1")
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is None


def test_two_states_are_kept_and_their_names_hold_their_checksums(inputs):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    for iteration in range(12):
        run.save({"iteration": iteration})
    files = states(run)
    assert [path.name[:14] for path in files] == ["state-00000011", "state-00000012"]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in path.name


@pytest.mark.parametrize("how", ["empty", "cut", "one bit"])
def test_the_state_before_a_damaged_one_is_taken(inputs, how, capsys):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    for iteration in (1, 2, 3):
        run.save({"iteration": iteration})
    newest = states(run)[-1]
    damage(newest, how)
    assert run.load() == {"iteration": 2}
    assert capsys.readouterr().err == f"{newest}: damaged; going back to the state before it\n"
    run.save({"iteration": 3})
    assert run.load() == {"iteration": 3}
    assert len(states(run)) == 2, "the damaged file does not count as one of the two"


def test_only_damaged_states_stop_the_run_once(inputs):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    for iteration in (1, 2):
        run.save({"iteration": iteration})
    for path in states(run):
        damage(path, "cut")
    with pytest.raises(
        UserError, match=r"damaged, no whole state among 2.* start this run from scratch"
    ):
        run.load()
    assert run.load() is None, "as the message says"


def test_a_file_of_another_name_is_no_state(inputs):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    run.save(STATE)
    (run.folder / "state-00000009-abc.pth").write_bytes(b"")
    (run.folder / f".{states(run)[0].name}.12.partial").write_bytes(b"half")
    assert run.load()["iteration"] == 7


def test_a_part_of_a_run_has_states_of_its_own(inputs, tmp_path):
    run = RunState("train_baselines", "seed: 1", "code", inputs)
    run.part("gru").save({"epoch": 1})
    assert run.load() is None
    assert run.part("other").load() is None
    again = RunState("train_baselines", "seed: 1", "code", inputs)
    assert again.part("gru").load() == {"epoch": 1}
    run.kept.mkdir()
    run.publish(tmp_path / "models")
    assert again.part("gru").load() is None


# --- the lock ---------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from mooc_maml.runtime.run_state import RunState
with RunState("meta_train", "seed: 1", "code", Path("episodes")):
    print("locked", flush=True)
    time.sleep(120)
"""


def test_a_second_run_at_once_stops_and_says_why(inputs):
    with RunState("meta_train", "seed: 1", "code", inputs) as run:
        with (
            pytest.raises(UserError, match=r"\.lock: locked by another run .* wait until"),
            RunState("meta_train", "seed: 1", "code", inputs),
        ):
            pytest.fail("two runs at once")
        with RunState("meta_train", "seed: 2", "code", inputs) as other:
            assert other.folder != run.folder
    with RunState("meta_train", "seed: 1", "code", inputs):
        pass


def test_a_failure_and_the_end_of_a_run_give_the_lock_back(inputs, tmp_path):
    def fail():
        with RunState("meta_train", "seed: 1", "code", inputs):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with RunState("meta_train", "seed: 1", "code", inputs) as run:
        run.kept.mkdir()
        run.publish(tmp_path / "models")
    with RunState("meta_train", "seed: 1", "code", inputs) as run:
        assert run.load() is None


def test_the_lock_holds_between_processes_and_ends_with_a_killed_one(inputs):
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=inputs.parent, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "locked\n"
            with (
                pytest.raises(UserError, match="locked by another run"),
                RunState("meta_train", "seed: 1", "code", inputs),
            ):
                pytest.fail("two runs at once")
        finally:
            other.kill()
    with RunState("meta_train", "seed: 1", "code", inputs) as run:
        assert run.load() is None


def test_a_run_waits_for_the_end_of_one_that_was_just_killed(inputs, monkeypatch):
    monkeypatch.setattr(run_state, "_SECONDS_TO_DIE", 60)
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=inputs.parent, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        threading.Timer(0.3, other.kill).start()
        with RunState("meta_train", "seed: 1", "code", inputs):
            assert other.wait(60) == -signal.SIGKILL


# --- publishing -------------------------------------------------------------------------------


def test_published_files_replace_the_folder_and_the_state_is_gone(inputs, tmp_path):
    run = RunState("meta_train", "seed: 1", "code", inputs)
    run.save(STATE)
    (run.kept / "checkpoints").mkdir(parents=True)
    (run.kept / "model.pth").write_text("new")
    (run.kept / "checkpoints" / "1.pth").write_text("one")
    model = tmp_path / "models" / "maml"
    model.mkdir(parents=True)
    (model / "stale.pth").write_text("stale")
    (run.kept / ".model.pth.123.partial").write_text("left by a kill")
    run.publish(model)
    files = {path.relative_to(model).as_posix() for path in model.rglob("*.*")}
    assert files == {"model.pth", "checkpoints/1.pth"}
    assert (model / "model.pth").read_text() == "new"
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is None


def test_an_experiment_in_a_copy_finds_the_state_of_the_workspace(inputs, tmp_path, monkeypatch):
    RunState("meta_train", "seed: 1", "code", inputs).save(STATE)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "a1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert RunState("meta_train", "seed: 1", "code", inputs).load() is not None


# --- killed at every moment -------------------------------------------------------------------


def tiny_run(model: Path, inputs: Path) -> None:
    """What a training stage does: go on from the state, keep files and states, publish."""
    with RunState("meta_train", "seed: 1", "code", inputs) as run:
        saved = run.load() or {"iteration": 0, "draws": []}
        iteration, draws = saved["iteration"], saved["draws"]
        while iteration < 3:
            iteration += 1
            draws = [*draws, iteration**2]
            with atomic_path(run.kept / f"checkpoint{iteration}.json") as temporary:
                temporary.write_text(str(draws))
            run.save({"iteration": iteration, "draws": draws})
        with atomic_path(run.kept / "model.json") as temporary:
            temporary.write_text(str(draws))
        run.publish(model)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


EXPECTED = {
    "checkpoint1.json": "[1]",
    "checkpoint2.json": "[1, 4]",
    "checkpoint3.json": "[1, 4, 9]",
    "model.json": "[1, 4, 9]",
}


@needs_fork
def test_a_run_killed_anywhere_ends_with_the_same_files(inputs, tmp_path):
    draw, seconds = random.Random(1), set()
    for change in itertools.count():
        models = tmp_path / str(change) / "models"
        models.mkdir(parents=True)
        (models / "stale.json").write_text("stale")
        was_killed = killed_before(change, lambda to=models: tiny_run(to, inputs))
        if was_killed:  # and killed again as it goes on
            second = draw.randrange(40)
            seconds.add(killed_before(second, lambda to=models: tiny_run(to, inputs)))
            tiny_run(models, inputs)
        assert files(models) == EXPECTED, change
        assert [path.name for path in models.parent.iterdir()] == ["models"]
        left = [path for path in (tmp_path / ".state").rglob("*") if path.suffix != ".lock"]
        assert [path.name for path in left] == ["meta_train"]
        if not was_killed:
            break
    assert change > 40, "so many changes of the disk, each the last one of a killed run"
    assert seconds == {True, False}
