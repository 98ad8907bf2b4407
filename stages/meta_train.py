"""Stage: meta-train the recommender with MAML; keep the best of validation."""

import argparse
import sys
from pathlib import Path

from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.meta.run import check_settings, run_meta_training, warm_start
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.runtime.hardware import setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.processes import end_with_starter, in_a_world, join_world, launch
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import Params, load_params


def main(episodes: Path, gru: Path, model: Path, plots: Path, looks: Path | None = None) -> None:
    """Read episodes; write the meta-model, its checkpoints, its curves, and looks as they come.

    `gru` is the baseline to begin with, if a warm start is asked for.
    """
    params = load_params("params.yaml")
    check_settings(params)
    processes = params.hardware.processes
    if processes > 1 and not in_a_world():
        sys.exit(launch(processes, [sys.executable, "-m", "stages.meta_train", *sys.argv[1:]]))
    with join_world() as world:
        device, store = setup(params.hardware, world), read_checked(episodes)
        start = warm_start(params, gru, store.num_courses)
        trainer = MetaTrainer(store, params, device, world, start)
        settings = f"{_settings(params)} on {device.type} by {world.size}"
        inputs = [episodes, *([gru] if params.meta.warm_start else [])]
        run = RunState("meta_train", settings, stage_fingerprint("meta_train"), *inputs)
        run_meta_training(trainer, run, model, plots, looks)


def _settings(params: Params) -> str:
    """All that the result depends on, apart from the episodes."""
    return params.model_dump_json(exclude={"data", "sessions", "baselines", "ablations"})


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--gru", type=Path, required=True, help="baseline for a warm start")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the curves")
    parser.add_argument(
        "--looks",
        type=Path,
        help="CSV of the looks at validation, written at each for a program that started this one "
        "and watches it: when its standard input ends, so does the run",
    )
    arguments = parser.parse_args()
    if arguments.looks is not None and not in_a_world():
        end_with_starter()
    main(arguments.episodes, arguments.gru, arguments.model, arguments.plots, arguments.looks)


if __name__ == "__main__":
    main_guard(_from_command_line)
