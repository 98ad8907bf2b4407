"""Stage: how good every model is after 0, 1, 2, ... pairs of a learner, on the same queries."""

import argparse
from pathlib import Path
from typing import Any

from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import read_baselines
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.comparison import intervals
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.meta.model import read_meta_model
from mooc_maml.ranking.query_ranks import ScoreFunction, query_ranks
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.settings.params import load_params

METRICS = ("HR@10", "NDCG@10")


def main(episodes: Path, baselines: Path, model: Path, results: Path) -> None:
    """Give every model exactly so many support pairs, those directly before the queries."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    taken = seen_filter(store, params)
    meta = read_meta_model(model, params, store.num_courses, taken)
    device = meta.learner.device
    trained = read_baselines(baselines, params.baselines.models, store.num_courses, device)
    scorers: dict[str, ScoreFunction] = {name: x.scores for name, x in trained.items()}
    curves = []
    for pairs in (0, *params.ablations.support_sizes):
        scorers["few_shot"] = meta.scores(None if pairs else 0)
        ranks = {
            name: query_ranks(
                taken.without(score),
                store,
                "ablation",
                tasks_at_once=params.hardware.tasks_at_once,
                device=device,
                support_size=pairs,
            )
            for name, score in scorers.items()
        }
        curves += [
            {"model": name, "pairs": pairs, "metric": metric, **found[metric]._asdict()}
            for name, found in intervals(ranks, params.seed).items()
            for metric in METRICS
        ]
    learners, source = len(store.episodes["ablation"]), params.data.source
    content: dict[str, Any] = {"data_source": source, "synthetic": source == "synthetic"}
    content |= {"learners": learners, "queries": learners * store.query_size, "curves": curves}
    write_test_results(results, content, store.test_set)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--baselines", type=Path, required=True, help="folder of train_baselines")
    parser.add_argument("--model", type=Path, required=True, help="folder of meta_train")
    parser.add_argument("--results", type=Path, required=True, help="JSON of curves to write")
    arguments = parser.parse_args()
    main(arguments.episodes, arguments.baselines, arguments.model, arguments.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
