"""One meta-iteration by each way: seconds, peak memory and agreement with the study's loop.

    python -m benchmarks.meta_step --setting reference --json results/meta_step.json

Ways take turns, so ratios come from the same minutes of the same machine; the peak memory of each
is that of a process of its own. The error of a way is against the study's loop of the same order.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from benchmarks.episodes import Setting, from_store, many_sessions, reference_setting
from benchmarks.measure import (
    Row,
    in_own_process,
    interleaved_seconds,
    machine,
    median_and_spread,
    peak_mb,
    report,
)
from benchmarks.ways import WAYS, Problem, Way, problem, relative_error
from mooc_maml.errors import UserError, main_guard

SETTINGS = {"reference": reference_setting, "many_sessions": many_sessions}
COLUMNS = ("way", "setting", "seconds", "spread", "times_faster", "peak_mb", "relative_error")
REFERENCE = "study_loop"


def main() -> None:
    """Measure, or, as the process of one way, print that way's peak memory."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    chosen = problem(_setting(arguments), arguments.seed, torch.device(arguments.device))
    if arguments.peak_of is not None:
        print(json.dumps(_peak(chosen, arguments.peak_of)))
        return
    rows = _rows(chosen, arguments.ways, arguments.repeats)
    for row in rows:
        row |= in_own_process("benchmarks.meta_step", _for_peak(arguments, row["way"]))
    facts = machine(arguments.threads, torch.device(arguments.device))
    report(rows, COLUMNS, facts, arguments.json)


def _rows(chosen: Problem, names: list[str], repeats: int) -> list[Row]:
    """Errors first, which also warms every way up; then times in turns."""
    errors = _errors(chosen, names)
    calls = {name: partial(chosen.solve, WAYS[name]) for name in names}
    timed = interleaved_seconds(calls, repeats)
    seconds = {name: median_and_spread(timed[name]) for name in names}
    base = seconds.get(REFERENCE, (None, None))[0]
    return [
        {
            "way": name,
            "setting": chosen.setting.name,
            "seconds": median,
            "spread": spread,
            "times_faster": base / median if base else None,
            "repeats": len(timed[name]),
            "relative_error": errors[name],
        }
        for name, (median, spread) in seconds.items()
    ]


def _errors(chosen: Problem, names: list[str]) -> dict[str, float]:
    """Relative error of each way against the study's loop of the same order."""
    orders = {WAYS[name].second_order for name in names}
    expected = {order: chosen.solve(Way(WAYS[REFERENCE].run, order))[1] for order in orders}
    return {
        name: relative_error(chosen.solve(WAYS[name])[1], expected[WAYS[name].second_order])
        for name in names
    }


def _peak(chosen: Problem, name: str) -> Row:
    """Peak memory of this process before and after one meta-iteration."""
    before = peak_mb()
    chosen.solve(WAYS[name])
    return {"peak_mb": peak_mb(), "peak_mb_before": before}


def _for_peak(arguments: argparse.Namespace, way: str) -> list[str]:
    """The same settings, for the process that measures one way's memory."""
    kept = ["setting", "seed", "threads", "device"]
    if arguments.episodes is not None:
        kept.append("episodes")
    settings = [f"--{key}={getattr(arguments, key)}" for key in kept]
    return [*settings, f"--peak-of={way}"]


def _setting(arguments: argparse.Namespace) -> Setting:
    if arguments.setting != "store":
        return SETTINGS[arguments.setting](arguments.seed)
    if arguments.episodes is None:
        raise UserError("--setting store needs --episodes FOLDER, such as data/episodes")
    return from_store(arguments.episodes, arguments.seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One meta-iteration by each way.")
    parser.add_argument("--setting", choices=[*SETTINGS, "store"], default="reference")
    parser.add_argument("--episodes", type=Path, help="folder of episodes, for --setting store")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of a way; slow: a third")
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peak-of", choices=list(WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
