"""Time, memory and the machine: what every benchmark reports, measured in one way."""

import json
import os
import platform
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

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_json, sha256, write_json
from mooc_maml.settings.params import Params

Row = dict[str, Any]
SLOW = 1.0  # seconds
TURN = 0.5  # seconds
MADE_FROM = "made_from.json"  # in a folder of trained models
MAKES_A_BASELINE = {"seed", "episodes", "model", "baselines", "evaluation"}  # with the pairs


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
    starts anew with each program.
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


def keep_settings(folder: Path, pairs: Path, params: Params) -> None:
    """Note in a folder of trained models what they are made from; later, see that it is the same.

    Args:
        folder: made if it is not there.
        pairs: the folder that preprocess wrote, whose bytes count.
        params: those of `MAKES_A_BASELINE` count.

    Raises:
        UserError: the folder's models are made from something else.
    """
    settings = params.model_dump(mode="json", include=MAKES_A_BASELINE)
    now = {"settings": settings, "pairs": {p.name: sha256(p) for p in sorted(pairs.glob("*"))}}
    path = folder / MADE_FROM
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
        return
    before = read_json(path)
    differing = ["pairs"] if before.get("pairs") != now["pairs"] else []
    was = before.get("settings", {})
    differing += sorted(key for key in {*was, *settings} if was.get(key) != settings.get(key))
    if differing:
        raise UserError(
            f"{path}: the models of this folder are made with other {', '.join(differing)} than "
            "those of now; name another --folder, or go back to what is written there"
        )


def machine(threads: int, device: torch.device) -> Row:
    """What the numbers depend on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_mb": round(pages / 1e6),
        "threads": threads,
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as a Markdown table."""
    body = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(x) for x in column) for column in zip(columns, *body, strict=True)]
    lines = [list(columns), ["-" * width for width in widths], *body]
    padded = ([x.ljust(n) for x, n in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def report(rows: Sequence[Row], columns: Sequence[str], facts: Row, path: Path | None) -> None:
    """Print the table and the machine; write both as JSON if `path` is given."""
    print(table(rows, columns))
    print("machine:", ", ".join(f"{key} {value}" for key, value in facts.items()))
    if path is not None:
        write_json(path, {"machine": facts, "rows": list(rows)})


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _finish_queued() -> None:
    if _on_gpu():
        torch.cuda.synchronize()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
