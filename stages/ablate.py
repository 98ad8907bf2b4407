"""Stage: every model on fewer and more support pairs, the meta-models by their inner steps too."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.contenders import read_contenders
from mooc_maml.evaluation.curves import curves
from mooc_maml.evaluation.tables import write_ablations
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.runtime.hardware import most_that_rank
from mooc_maml.runtime.processes import ProcessGroup, join_process_group
from mooc_maml.runtime.stage_processes import run_in_processes
from mooc_maml.settings.params import Params, load_params

PATHS = {
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "composites": "folder of train_composites",
    "model": "folder of meta_train",
    "tuned": "folder of meta_train_tuned",
    "results": "JSON of the meta-models' metrics to write",
    "cold-start": "JSON of every model's curve to write",
    "plots": "folder for the tables",
}


def main(**paths: Path) -> None:
    """Give every model exactly so many support pairs, and both meta-models so many steps."""
    params = load_params("params.yaml")
    most = most_that_rank(params.hardware)
    if not run_in_processes("ablate", params.hardware, paths, at_most=most):
        with join_process_group() as process_group:
            _share(params, process_group, **paths)


def _share(
    params: Params,
    process_group: ProcessGroup,
    *,
    episodes: Path,
    results: Path,
    cold_start: Path,
    plots: Path,
    **folders: Path,
) -> None:
    """What one of the processes does; the first one writes what all have found."""
    store = read_checked(episodes)
    all_ = read_contenders(params, store, process_group, **folders)
    found = curves(all_.ranker, all_.meta, all_.baseline_scorers, params, all_.tuned)
    if not process_group.rank:
        write_test_results(results, found.ablations)
        write_test_results(cold_start, found.cold_start)
        write_ablations(plots, found.ablations)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
