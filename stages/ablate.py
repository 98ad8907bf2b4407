"""Stage: how few-shot depends on the number of support pairs and of inner steps."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.comparison import write_table
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.meta.model import read_meta_model
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.settings.params import load_params


def main(episodes: Path, model: Path, results: Path, plots: Path) -> None:
    """Adapt the same meta-model on the same learners, each time judged on the same queries."""
    params, store = load_params("params.yaml"), read_checked(episodes)
    taken = seen_filter(store, params)
    meta = read_meta_model(model, params, store.num_courses, taken)

    def row(steps: int | None, support_size: int | None) -> dict[str, float]:
        ranks = query_ranks(
            taken.without(meta.scores(steps)),
            store,
            "ablation",
            tasks_at_once=params.hardware.tasks_at_once,
            device=meta.learner.device,
            support_size=support_size,
        )
        return summary(ranks)

    zero_shot = row(0, None)
    sizes = [{"support_size": 0, **zero_shot}]
    for size in params.ablations.support_sizes:
        sizes.append({"support_size": size, **row(None, size)})
    steps = [{"inner_steps": 0, **zero_shot}]
    steps += [{"inner_steps": n, **row(n, None)} for n in params.ablations.inner_steps]
    learners, source = len(store.episodes["ablation"]), params.data.source
    content: dict[str, Any] = {"data_source": source, "synthetic": source == "synthetic"}
    content |= {"learners": learners, "queries": learners * store.query_size}
    content |= {"support_sizes": sizes, "inner_steps": steps}
    write_test_results(results, content, store.test_set)
    write_table(plots / "support_sizes.csv", pd.DataFrame(sizes))
    write_table(plots / "inner_steps.csv", pd.DataFrame(steps))


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--model", type=Path, required=True, help="folder of meta_train")
    parser.add_argument("--results", type=Path, required=True, help="JSON of metrics to write")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the tables")
    arguments = parser.parse_args()
    main(arguments.episodes, arguments.model, arguments.results, arguments.plots)


if __name__ == "__main__":
    main_guard(_from_command_line)
