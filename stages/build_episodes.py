"""Stage: pairs -> learner split -> few-shot tasks."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.common.results import write_result
from mooc_maml.episodes.account import EpisodesResult
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.leakage import check_build, check_ids
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import write_episodes
from mooc_maml.settings.params import load_params

PATHS = {
    "pairs": "folder of preprocess",
    "episodes": "folder to write",
    "report": "JSON account to write",
}


def main(pairs: Path, episodes: Path, report: Path) -> None:
    """Read pairs; write episodes and an account of what was made and dropped."""
    params = load_params("params.yaml")
    steps = read_steps(pairs)
    check_ids(pairs / "learners.parquet")
    store, account = build_episodes(steps, params)
    check_build(store, steps.columns)
    write_episodes(episodes, store)
    source = params.data.source
    about = {"data_source": source, "synthetic": source == "synthetic"}
    write_result(report, EpisodesResult.model_validate(about | account))
    counts = (f"{number:,} {name}" for name, number in account["episodes"].items())
    print("episodes: " + ", ".join(counts))


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
