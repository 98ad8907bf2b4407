"""Time and peak memory of one meta-iteration over the number of inner steps.

    python -m benchmarks.inner_steps --ways ours_in_1_process study_loop --json steps.json

On the reference setting, each number of steps in a process of its own. `peak_ratio` is the peak
over that of the fewest steps of the same way.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from benchmarks.episodes import reference_setting
from benchmarks.measure import in_own_process, interleaved_seconds, median_and_spread, peak_mb
from benchmarks.ways import WAYS, problem
from mooc_maml.common.errors import main_guard
from mooc_maml.report.measured import Row, machine, report

COLUMNS = ("way", "inner_steps", "seconds", "spread", "peak_mb", "peak_ratio")


def main() -> None:
    """Measure every way at every number of steps."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.one is not None:
        print(json.dumps(_row(arguments, arguments.ways[0], arguments.one)))
        return
    rows = [row for way in arguments.ways for row in _rows_of(arguments, way)]
    facts = machine(arguments.threads, torch.device(arguments.device))
    report(rows, COLUMNS, facts, arguments.json)


def _rows_of(arguments: argparse.Namespace, way: str) -> list[Row]:
    settings = [
        f"--{key}={getattr(arguments, key)}" for key in ("repeats", "seed", "threads", "device")
    ]
    rows: list[Row] = [
        in_own_process("benchmarks.inner_steps", [*settings, f"--ways={way}", f"--one={steps}"])
        for steps in sorted(arguments.steps)
    ]
    return [row | {"peak_ratio": row["peak_mb"] / rows[0]["peak_mb"]} for row in rows]


def _row(arguments: argparse.Namespace, way: str, steps: int) -> Row:
    setting = reference_setting(arguments.seed)
    chosen = problem(setting, arguments.seed, torch.device(arguments.device), steps)
    call = partial(chosen.solve, WAYS[way])
    call()
    peak = peak_mb()
    seconds, spread = median_and_spread(interleaved_seconds({way: call}, arguments.repeats)[way])
    return {
        "way": way,
        "setting": setting.name,
        "inner_steps": steps,
        "seconds": seconds,
        "spread": spread,
        "peak_mb": peak,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory over inner steps.")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["ours_in_1_process"])
    parser.add_argument("--steps", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
