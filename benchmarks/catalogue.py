"""Time and memory of one meta-iteration over catalogue sizes.

    python -m benchmarks.catalogue --way ours_in_1_process --json results/catalogue.json

Everything but the number of courses stays as in the reference setting. `head_seconds` is the time
of what no way can avoid: the head's scores of all query states and their two gradients.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from benchmarks.episodes import QUERY_SIZE, catalogue
from benchmarks.measure import (
    Row,
    in_own_process,
    interleaved_seconds,
    machine,
    median_and_spread,
    peak_mb,
    report,
)
from benchmarks.ways import WAYS, problem
from mooc_maml.errors import main_guard

SIZES = (343, 1_518, 10_000, 100_000)
COLUMNS = ("way", "courses", "seconds", "spread", "head_seconds", "peak_mb")


def main() -> None:
    """Measure each size in a process of its own, so that peaks do not add up."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.one_size is not None:
        print(json.dumps(_row(arguments, arguments.one_size)))
        return
    settings = [
        f"--{key}={getattr(arguments, key)}"
        for key in ("way", "repeats", "seed", "threads", "device")
    ]
    rows = [
        in_own_process("benchmarks.catalogue", [*settings, f"--one-size={size}"])
        for size in arguments.sizes
    ]
    facts = machine(arguments.threads, torch.device(arguments.device))
    report(rows, COLUMNS, facts, arguments.json)


def _row(arguments: argparse.Namespace, num_courses: int) -> Row:
    device = torch.device(arguments.device)
    chosen = problem(catalogue(arguments.seed, num_courses), arguments.seed, device)
    call = partial(chosen.solve, WAYS[arguments.way])
    call()
    peak = peak_mb()  # before the head alone is run
    head = partial(_head_once, chosen.weights["head.weight"], chosen.setting.support.num_tasks)
    head()
    timed = interleaved_seconds({"way": call, "head": head}, arguments.repeats)
    seconds, spread = median_and_spread(timed["way"])
    return {
        "way": arguments.way,
        "setting": chosen.setting.name,
        "courses": num_courses,
        "seconds": seconds,
        "spread": spread,
        "head_seconds": median_and_spread(timed["head"])[0],
        "peak_mb": peak,
    }


def _head_once(weight: torch.Tensor, tasks: int) -> None:
    """Scores of the query states and the two products of their backward pass."""
    states = weight.new_ones(tasks * QUERY_SIZE, weight.shape[1])  # [pairs, H]
    scores = states @ weight.T  # [pairs, C]
    scores @ weight
    scores.T @ states


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory over catalogue sizes.")
    parser.add_argument("--way", choices=list(WAYS), default="ours_in_1_process")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
