"""Time and memory of one meta-iteration over catalogue sizes.

    python -m benchmarks.catalogue --json catalogue.json --picture catalogue.png

Everything but the number of courses stays as in the reference setting. `head_seconds` is the time
of the products of states and head that an exact meta-gradient has to do (`_head_once`). Where
`times_head` falls from one row to the next, time grows more slowly than they do.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from benchmarks.episodes import QUERY_SIZE, SUPPORT_SIZE, catalogue
from benchmarks.measure import in_own_process, interleaved_seconds, median_and_spread, peak_mb
from benchmarks.ways import INNER_STEPS, WAYS, problem
from mooc_maml.common.errors import main_guard
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import keep_freed_memory

SIZES = (343, 1_518, 10_000, 100_000)
COLUMNS = ("way", "courses", "seconds", "spread", "head_seconds", "times_head", "peak_mb")


def main() -> None:
    """Measure each size in a process of its own, so that peaks do not add up."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as meta-training does
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
    if arguments.picture is not None:
        _draw(rows, arguments.picture)


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
    head_seconds = median_and_spread(timed["head"])[0]
    return {
        "way": arguments.way,
        "setting": chosen.setting.name,
        "courses": num_courses,
        "seconds": seconds,
        "spread": spread,
        "head_seconds": head_seconds,
        "times_head": seconds / head_seconds,
        "peak_mb": peak,
    }


def _head_once(weight: torch.Tensor, tasks: int) -> None:
    """The products of states and head [C, H] in one second-order meta-gradient.

    Of each batch of states: scores, and the gradients of states and head. In every inner step the
    support states have the first two of them, and the tangents of all three, of which that of the
    head's gradient is a product of two (states and scores each have a tangent).
    """
    states = weight.new_ones(tasks * SUPPORT_SIZE, weight.shape[1])  # [pairs, H]
    for _ in range(INNER_STEPS):
        scores = states @ weight.T  # [pairs, C]
        scores @ weight
        tangents = states @ weight.T
        tangents @ weight
        scores.T @ states
        tangents.T @ states
    states = weight.new_ones(tasks * QUERY_SIZE, weight.shape[1])
    scores = states @ weight.T
    scores @ weight
    scores.T @ states


def _draw(rows: list[Row], path: Path) -> None:
    """Time and memory over the number of courses."""
    # here, so that the processes that measure memory do without matplotlib
    from matplotlib.ticker import FuncFormatter

    from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure

    courses = [row["courses"] for row in rows]
    title = "One second-order meta-gradient, by size of the catalogue"
    with new_figure(path, 9.5, 4.4, title) as figure:
        time, memory = figure.subplots(1, 2)
        ours, head = COLOURS["few_shot"], OTHER_COLOUR
        time.loglog(courses, [row["seconds"] for row in rows], "o-", color=ours, label="whole")
        unavoidable = [row["head_seconds"] for row in rows]
        time.loglog(courses, unavoidable, "s--", color=head, label="head products alone")
        time.set_title("Seconds")
        time.legend()
        memory.semilogx(courses, [row["peak_mb"] for row in rows], "o-", color=ours)
        memory.set_title("Peak memory (MB)")
        memory.set_ylim(0, None)
        plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
        for axis in (time.xaxis, memory.xaxis, time.yaxis, memory.yaxis):
            axis.set_major_formatter(plain)
        for axes in (time, memory):
            axes.set_xlabel("courses")
            axes.minorticks_off()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory over catalogue sizes.")
    parser.add_argument("--way", choices=list(WAYS), default="ours_in_1_process")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
