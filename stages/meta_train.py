"""Stage: meta-train the recommender with MAML; keep the best of validation."""

import argparse
import sys
from pathlib import Path

from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.meta.run import check_settings, run_meta_training, warm_start
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.runtime.hardware import named, process_count, setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.processes import is_distributed, join_process_group, launch
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.signals import end_with_starter
from mooc_maml.settings.params import Params, load_params

NAME, TUNED = "meta_train", "meta_train_tuned"


def main(
    episodes: Path,
    gru: Path,
    model: Path,
    plots: Path,
    evaluations: Path | None = None,
    *,
    stage: str = NAME,
) -> None:
    """Read episodes; write the meta-model, checkpoints and curves, and evaluations as they come.

    `gru` is the baseline to begin with, if a warm start is asked for; `stage` says whose settings.
    """
    params = load_params("params.yaml")
    params = params.of_tuned if stage == TUNED else params
    check_settings(params)
    if not is_distributed() and (processes := process_count(params.hardware)) > 1:
        places = {
            "episodes": episodes,
            "gru": gru,
            "model": model,
            "plots": plots,
            "evaluations": evaluations,
        }
        options = [f"--{name}={place}" for name, place in places.items() if place is not None]
        if status := launch(processes, [sys.executable, "-m", f"stages.{stage}", *options]):
            sys.exit(status)
        return
    with join_process_group() as process_group:
        device, store = setup(params.hardware, process_group), read_checked(episodes)
        start = warm_start(params, gru, store.num_courses)
        trainer = MetaTrainer(store, params, device, process_group, start)
        inputs = [episodes, *([gru] if params.meta.warm_start else [])]
        code, hardware = stage_fingerprint(stage), named(device, process_group)
        run = RunState(stage, _settings(params), code, *inputs, hardware=hardware)
        run_meta_training(trainer, run, model, plots, evaluations)


_UNUSED = ("data", "sessions", "baselines", "composites", "ablations", "tuned")


def _settings(params: Params) -> str:
    """All that the result depends on, apart from the episodes, the device and the processes."""
    unused = dict.fromkeys(_UNUSED, True)
    return params.model_dump_json(exclude={**unused, "hardware": {"device", "processes"}})


def from_command_line(stage: str = NAME) -> None:
    """Run the stage with the paths of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--gru", type=Path, required=True, help="baseline for a warm start")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the curves")
    parser.add_argument(
        "--evaluations",
        type=Path,
        help="CSV of the evaluations of the validation set, written at each for a program that "
        "started this one and watches it: when its standard input, a pipe, ends, so does the run",
    )
    arguments = parser.parse_args()
    if arguments.evaluations is not None and not is_distributed():
        end_with_starter()
    main(**vars(arguments), stage=stage)


if __name__ == "__main__":
    main_guard(from_command_line)
