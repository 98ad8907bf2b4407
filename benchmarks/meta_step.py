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
from benchmarks.measure import in_own_process, interleaved_seconds, median_and_spread, peak_mb
from benchmarks.partner import InTwoProcesses, be_partner, partner
from benchmarks.ways import WAYS, Problem, Way, problem, relative_error
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import keep_freed_memory

SETTINGS = {"reference": reference_setting, "many_sessions": many_sessions}
COLUMNS = ("way", "setting", "seconds", "spread", "times_faster", "peak_mb", "relative_error")
REFERENCE = "study_loop"
_ALONE = "_in_1_process"
IN_TWO_PROCESSES = {"ours": True, "ours_first_order": False}  # as meta-training does by default


def main() -> None:
    """Measure, or, as another process of the same, help or print one way's peak memory."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # for all ways
    chosen = problem(_setting(arguments), arguments.seed, torch.device(arguments.device))
    if arguments.peak_of is not None:
        print(json.dumps(_peak(chosen, arguments.peak_of)))
        return
    if arguments.partner is not None:
        be_partner(arguments.partner, chosen, arguments.threads)
        return
    with partner("benchmarks.meta_step", _same(arguments)) as process_group:
        two = InTwoProcesses(process_group, arguments.threads)
        own = {name: Way(two, second_order) for name, second_order in IN_TWO_PROCESSES.items()}
        ways = {name: (own | WAYS)[name] for name in arguments.ways}
        rows = _rows(chosen, ways, arguments.repeats)
    for row in rows:
        name = row["way"]  # of two processes, each needs less: it has half of the tasks
        alone = name + _ALONE if name in IN_TWO_PROCESSES else name
        row |= in_own_process("benchmarks.meta_step", [*_same(arguments), f"--peak-of={alone}"])
    facts = machine(arguments.threads, torch.device(arguments.device))
    report(rows, COLUMNS, facts, arguments.json)


def _rows(chosen: Problem, ways: dict[str, Way], repeats: int) -> list[Row]:
    """Errors first, which also warms every way up; then times in turns."""
    errors = _errors(chosen, ways)
    timed = interleaved_seconds({n: partial(chosen.solve, way) for n, way in ways.items()}, repeats)
    seconds = {name: median_and_spread(timed[name]) for name in ways}
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


def _errors(chosen: Problem, ways: dict[str, Way]) -> dict[str, float]:
    """Relative error of each way against the study's loop of the same order."""
    orders = {way.second_order for way in ways.values()}
    expected = {order: chosen.solve(Way(WAYS[REFERENCE].run, order))[1] for order in orders}
    return {
        name: relative_error(chosen.solve(way)[1], expected[way.second_order])
        for name, way in ways.items()
    }


def _peak(chosen: Problem, name: str) -> Row:
    """Peak memory of this process before and after one meta-iteration."""
    before = peak_mb()
    chosen.solve(WAYS[name])
    return {"peak_mb": peak_mb(), "peak_mb_before": before}


def _same(arguments: argparse.Namespace) -> list[str]:
    """The same problem, for another process."""
    kept = ["setting", "seed", "threads", "device"]
    if arguments.episodes is not None:
        kept.append("episodes")
    return [f"--{key}={getattr(arguments, key)}" for key in kept]


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
    names = [*IN_TWO_PROCESSES, *WAYS]
    parser.add_argument("--ways", nargs="+", choices=names, default=names)
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of a way; slow: a third")
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--partner", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peak-of", choices=list(WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
