"""All parts of `benchmarks.gpu`, one after the other, as one JSON and one page."""

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import ROOT
from benchmarks.gpu_iterations import forget_peak, iteration_rows, kernels
from benchmarks.gpu_training import CPU, agreement, episodes, evaluation, resumed, train, trainer_on
from mooc_maml.common.files import write_json
from mooc_maml.report.measured import Row, machine, table
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, load_params

THREADS = 2
FULL: Row = {
    "tasks": [32, 128, 512, 2048],
    "updates": 1000,
    "eager": 50,
    "cpu": 200,
    "resumed": 12,
    "seconds": 0.5,
}
QUICK: Row = {"tasks": [2, 4], "updates": 4, "eager": 4, "cpu": 4, "resumed": 4, "seconds": 0.05}
_TESTS = ("tests/test_meta_exact.py", "tests/test_recording.py", "tests/test_processes.py")
_FOR_TESTS = ("pytest", "hypothesis", "higher", "psutil", "pandas")


def measure_all(arguments: argparse.Namespace) -> None:
    """Measure, print what is found part by part, and write both files."""
    start = time.monotonic()
    size, until = QUICK if arguments.quick else FULL, start + arguments.seconds
    params = _settings(arguments.device, 1 if arguments.quick else THREADS)
    device = setup(params.hardware)
    label, store = episodes(arguments.episodes)
    found: dict[str, Any] = {
        "machine": machine(params.hardware.threads, device),
        "device": str(device),
        "quick": arguments.quick,
        "data": label,
    }
    if device.type == "cpu":
        found["note"] = "on the CPU: this tries the script, and says nothing about a GPU"
    parts: dict[str, Callable[[], Any]] = {
        "tests": lambda: cuda_tests(arguments.quick),
        "kernels": lambda: [
            kernels(device, 32, fill=fill, matrices=matrices)
            for fill, matrices in ((True, False), (False, False), (False, True))
        ],
        "iterations": lambda: iteration_rows(device, size["tasks"], size["seconds"]),
        "resumed": lambda: [
            {"cuda_graphs": graphs} | resumed(device, store, params, graphs, size["resumed"])
            for graphs in (False, True)
        ],
        "training": lambda: training(device, store, params, size, until),
    }
    for name, part in parts.items():
        found[name] = _tried(part)
        print(f"{name}: done after {time.monotonic() - start:.0f} s", flush=True)
    found["seconds"] = time.monotonic() - start
    write_json(arguments.json, found)
    arguments.markdown.write_text(page(found), encoding="utf-8")
    print(f"{arguments.json} and {arguments.markdown} are what to send back")


def _settings(device: str, threads: int) -> Params:
    """params.yaml, as one process on the device."""
    params = load_params(ROOT / "params.yaml")
    own = {"device": device, "threads": threads, "processes": 1, "cuda_graphs": False}
    return params.model_copy(update={"hardware": params.hardware.model_copy(update=own)})


def _tried(part: Callable[[], Any]) -> Any:
    """What a part finds; where it fails, why, so that the others still run."""
    try:
        return part()
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        return [{"fault": f"{type(error).__name__}: {str(error)[:500]}"}]


def cuda_tests(quick: bool) -> list[Row]:
    """The tests that need a GPU, by pytest in a process of its own."""
    lacking = [name for name in _FOR_TESTS if importlib.util.find_spec(name) is None]
    if lacking:
        return [{"result": f"not run: this Python lacks {', '.join(lacking)}"}]
    if quick:
        return [{"result": "not run: --quick"}]
    command = [sys.executable, "-m", "pytest", *_TESTS, "-k", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return [{"result": lines[-1] if lines else done.stderr[-300:], "failed": "; ".join(failed)}]


def training(
    device: torch.device, store: Any, params: Params, size: Row, until: float
) -> list[Row]:
    """The start of a run by each way; the CPU's for comparison; one evaluation of each."""
    rows: list[Row] = []
    curves: dict[str, list[float]] = {}
    plan = [("graphs", device, True, "updates"), ("eager", device, False, "eager")]
    for way, where, graphs, number in [*plan, ("cpu", CPU, False, "cpu")]:
        own = trainer_on(where, store, params, graphs)
        forget_peak(where)
        # the last, the CPU, needs some of the time; each of the others leaves it that
        row = train(own, size[number], until if where == CPU else until - 45)
        curves[way] = list(own.progress.losses)
        row |= {f"evaluation_{name}": x for name, x in evaluation(own).items()}
        rows.append({"way": way, "loss_first": curves[way][0], "loss_last": curves[way][-1]} | row)
    for row in rows:
        apart = agreement(curves[row["way"]], curves["cpu"])
        row |= {f"apart_{name}": x for name, x in apart.items()}
    return rows


def page(found: dict[str, Any]) -> str:
    """The same as Markdown."""
    facts = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    lines = [
        "# One device",
        "",
        f"{facts}; data: {found['data']}; {found['seconds']:.0f} s in all.",
    ]
    lines += ["", f"**{found['note']}**"] if "note" in found else []
    for name in ("tests", "kernels", "iterations", "resumed", "training"):
        rows = found[name]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines += ["", f"## {name}", "", table(rows, columns)]
    return "\n".join(lines) + "\n"
