"""Several real processes: the same sums, the same model, and a clear end when one is gone."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pipeline_files import ROOT

from mooc_maml.world import ALONE, World

HEAD = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "src")!r})
import torch
from mooc_maml.errors import main_guard
from mooc_maml.world import in_a_world, join_world, launch

def work(world):
{{work}}

def main():
    if not in_a_world():
        sys.exit(launch(int(sys.argv[1]), [sys.executable, *sys.argv]))
    with join_world() as world:
        work(world)

main_guard(main)
"""


def script(folder: Path, work: str) -> Path:
    path = folder / "work.py"
    path.write_text(HEAD.format(work=textwrap.indent(textwrap.dedent(work), "    ")))
    return path


def run(folder: Path, processes: int, work: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, script(folder, work), str(processes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_work_is_shared_so_that_all_have_about_as_much() -> None:
    work = [5.0, 1, 1, 1, 1, 1]
    assert World(0, 2).share(work) == [0]
    assert World(1, 2).share(work) == [1, 2, 3, 4, 5]
    shares = [World(rank, 3).share([3, 3, 2, 2, 2]) for rank in range(3)]
    assert shares == [[0, 4], [1], [2, 3]]
    assert ALONE.share(work) == [0, 1, 2, 3, 4, 5]


def test_alone_a_sum_is_the_thing_itself() -> None:
    x = torch.tensor([1.0, 2])
    assert ALONE.sum(x)[0] is x


@pytest.mark.parametrize("processes", [2, 3])
def test_sums_over_processes(tmp_path: Path, processes: int) -> None:
    done = run(
        tmp_path,
        processes,
        """
        a, b = world.sum(torch.tensor([1.0, world.rank]), torch.tensor([[10.0 ** world.rank]]))
        print(world.size, a.tolist(), b.tolist())
        """,
    )
    assert done.returncode == 0, done.stderr
    expected = {2: "2 [2.0, 1.0] [[11.0]]", 3: "3 [3.0, 3.0] [[111.0]]"}
    assert done.stdout.splitlines() == [expected[processes]]  # of the first process only


KILLED = """
world.sum(torch.ones(1))
if world.rank == {victim}:
    os.kill(os.getpid(), 9)
world.sum(torch.ones(1))
"""


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_with_a_word(tmp_path: Path, victim: int) -> None:
    done = run(tmp_path, 2, KILLED.format(victim=victim))
    assert done.returncode == 1
    assert f"error: process {victim} of 2 was killed by signal 9" in done.stderr
    assert "go on from the last saved state" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_another_process_said_last_is_shown(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        2,
        """
        if world.rank == 1:
            raise SystemExit("no memory left on this one")
        time.sleep(60)
        """,
    )
    assert done.returncode == 1
    assert "no memory left on this one" in done.stderr


def started(folder: Path, work: str) -> Any:
    command = [sys.executable, script(folder, work), "2"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    return running, [int(x) for x in running.stdout.readline().split()]


PIDS = """
pids = world.sum(torch.eye(2, dtype=torch.int64)[world.rank] * os.getpid())[0]
if world.rank == 0:
    print(*pids.tolist(), flush=True)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def assert_gone(pids: list[int]) -> None:
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [alive(pid) for pid in pids] == [False] * len(pids)


def test_no_process_outlives_the_launcher(tmp_path: Path) -> None:
    running, pids = started(tmp_path, PIDS + "time.sleep(60)")
    assert all(map(alive, pids))
    running.kill()
    running.wait()
    assert_gone(pids)


def test_a_signal_to_stop_reaches_the_first_process(tmp_path: Path) -> None:
    asked = """
import signal
def stop(number, frame):
    print("saved", flush=True)
    sys.exit(143)
if world.rank == 0:
    signal.signal(signal.SIGTERM, stop)
"""
    running, pids = started(tmp_path, asked + PIDS + "time.sleep(60)")
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert running.stdout.read() == "saved\n"
    assert_gone(pids)
