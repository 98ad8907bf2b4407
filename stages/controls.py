"""Stage: does adaptation help where it must not, and as much as it can where it should?"""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.contenders import read_contenders
from mooc_maml.evaluation.controls import negative_controls
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.settings.params import load_params

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


def main(episodes: Path, results: Path, **folders: Path) -> None:
    """Adapt on right and on corrupted support pairs of the test learners."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    contenders = read_contenders(params, store, **folders)
    write_test_results(results, negative_controls(contenders, params))


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
