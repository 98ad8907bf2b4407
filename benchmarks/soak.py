"""A whole, long meta-training run: does memory stay flat, does the speed stay the same?

    python -m benchmarks.soak --updates 10000 --json soak.json --picture soak.png

runs the stage itself, with its evaluations of validation, checkpoints and saved states, on the
episodes of the pipeline and with the settings of params.yaml, but for so many meta-updates and
without early stopping. What it writes is thrown away. Its progress bar, which it shows on a
terminal only, tells how far it is; so it is given a pseudo-terminal (Linux and macOS).
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.measure import held_mb
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.report.style import COLOURS, new_figure
from mooc_maml.settings.params import load_params

COLUMNS = (
    "updates",
    "wall_clock_s",
    "updates_per_second",
    "last_to_first",
    "evaluations",
    "checkpoints",
    "mb_first",
    "mb_last",
    "mb_per_1000_updates",
    "peak_mb",
)
LEAST = 12  # samples that can be judged
Sample = tuple[int, float, float]  # updates done, seconds since the start, MB held
_LINE = re.compile(r"([\d,]+) of [\d,]+ meta-updates")  # of progress


def main() -> None:
    """Train, sample, and tell how memory and speed went."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        row, samples = soak(arguments, Path(folder))
    threads = load_params("params.yaml").hardware.threads
    facts = machine(threads, torch.device("cpu"))
    report([row | {"samples": samples}], COLUMNS, facts, arguments.json)
    if arguments.picture is not None:
        draw(samples, arguments.picture)


def soak(arguments: argparse.Namespace, folder: Path) -> tuple[Row, list[Sample]]:
    """Run the stage in an empty folder; gives the figures, and the samples they come from.

    Raises:
        UserError: the stage failed, or there are too few samples to judge.
    """
    samples, peak, start = [], 0.0, time.perf_counter()
    every, due = max(arguments.updates // arguments.samples, 1), 0
    for done, held in _watched(arguments, folder):
        peak = max(peak, held)
        if done >= due:
            samples.append((done, time.perf_counter() - start, held))
            due = (done // every + 1) * every
    row: Row = {"updates": arguments.updates, "wall_clock_s": time.perf_counter() - start}
    row |= {
        "evaluations": len((folder / "plots" / "validation.csv").read_text().splitlines()) - 1,
        "checkpoints": len(list((folder / "models").rglob("checkpoint_*.pth"))),
        "peak_mb": peak,
    }
    return row | judged(samples), samples


def judged(samples: list[Sample]) -> Row:
    """Slope of memory and steadiness of speed, the first fifth of the samples left out.

    Args:
        samples: at least `LEAST`, about evenly spaced in updates.

    Returns:
        mb_per_1000_updates: slope of a straight line through memory;
        updates_per_second: over all that is judged, evaluations and checkpoints in it;
        last_to_first: median speed of the last quarter, over that of the first.

    Raises:
        UserError: too few samples.
    """
    if len(samples) < LEAST:
        raise UserError(f"only {len(samples)} samples, too few to judge; raise --updates")
    kept = samples[len(samples) // 5 :]
    updates, seconds, held = np.array(kept).T
    speed = _speeds(kept)
    quarter = len(speed) // 4
    return {
        "updates_per_second": float((updates[-1] - updates[0]) / (seconds[-1] - seconds[0])),
        "last_to_first": float(np.median(speed[-quarter:]) / np.median(speed[:quarter])),
        "mb_first": float(held[0]),
        "mb_last": float(held[-1]),
        "mb_per_1000_updates": 1000 * float(np.polyfit(updates, held, 1)[0]),
    }


def _speeds(samples: list[Sample]) -> list[float]:
    """Updates per second between each sample and the next."""
    return [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(samples)]


def _watched(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[int, float]]:
    """Run the stage; as its line of progress moves yields the updates done and the MB it holds."""
    content: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    content |= {"num_meta_iterations": arguments.updates, "early_stopping_patience": 0}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    inputs = {"--episodes": arguments.episodes.resolve(), "--gru": arguments.gru.resolve()}
    words = [str(word) for pair in inputs.items() for word in pair]
    command = [sys.executable, "-m", "stages.meta_train", *words]
    command += ["--model", "models", "--plots", "plots"]
    path = os.pathsep.join(str(Path(place).resolve()) for place in sys.path if place)
    shown = {"CI": "", "TERM": "xterm"}  # else the line would be one a minute
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))  # a terminal of no width shows no line
    said = ""
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path} | shown, stderr=theirs
    ) as process:
        os.close(theirs)
        for text in _texts(ours):
            said = (said + text)[-2000:]
            if moved := _LINE.findall(text):
                yield int(moved[-1].replace(",", "")), held_mb(process.pid)
    if process.returncode:
        raise UserError(f"meta-training ended with status {process.returncode}: {said}")


def _texts(terminal: int) -> Iterator[str]:
    """What is written to a pseudo-terminal, until nobody holds its other side any more."""
    try:
        while text := os.read(terminal, 1 << 16):
            yield text.decode(errors="replace")
    except OSError:  # so Linux tells the end
        pass
    finally:
        os.close(terminal)


def draw(samples: list[Sample], path: Path) -> None:
    """Memory and speed by meta-update, one above the other, as a PNG."""
    updates, _, held = np.array(samples).T
    with new_figure(path, 9, 6, "A long run of meta-training") as figure:
        memory, speed = figure.subplots(2, sharex=True)
        memory.plot(updates, held, color=COLOURS["few_shot"])
        memory.set(title="Memory held by all processes, MB", ylim=(0, 1.15 * held.max()))
        speed.plot(updates[1:], _speeds(samples), color=COLOURS["gru"], linewidth=1.2)
        speed.set(title="Meta-updates per second (dips: evaluations of validation, states saved)")
        speed.set(xlabel="meta-update", ylim=(0, None))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and speed of a long meta-training run.")
    parser.add_argument("--updates", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200, help="how often memory is looked at")
    parser.add_argument("--episodes", type=Path, default=Path("data/episodes"))
    parser.add_argument("--gru", type=Path, default=Path("models/baselines/gru.pth"))
    parser.add_argument("--json", type=Path, help="file to write figures and samples to")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
