"""Stage: train the baselines on all training pairs; rank the test queries with each."""

import argparse
from pathlib import Path
from typing import Any

from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import baseline_path, train_baselines
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.runtime.hardware import setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import Params, load_params

USED = {"seed", "model", "baselines", "evaluation", "hardware"}  # settings, beside the episodes


def main(episodes: Path, model: Path, results: Path) -> None:
    """Read episodes; write each baseline's model and one file of test metrics."""
    params = load_params("params.yaml")
    device, store = setup(params.hardware), read_checked(episodes)
    unused: dict[str, Any] = dict.fromkeys(set(type(params).model_fields) - USED, True)
    settings = params.model_dump_json(exclude={**unused, "hardware": {"processes"}})
    taken, at_once = seen_filter(store, params), params.hardware.tasks_at_once
    metrics, training = {}, {}
    code = stage_fingerprint("train_baselines")
    with RunState("train_baselines", f"{settings} on {device}", code, episodes) as run:
        for name, baseline in train_baselines(store, params, device, print, run.part):
            baseline.write(baseline_path(run.kept, name))
            score = taken.without(baseline.scores)
            ranks = query_ranks(score, store, "test", tasks_at_once=at_once, device=device)
            metrics[name] = summary(ranks)
            if baseline.history:
                training[f"{name}_training"] = baseline.history
        content = {**_about(store, params), "seen_courses": taken.told()}
        write_test_results(results, {**content, "baselines": metrics, **training}, store.test_set)
        run.publish(model)


def _about(store: EpisodeStore, params: Params) -> dict[str, Any]:
    learners, source = len(store.episodes["test"]), params.data.source
    content: dict[str, Any] = {"data_source": source, "synthetic": source == "synthetic"}
    return content | {"learners": learners, "queries": learners * store.query_size}


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--results", type=Path, required=True, help="JSON of metrics to write")
    arguments = parser.parse_args()
    main(arguments.episodes, arguments.model, arguments.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
