"""Stage: zero-shot and few-shot on every test learner, beside the baselines."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.common.progress import following
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.comparison import compare
from mooc_maml.evaluation.contenders import read_contenders
from mooc_maml.evaluation.records import query_facts, write_records
from mooc_maml.evaluation.tables import write_test_tables
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.meta.model import relative_changes
from mooc_maml.settings.params import load_params

PATHS = {
    "pairs": "folder of preprocess",
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "composites": "folder of train_composites",
    "model": "folder of meta_train",
    "tuned": "folder of meta_train_tuned",
    "truth": "folder of simulate's oracle",
    "results": "JSON of metrics to write",
    "records": "folder of the records of every query to write",
    "plots": "folder for the tables",
}


def main(results: Path, records: Path, plots: Path, episodes: Path, **folders: Path) -> None:
    """Read episodes and models; write the metrics of all, and how far adaptation goes."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    contenders = read_contenders(params, store, **folders)
    queries = query_facts(store, "test", folders["pairs"])
    with following("test", contenders.plan()):
        ranks = write_records(records, queries, contenders.answers("test"))
        validation = contenders.validation()
    result = compare(ranks, validation, params, store, contenders.ranker.seen)
    write_test_results(results, result)
    write_test_tables(plots, result, relative_changes(contenders.meta, store))


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
