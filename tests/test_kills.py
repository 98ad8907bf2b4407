"""Stages killed at random moments and started again, until the result is there.

MOOC_MAML_KILLS=20 python -m pytest tests/test_kills.py -s --timeout 0 -k random
kills each stage 20 times: as it loads, at work, or in the middle of writing a state.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from episode_helpers import small_store
from pipeline_files import ROOT
from training_helpers import tiny_params

from mooc_maml.episodes.store import write_episodes

KILLS = int(os.environ.get("MOOC_MAML_KILLS", "3"))
SEED = int(os.environ.get("MOOC_MAML_KILLS_SEED", "1"))
SETTINGS = {
    "num_meta_iterations": 120,
    "checkpoint_interval": 5,
    "eval_interval": 20,
    "model": {"embedding_dim": 8, "hidden_dim": 16, "dropout": 0.2},
    "baselines": {"gru": {"epochs": 25, "batch_size": 32}},
}
OUTPUTS = {
    "meta_train": ("--gru", "no-warm-start.pth", "--model", "models", "--plots", "plots"),
    "train_baselines": ("--model", "models", "--results", "plots/results.json"),
}

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")

# Runs of seconds are to have states to go on from, as runs of hours have.
OFTEN = """\
import runpy, stages, mooc_maml.runtime.saved_state
mooc_maml.runtime.saved_state.SECONDS_BETWEEN_SAVES = 0.1
runpy.run_module("stages.{stage}", run_name="__main__", alter_sys=True)
"""

STARTED: "list[subprocess.Popen[bytes]]" = []


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """Nothing that a test has started outlives it, however it ends."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait(60)


@dataclass(frozen=True)
class Run:
    """A stage in a folder of its own, which is all that it knows of."""

    stage: str
    folder: Path

    def start(self) -> "subprocess.Popen[bytes]":
        program = OFTEN.format(stage=self.stage)
        command = ["-c", program, "--episodes", "episodes", *OUTPUTS[self.stage]]
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        STARTED.append(process)
        return process

    def wait_until_at_work(self, process: "subprocess.Popen[bytes]", word: str = ".") -> None:
        """Until it says this (else its first word), which is after the modules are loaded."""
        before, until = len(self.said()), time.monotonic() + 300
        while not re.search(word, self.said()[before:]) and process.poll() is None:
            assert time.monotonic() < until, f"silent for five minutes: {self.said()}"
            time.sleep(0.002)

    def wait_until_a_state_is_half_written(self, process: "subprocess.Popen[bytes]") -> None:
        while process.poll() is None and not self.half_written():
            pass

    def half_written(self) -> bool:
        try:
            return any((self.folder / ".state").rglob(".state-*.partial"))
        except FileNotFoundError:  # a folder went while it was looked through
            return False

    def said(self) -> str:
        return (self.folder / "said.txt").read_text(encoding="utf-8")

    def finish(self) -> None:
        assert self.start().wait(timeout=300) == 0, self.said()

    def files(self) -> dict[str, bytes]:
        """What the stage is there to write, by name; and what it should have cleaned up."""
        places = (self.folder / "models", self.folder / "plots", self.folder / ".state")
        found = [path for place in places for path in place.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}

    def went_on_after(self) -> list[int]:
        return [int(n) for n in re.findall(r"going on after \S+ (\d+)", self.said())]

    def start_afresh(self) -> None:
        for name in ("models", "plots", ".state"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def prepared(stage: str, folder: Path, processes: int) -> Run:
    folder.mkdir()
    write_episodes(folder / "episodes", small_store())
    settings = tiny_params(**SETTINGS).model_dump(mode="json")
    settings["hardware"]["processes"] = processes
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Run(stage, folder)


def uninterrupted(
    stage: str, folder: Path, processes: int
) -> tuple[dict[str, bytes], float, float]:
    """The files, and the seconds that it took to load and to work."""
    run, times = prepared(stage, folder, processes), [time.monotonic()]
    process = run.start()
    run.wait_until_at_work(process)
    times.append(time.monotonic())
    assert process.wait(timeout=300) == 0, run.said()
    times.append(time.monotonic())
    return run.files(), times[1] - times[0], times[2] - times[1]


def killed(run: Run, draw: random.Random, load: float, work: float) -> str | None:
    """Start the stage and kill it; tells at what it was killed, None: it had ended before."""
    process = run.start()
    how = draw.choices(["loading", "at work", "while a state was half written"], [1, 2, 2])[0]
    if how == "loading":
        time.sleep(draw.uniform(0, load))
    else:
        run.wait_until_at_work(process)
        time.sleep(draw.uniform(0, work))
    if how.startswith("while"):
        run.wait_until_a_state_is_half_written(process)
    process.send_signal(signal.SIGKILL)
    code = process.wait(timeout=60)
    assert code in (0, -signal.SIGKILL), run.said()
    if code == 0:
        return None
    return how if run.half_written() or not how.startswith("while") else "at work"


@pytest.mark.parametrize(
    ("stage", "processes", "wanted"),
    [
        pytest.param("meta_train", 1, 1, id="once"),
        pytest.param("meta_train", 1, KILLS, marks=pytest.mark.thorough),
        pytest.param("meta_train", 2, KILLS, marks=pytest.mark.thorough),
        pytest.param("train_baselines", 1, KILLS, marks=pytest.mark.thorough),
        pytest.param("train_baselines", 2, KILLS, marks=pytest.mark.thorough),
    ],
)
def test_killed_at_random_and_started_again_it_writes_the_same_bytes(
    stage, processes, wanted, tmp_path: Path
):
    expected, load, work = uninterrupted(stage, tmp_path / "whole", processes)
    assert any(name.endswith(".pth") for name in expected)
    assert not any(name.endswith(".partial") for name in expected)
    run, draw = prepared(stage, tmp_path / "killed", processes), random.Random(SEED)
    kills, finished = Counter[str](), 0
    while kills.total() < wanted or (kills.total() < 9 and not run.went_on_after()):
        how = killed(run, draw, load, work / 2)
        if how is not None:
            kills[how] += 1
        else:
            finished += 1
            assert run.files() == expected
            run.start_afresh()
    run.finish()
    print(f"\n{stage}, processes: {processes}: {kills.total()} kills in {1 + finished} runs")
    print(", ".join(f"{number} {how}" for how, number in kills.items()))
    print(f"went on after {run.went_on_after()}")
    assert run.files() == expected
    assert run.went_on_after(), "no kill came late enough to tell anything"


def test_a_second_run_is_refused_and_a_stopped_one_goes_on_where_it_was(tmp_path: Path):
    expected, _, _ = uninterrupted("meta_train", tmp_path / "whole", 1)
    run = prepared("meta_train", tmp_path / "stopped", 1)
    first = run.start()
    run.wait_until_at_work(first)
    second = run.start()
    try:
        first.send_signal(signal.SIGSTOP)  # so that it cannot end before the second has begun
        assert second.wait(timeout=60) == 1
        assert re.search(r"error: .*\.lock: locked by another run", run.said())
        assert "Traceback" not in run.said()
    finally:
        first.send_signal(signal.SIGCONT)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 128 + signal.SIGTERM
    assert "the same command goes on from there" in run.said()
    (stopped,) = re.findall(r"stopped after meta-update (\d+)", run.said())
    run.finish()
    assert run.went_on_after() == [int(stopped)]
    assert run.files() == expected


@pytest.mark.thorough
@pytest.mark.parametrize("stage", ["meta_train", "train_baselines"])
def test_ctrl_c_saves_the_state_and_says_how_to_go_on(stage, tmp_path: Path):
    expected, _, _ = uninterrupted(stage, tmp_path / "whole", 1)
    run = prepared(stage, tmp_path / "stopped", 1)
    process = run.start()
    run.wait_until_at_work(process, "epoch 1/|meta-update 0/")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 128 + signal.SIGINT, run.said()
    assert "Traceback" not in run.said()
    (place,) = re.findall(r"stopped after (.*); the same command goes on from there", run.said())
    run.finish()
    assert f"going on after {place.removesuffix(' of gru')}\n" in run.said()
    assert run.files() == expected
