"""Time and memory, measured in one way by every benchmark."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

SLOW = 1.0  # seconds
TURN = 0.5  # seconds


def interleaved_seconds(
    calls: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Run A B C A B C ..., so that a slow spell of the machine falls on all of them alike.

    A turn goes on calling until it has lasted `TURN`, as training does: a single short call after
    the turn of another way would be timed with caches full of the other's data.

    Args:
        calls: what to time, by name, warmed up already.
        repeats: turns of each; those slower than `SLOW` leave after a third of the rounds.

    Returns:
        Seconds a call, the mean of each turn, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name, call in calls.items():
            slow = turn > 0 and seconds[name][0] > SLOW
            if not slow or turn < -(-repeats // 3):
                seconds[name].append(_seconds_a_call(call))
    return seconds


def _seconds_a_call(call: Callable[[], object]) -> float:
    taken = [seconds_of(call)]
    while sum(taken) < TURN:
        taken.append(seconds_of(call))
    return sum(taken) / len(taken)


def seconds_of(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, with the work that it leaves queued on a GPU."""
    _finish_queued()
    start = time.perf_counter()
    call()
    _finish_queued()
    return time.perf_counter() - start


def median_and_spread(seconds: Sequence[float]) -> tuple[float, float]:
    """Median, and the difference of slowest and fastest as a share of it."""
    median = statistics.median(seconds)
    return median, (max(seconds) - min(seconds)) / median


def peak_mb() -> float:
    """The most memory (10^6 bytes) that this process ever held; on a GPU, of the GPU's memory.

    Linux hands a parent's `ru_maxrss` on to the child that it starts, so VmHWM is read, which
    starts again with each program.
    """
    if _on_gpu():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def held_mb(process: int) -> float:
    """The memory (10^6 bytes) that a process and all it started hold now.

    Pages that they share are counted for each.
    """
    total = 0
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process)
        for each in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total / 1e6


def in_own_process(module: str, arguments: Sequence[str]) -> Any:
    """Run `python -m module arguments` and read the JSON that it prints last.

    Raises:
        RuntimeError: it failed; the message holds what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _finish_queued() -> None:
    if _on_gpu():
        torch.cuda.synchronize()
