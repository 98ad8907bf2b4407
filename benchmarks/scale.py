"""How time, memory and disk grow with the number of events, from raw dump to episodes.

    python -m benchmarks.scale --events 1000000,5000000,57000000 --folder /tmp/scale \\
        --json benchmarks/measured/scale.json --picture benchmarks/measured/scale.png

writes a synthetic dump in XuetangX's nesting, runs `preprocess` and `build_episodes` on it as the
pipeline does, and deletes it before it goes on to the next size. The figures are of these two
stages; making the dump is not in them. Table, file and picture hold all sizes so far after each.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
import yaml
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.dumps import write_dumps
from benchmarks.measure import held_mb
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure

_DISK_AN_EVENT = 150  # bytes: 90 raw, and 20 to 45 of shards, tables in between and what spills
_STAGES = {
    "preprocess": ("--raw", "raw", "--pairs", "pairs", "--report", "preprocess.json"),
    "build_episodes": ("--pairs", "pairs", "--episodes", "episodes", "--report", "episodes.json"),
}
_COLUMNS = (
    "events",
    "gigabytes",
    "pairs",
    "preprocess_s",
    "build_s",
    "cpu_s",
    "events_a_s",
    "peak_mb",
    "disk_mb",
    "load_average",
)


def check_disk(folder: Path, sizes: list[int], keep: bool) -> None:
    """Stop before hours of work that the disk cannot hold.

    Args:
        folder: place for the dumps.
        sizes: events of each.
        keep: whether the dumps stay, so that all must fit together.

    Raises:
        UserError: too little is free.
    """
    needed = (sum(sizes) if keep else max(sizes)) * _DISK_AN_EVENT / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    if needed > free:
        raise UserError(
            f"{folder}: {max(sizes):,} events need about {needed:,.1f} GB of disk, {free:,.1f} GB "
            "are free; free some, name another --folder, or ask for fewer --events"
        )


def measure(folder: Path, settings: Path) -> Row:
    """Run both stages on `folder`/raw as the pipeline does; give their time and memory.

    Raises:
        RuntimeError: a stage failed.
    """
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    content["data"]["source"] = "xuetangx"
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    size = sum(path.stat().st_size for path in (folder / "raw").iterdir())
    first, second = (run_stage(stage, folder) for stage in _STAGES)
    account = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    return {
        "events": account["raw_events"],
        "gigabytes": round(size / 1e9, 2),
        "pairs": account["pairs"],
        "preprocess_s": first["seconds"],
        "build_s": second["seconds"],
        "cpu_s": first["cpu_s"] + second["cpu_s"],
        "events_a_s": account["raw_events"] / (first["seconds"] + second["seconds"]),
        "peak_mb": max(first["peak_mb"], second["peak_mb"]),
        "disk_mb": first["disk_mb"],
        "preprocess_peak_mb": first["peak_mb"],
        "build_peak_mb": second["peak_mb"],
        "load_average": round(os.getloadavg()[0], 2),
    }


def run_stage(stage: str, folder: Path) -> Row:
    """Run a stage on what lies in `folder`, with the params.yaml there.

    Returns:
        Seconds, CPU seconds, most memory held at once by the process with all that it started,
        most disk for tables in between.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", f"stages.{stage}", *_STAGES[stage]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start, cpu, peak, disk = time.perf_counter(), _children_cpu(), 0.0, 0
    with subprocess.Popen(command, cwd=folder, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, held_mb(process.pid))
            disk = max(disk, bytes_between(folder))
            time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    cpu = _children_cpu() - cpu
    return {"seconds": seconds, "cpu_s": cpu, "peak_mb": peak, "disk_mb": disk / 1e6}


def _children_cpu() -> float:
    """CPU seconds of all that this process started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bytes_between(folder: Path) -> int:
    """Size of the tables in between; files and folders may go while they are looked at."""
    found = 0
    for place in folder.glob(".preprocess.*"):
        for parent, _, names in os.walk(place):  # which passes over a folder that has gone
            for name in names:
                with suppress(FileNotFoundError):
                    found += (Path(parent) / name).stat().st_size
    return found


def draw(rows: list[Row], path: Path) -> None:
    """Time, and memory and disk beside it, by events; both axes logarithmic.

    Args:
        rows: of `measure`, smallest first.
        path: PNG to write.
    """
    millions = [row["events"] / 1e6 for row in rows]
    seconds = [row["preprocess_s"] + row["build_s"] for row in rows]
    with new_figure(path, 10, 4.4, "From raw log to episodes, by size of the log") as figure:
        left, right = figure.subplots(1, 2)
        _line(left, millions, seconds, "seconds", "few_shot")
        _proportional(left, millions, seconds[-1])
        cpu = [row["cpu_s"] for row in rows]
        _line(left, millions, cpu, "CPU seconds of all processes", "zero_shot")
        left.set(title="time", ylabel="seconds")
        peak, disk = ([row[name] / 1e3 for row in rows] for name in ("peak_mb", "disk_mb"))
        _line(right, millions, peak, "memory, most at once", "few_shot")
        _line(right, millions, disk, "disk for tables in between", "zero_shot")
        _proportional(right, millions, disk[-1])
        right.set(title="memory and disk", ylabel="GB")
        for axes in (left, right):
            axes.set(xlabel="million events", xscale="log", yscale="log")
            axes.set_xticks(millions, [f"{x:.3g}" for x in millions])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.legend()


def _line(axes: Axes, x: list[float], y: list[float], label: str, colour: str) -> None:
    axes.plot(x, y, "o-", label=label, color=COLOURS[colour])


def _proportional(axes: Axes, x: list[float], last: float) -> None:
    """What growth in proportion to the events would be, through the last point."""
    line = [last * each / x[-1] for each in x]
    axes.plot(x, line, ":", label="proportional to events", color=OTHER_COLOUR)


def main() -> None:
    """Measure every size; print a table and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", default="1000000,5000000,57000000", help="sizes, with commas")
    parser.add_argument("--folder", type=Path, required=True, help="place for the dumps")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--keep", action="store_true", help="do not delete the dumps")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.events.split(","))
    for folder in (arguments.folder, *(f.parent for f in (arguments.json, arguments.picture) if f)):
        folder.mkdir(parents=True, exist_ok=True)
    check_disk(arguments.folder, sizes, arguments.keep)
    rows = []
    for events in sizes:
        folder = arguments.folder / str(events)
        if not (folder / "raw").exists():
            with atomic_path(folder / "raw") as raw:  # a half-written dump is no smaller one
                write_dumps(raw, events)
        rows.append(measure(folder, arguments.params.resolve()))
        facts = machine(torch.get_num_threads(), torch.device("cpu"))
        report(rows, _COLUMNS, facts, arguments.json)
        if arguments.picture is not None:
            draw(rows, arguments.picture)
        if not arguments.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main_guard(main)
