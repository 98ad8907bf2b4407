"""Stage: does adaptation help where it must not, and as much as it can where it should?"""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.contenders import read_contenders
from mooc_maml.evaluation.controls import negative_controls
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.runtime.hardware import most_that_rank
from mooc_maml.runtime.processes import ProcessGroup, join_process_group
from mooc_maml.runtime.stage_processes import run_in_processes
from mooc_maml.settings.params import Params, load_params

PATHS = {
    "pairs": "folder of preprocess",
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "composites": "folder of train_composites",
    "model": "folder of meta_train",
    "tuned": "folder of meta_train_tuned",
    "truth": "folder of simulate's oracle",
    "results": "JSON to write",
}


def main(**paths: Path) -> None:
    """Adapt on right and on corrupted support pairs of the test learners."""
    params = load_params("params.yaml")
    most = most_that_rank(params.hardware)
    if not run_in_processes("controls", params.hardware, paths, at_most=most):
        with join_process_group() as process_group:
            _share(params, process_group, **paths)


def _share(
    params: Params, process_group: ProcessGroup, *, episodes: Path, results: Path, **folders: Path
) -> None:
    """What one of the processes does; the first one writes what all have found."""
    store = read_checked(episodes)
    all_ = read_contenders(params, store, process_group, **folders)
    result = negative_controls(all_, params)
    if not process_group.rank:
        write_test_results(results, result)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
