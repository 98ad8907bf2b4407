"""Stage: where adaptation helps, what lists and probabilities are worth, from the records."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.analysis import analyse
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.settings.params import load_params

PATHS = {
    "pairs": "folder of preprocess",
    "episodes": "folder of build_episodes",
    "records": "folder of the records of every query",
    "results": "JSON to write",
}


def main(pairs: Path, episodes: Path, records: Path, results: Path) -> None:
    """Read the records of all models; write what they tell beside the metrics."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    write_test_results(results, analyse(records, store, pairs, params))


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
