"""Several real processes: the same sums, the same model, and a clear end when one is gone."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pipeline_files import ROOT

from mooc_maml.common.errors import UserError
from mooc_maml.runtime import processes
from mooc_maml.runtime.processes import ALONE, ProcessGroup

HEAD = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "src")!r})
import torch
import mooc_maml.runtime.processes
from mooc_maml.common.errors import main_guard
from mooc_maml.runtime.processes import is_distributed, join_process_group, launch
{{before}}

def work(process_group):
{{work}}

def main():
    if not is_distributed():
        sys.exit(launch(int(sys.argv[1]), [sys.executable, *sys.argv]))
    with join_process_group() as process_group:
        work(process_group)

main_guard(main)
"""


def script(folder: Path, work: str, before: str = "") -> Path:
    path, work = folder / "work.py", textwrap.dedent(work) or "pass"
    path.write_text(HEAD.format(before=before, work=textwrap.indent(work, "    ")))
    return path


def run(
    folder: Path, processes: int, work: str, before: str = ""
) -> "subprocess.CompletedProcess[str]":
    return said_by([sys.executable, script(folder, work, before), str(processes)])


def said_by(command: list[object], **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command and what it said, in files: a process left over would keep a pipe open for ever."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
        )
        try:
            status = process.wait(120)
        finally:
            process.kill()
            process.wait(10)
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), errors.read())


def test_work_is_shared_so_that_all_have_about_as_much() -> None:
    work = [5.0, 1, 1, 1, 1, 1]
    assert ProcessGroup(0, 2).share(work) == [0]
    assert ProcessGroup(1, 2).share(work) == [1, 2, 3, 4, 5]
    shares = [ProcessGroup(rank, 3).share([3, 3, 2, 2, 2]) for rank in range(3)]
    assert shares == [[0, 4], [1], [2, 3]]
    assert ALONE.share(work) == [0, 1, 2, 3, 4, 5]


def test_alone_a_sum_is_the_thing_itself() -> None:
    x = torch.tensor([1.0, 2])
    assert ALONE.sum(x)[0] is x


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.thorough)])
def test_sums_over_processes(tmp_path: Path, processes: int) -> None:
    done = run(
        tmp_path,
        processes,
        """
        g = process_group
        a, b = g.sum(torch.tensor([1.0, g.rank]), torch.tensor([[10.0 ** g.rank]]))
        print(g.size, a.tolist(), b.tolist())
        """,
    )
    assert done.returncode == 0, done.stderr
    expected = {2: "2 [2.0, 1.0] [[11.0]]", 3: "3 [3.0, 3.0] [[111.0]]"}
    assert done.stdout.splitlines() == [expected[processes]]  # of the first process only


def test_plain_values_of_all_are_gathered_in_the_order_of_ranks(tmp_path: Path) -> None:
    work = """
    time.sleep(1.0 * process_group.rank)
    print(process_group.gather({"rank": process_group.rank, "third": 1 / 3}))
    print(process_group.gather([None, 2]))
    """
    done = run(tmp_path, 2, work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"[{{'rank': 0, 'third': {1 / 3}}}, {{'rank': 1, 'third': {1 / 3}}}]",
        "[[None, 2], [None, 2]]",
    ]
    assert ALONE.gather("own") == ["own"]


def test_what_they_meet_by_may_be_gone(monkeypatch) -> None:
    """As the server of torchrun is, whose process has ended."""

    class Gone:
        def set(self, key: str, value: str) -> None:
            raise torch.distributed.DistNetworkError("Broken pipe")

    monkeypatch.setattr(processes, "_meeting_place", [Gone()])
    with pytest.raises(UserError, match=r"process 1 of 2 lost the others \(Broken pipe\)"):
        ProcessGroup(rank=1, size=2).gather("own")


def test_ctrl_c_before_a_process_can_handle_it_is_no_fault() -> None:
    code = "import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)"
    with pytest.raises(KeyboardInterrupt):
        processes.launch(2, [sys.executable, "-c", code])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_sums_over_two_gpus_under_torchrun(tmp_path: Path) -> None:
    """By NCCL, each process with a GPU of its own; all get the same."""
    work = """
    from mooc_maml.runtime.hardware import setup
    from mooc_maml.settings.hardware import HardwareParams
    settings = dict(device="cuda", threads=2, processes="auto", tasks_at_once=32)
    hardware = HardwareParams(**settings, precision="float32", cuda_graphs=False)
    device = setup(hardware, process_group)
    mine = torch.tensor([1.0, process_group.rank], device=device)
    total = process_group.sum(mine)[0].tolist()
    print(device, total, flush=True)
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = said_by([*command, script(tmp_path, work)])
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")[:2]) == ["cuda:0 [2.0, 1.0]", "cuda:1 [2.0, 1.0]"]


def test_they_meet_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b 课程 100% #1 ?x&y"
    folder.mkdir()
    work = "print(process_group.sum(torch.ones(1))[0].tolist())"
    leftovers = {"WORLD_SIZE": "7", "MASTER_ADDR": "nowhere.invalid"}
    done = said_by([sys.executable, script(tmp_path, work), "2"], TMPDIR=str(folder), **leftovers)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2.0]\n"
    assert "WORLD_SIZE set without RANK, LOCAL_RANK, MASTER_PORT" in done.stderr
    assert list(folder.iterdir()) == []


KILLED = """
process_group.sum(torch.ones(1))
if process_group.rank == {victim}:
    os.kill(os.getpid(), {number})
process_group.sum(torch.ones(1))
"""


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_a_killed_process_ends_the_run_with_a_word(tmp_path: Path, victim: int) -> None:
    done = run(tmp_path, 2, KILLED.format(victim=victim, number=9))
    assert done.returncode == 1
    assert f"error: process {victim} of 2 was killed by signal 9 (often for want" in done.stderr
    assert "go on from the last saved state" in done.stderr
    assert "Traceback" not in done.stderr


def test_memory_is_spoken_of_only_where_it_may_be_the_reason(tmp_path: Path) -> None:
    done = run(tmp_path, 2, KILLED.format(victim=0, number=15))
    assert done.returncode == 1
    assert "error: process 0 of 2 was killed by signal 15; run the same command" in done.stderr


def test_a_process_that_stands_still_ends_the_run_with_a_word(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        2,
        """
        import signal
        process_group.sum(torch.ones(1))
        if process_group.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        process_group.sum(torch.ones(1))
        """,
        "mooc_maml.runtime.processes.SECONDS_FOR_A_SUM = 3",
    )
    assert done.returncode == 1
    assert "error: process 0 of 2 lost the others" in done.stderr
    assert "go on from the last saved state" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("address", [None, "127.0.0.1"])
def test_a_process_whose_partner_never_comes_says_so(
    tmp_path: Path, rank: int, address: str | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": address, "MASTER_PORT": str(port)} if address else {}
    if not address:
        place = {"MOOC_MAML_RENDEZVOUS": str(tmp_path / "rendezvous")}
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    file = script(tmp_path, "", "mooc_maml.runtime.processes.SECONDS_TO_MEET = 2")
    done = said_by([sys.executable, file], **own, **place)
    assert done.returncode == 1
    assert f"error: process {rank} of 2 has not met the others within 2 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_interface_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = script(tmp_path, "")
    done = said_by([sys.executable, file, "2"], GLOO_SOCKET_IFNAME="nothing7")
    assert done.returncode == 1
    assert "error: process 0 of 2 cannot reach the others" in done.stderr
    assert "(GLOO_SOCKET_IFNAME='nothing7'), or set hardware.processes to 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_another_process_said_last_is_shown(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        2,
        """
        if process_group.rank == 1:
            raise SystemExit("no memory left on this one")
        time.sleep(60)
        """,
    )
    assert done.returncode == 1
    assert "no memory left on this one" in done.stderr


Start = Callable[[str], tuple["subprocess.Popen[bytes]", list[int]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts two processes that write their numbers to `said.txt`; ends them after the test."""
    launchers = []

    def start(work: str) -> tuple["subprocess.Popen[bytes]", list[int]]:
        command, said = [sys.executable, script(tmp_path, work), "2"], tmp_path / "said.txt"
        with said.open("wb") as output:
            launchers.append(subprocess.Popen(command, stdout=output))
        until = time.monotonic() + 120
        while not said.read_text().endswith("\n"):
            assert time.monotonic() < until
            assert launchers[-1].poll() is None
            time.sleep(0.05)
        return launchers[-1], [int(x) for x in said.read_text().split()]

    yield start
    for launcher in launchers:
        launcher.kill()  # the others end with it
        launcher.wait(60)


PIDS = """
pids = process_group.sum(torch.eye(2, dtype=torch.int64)[process_group.rank] * os.getpid())[0]
if process_group.rank == 0:
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


def test_no_process_outlives_the_launcher(start: Start) -> None:
    running, pids = start(PIDS + "time.sleep(60)")
    assert all(map(alive, pids))
    running.kill()
    running.wait(60)
    assert_gone(pids)


def test_a_signal_to_stop_reaches_the_first_process(start: Start, tmp_path: Path) -> None:
    asked = """
import signal
def stop(number, frame):
    print("saved", flush=True)
    sys.exit(143)
if process_group.rank == 0:
    signal.signal(signal.SIGTERM, stop)
"""
    running, pids = start(asked + PIDS + "time.sleep(60)")
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert (tmp_path / "said.txt").read_text().splitlines()[1:] == ["saved"]
    assert_gone(pids)


def test_a_signal_ends_a_process_that_waits_for_the_others(start: Start) -> None:
    running, pids = start(PIDS + "time.sleep(60 * process_group.rank)\nprocess_group.gather(1)")
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 130
    assert_gone(pids)
