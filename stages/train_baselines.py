"""Stage: train the baselines on all training pairs; rank the test queries with each."""

import argparse
from pathlib import Path
from typing import Any

from mooc_maml.baselines import BASELINES, baseline_path
from mooc_maml.episode_store import read_episodes
from mooc_maml.errors import main_guard
from mooc_maml.evaluation import query_ranks, summary, without_support
from mooc_maml.files import write_json
from mooc_maml.hardware import setup
from mooc_maml.params import load_params


def main(episodes: Path, model: Path, results: Path) -> None:
    """Read episodes; write each baseline's model and one file of test metrics."""
    params = load_params("params.yaml")
    device, store = setup(params.hardware), read_episodes(episodes)
    metrics, training = {}, {}
    for name, (kind, _) in BASELINES.items():
        baseline = kind.train(store, params, device, print)
        baseline.write(baseline_path(model, name))
        score, at_once = without_support(baseline.scores), params.hardware.tasks_at_once
        ranks = query_ranks(score, store, "test", tasks_at_once=at_once, device=device)
        metrics[name] = summary(ranks)
        if baseline.history:
            training[f"{name}_training"] = baseline.history
    learners, source = len(store.episodes["test"]), params.data.source
    content: dict[str, Any] = {"data_source": source, "synthetic": source == "synthetic"}
    content |= {"learners": learners, "queries": learners * store.query_size}
    write_json(results, {**content, "baselines": metrics, **training})


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--results", type=Path, required=True, help="JSON of metrics to write")
    arguments = parser.parse_args()
    main(arguments.episodes, arguments.model, arguments.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
