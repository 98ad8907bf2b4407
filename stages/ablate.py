"""Stage: how few-shot depends on the number of support pairs and of inner steps."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.curves import ablations
from mooc_maml.evaluation.ranker import read_ranked_model
from mooc_maml.evaluation.tables import write_ablations
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.settings.params import load_params

PATHS = {
    "episodes": "folder of build_episodes",
    "model": "folder of meta_train",
    "results": "JSON of metrics to write",
    "plots": "folder for the tables",
}


def main(episodes: Path, model: Path, results: Path, plots: Path) -> None:
    """Adapt the same meta-model on the same learners, each time judged on the same queries."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    ranker, meta = read_ranked_model(params, store, model)
    result = ablations(ranker, meta, params)
    write_test_results(results, result)
    write_ablations(plots, result)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
