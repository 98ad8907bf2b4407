"""What a meta-update costs with each backbone, in time and in memory.

    python -m benchmarks.backbones --json backbones.json

One second-order meta-gradient of 32 tasks at the settings of params.yaml (model, steps, inner_lr),
with fresh weights, tasks grouped as in meta-training. Each backbone runs in a process of its own,
so that its peak of memory is its own; they take turns, so that a slow spell falls on all alike.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.episodes import Setting, catalogue, from_store, many_sessions, reference_setting
from benchmarks.measure import median_and_spread, peak_mb, seconds_of
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import read_json, write_json
from mooc_maml.common.randomness import torch_generator
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import BACKBONES, backbone_of
from mooc_maml.meta.train import shared_meta_gradient
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.seen import NONE_LEFT_OUT
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import dtype, setup
from mooc_maml.runtime.processes import ALONE
from mooc_maml.settings.params import Params, load_params

SETTINGS: dict[str, Callable[[int], Setting]] = {
    "reference": reference_setting,
    "many_sessions": many_sessions,
    "catalogue_1518": partial(catalogue, num_courses=1518),
}
COLUMNS = ("setting", "backbone", "seconds", "spread", "times_the_gru", "peak_mb")


def main() -> None:
    """Measure every backbone on every setting; print a table and the machine."""
    arguments = _arguments()
    if arguments.row is not None:
        _one_of_them(arguments)
        return
    settings = [str(arguments.episodes)] if arguments.episodes else list(SETTINGS)
    rows: list[Row] = []
    for setting in settings:
        turns = {name: list[Row]() for name in BACKBONES}
        for _ in range(arguments.turns):
            for name, found in turns.items():
                found.append(_in_own_process(name, setting, arguments.repeats))
        for name, found in turns.items():
            seconds, spread = median_and_spread([float(turn["seconds"]) for turn in found])
            peak = max(turn["peak_mb"] for turn in found)
            row = {"setting": setting, "backbone": name, "seconds": seconds, "spread": spread}
            rows.append({**row, "peak_mb": peak})
        gru = next(r for r in rows if r["setting"] == setting and r["backbone"] == "gru")
        for row in rows[-len(turns) :]:
            row["times_the_gru"] = row["seconds"] / gru["seconds"]
    report(rows, COLUMNS, machine(1, torch.device("cpu")), arguments.json)


def _in_own_process(backbone: str, setting: str, repeats: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        options = [f"--backbone={backbone}", f"--setting={setting}", f"--repeats={repeats}"]
        command = [sys.executable, "-m", "benchmarks.backbones", *options, f"--row={path}"]
        subprocess.run(command, check=True)
        row: Row = read_json(path)
        return row


def _one_of_them(arguments: argparse.Namespace) -> None:
    params = load_params("params.yaml")
    hardware = params.hardware.model_copy(update={"threads": 1, "processes": 1})
    model = params.model.model_copy(update={"backbone": arguments.backbone})
    params = params.model_copy(update={"hardware": hardware, "model": model})
    setting = _setting(arguments.setting, params)
    update = _update(setting, params)
    update()  # warms up
    seconds = [seconds_of(update) for _ in range(arguments.repeats)]
    row = {"seconds": median_and_spread(seconds)[0], "peak_mb": peak_mb()}
    write_json(arguments.row, row)


def _setting(name: str, params: Params) -> Setting:
    if name in SETTINGS:
        return SETTINGS[name](params.seed)
    return from_store(Path(name), params.seed, params.meta_batch_size)


def _update(setting: Setting, params: Params) -> Callable[[], object]:
    """One meta-gradient, as a call without arguments."""
    device, backbone = setup(params.hardware), backbone_of(params)
    drawn = torch_generator(params.seed, "benchmark-weights")
    module = backbone.build(setting.num_courses, params, drawn).to(device, dtype(params.hardware))
    task_model = backbone.task_model(module, device, dtype(params.hardware), NONE_LEFT_OUT)
    return partial(
        shared_meta_gradient,
        partial(variant_of(params).meta_gradient, task_model, update=0),
        weights_of(module),
        setting.support,
        setting.query,
        ALONE,
        params.hardware.tasks_at_once,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed meta-gradients a turn")
    parser.add_argument("--turns", type=int, default=3, help="processes of each backbone")
    parser.add_argument("--episodes", type=Path, help="folder of build_episodes to measure on")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--backbone", choices=list(BACKBONES), help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
