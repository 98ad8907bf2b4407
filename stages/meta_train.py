"""Stage: meta-train the recommender with MAML; keep the best of validation."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.meta.run import check_settings
from mooc_maml.meta.stage import run_in_this_process
from mooc_maml.runtime.processes import is_distributed
from mooc_maml.runtime.signals import end_with_starter
from mooc_maml.runtime.stage_processes import run_in_processes
from mooc_maml.settings.params import load_params

NAME, TUNED = "meta_train", "meta_train_tuned"
PATHS = {
    "episodes": "folder of build_episodes",
    "gru": "baseline to begin with, if a warm start is asked for",
    "model": "folder of models to write",
    "plots": "folder for the curves",
}
# A run that writes them ends when its standard input, a pipe of its starter, does.
WATCHED = {"evaluations": "CSV of the evaluations as they come, for the program that started it"}


def main(*, stage: str = NAME, **paths: Path) -> None:
    """Read episodes; write the meta-model, checkpoints and curves, and evaluations as they come."""
    params = load_params("params.yaml")
    params = params.of_tuned if stage == TUNED else params
    check_settings(params)
    if not run_in_processes(stage, params.hardware, paths):
        run_in_this_process(stage, params, **paths)


def from_command_line(stage: str = NAME) -> None:
    """Run the stage with the paths of the command line."""
    paths = read_paths(__doc__, WATCHED, **PATHS)
    if paths.keys() & WATCHED and not is_distributed():
        end_with_starter()
    main(stage=stage, **paths)


if __name__ == "__main__":
    main_guard(from_command_line)
