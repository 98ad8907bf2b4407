"""Stage: how good every model is after 0, 1, 2, ... pairs of a learner, on the same queries."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.contenders import read_contenders
from mooc_maml.evaluation.curves import cold_start
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.settings.params import load_params

PATHS = {
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "composites": "folder of train_composites",
    "model": "folder of meta_train",
    "tuned": "folder of meta_train_tuned",
    "results": "JSON of curves to write",
}


def main(episodes: Path, results: Path, **folders: Path) -> None:
    """Give every model exactly so many support pairs, those directly before the queries."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    all_ = read_contenders(params, store, **folders)
    result = cold_start(all_.ranker, all_.meta, all_.baseline_scorers, params, all_.tuned)
    write_test_results(results, result)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
