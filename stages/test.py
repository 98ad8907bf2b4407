"""Stage: zero-shot and few-shot on every test learner, beside the baselines."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import read_baselines
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import (
    Intervals,
    Ranks,
    improvement_percent,
    intervals,
    means,
    oracle_ranks,
    paired,
    shares_of_the_way,
    strongest,
    with_holm,
    write_comparison,
    write_table,
)
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.meta.model import MetaModel, read_meta_model, relative_changes
from mooc_maml.ranking.query_ranks import ScoreFunction, learner_metrics, query_ranks, summary
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.settings.baselines import ADAPTED, OURS
from mooc_maml.settings.params import Params, load_params
from mooc_maml.synthetic.oracle import Oracle

# What adapts, and the same before it does.
ADAPTING = {"few": ("few_shot", "zero_shot"), "mixture": ADAPTED}


def main(paths: argparse.Namespace) -> None:
    """Read episodes and models; write the metrics of all, and how far adaptation goes."""
    params, store = load_params("params.yaml"), read_checked(paths.episodes)
    taken = seen_filter(store, params)
    meta = read_meta_model(paths.model, params, store.num_courses, taken)
    # First all of validation: which model is compared with is chosen there.
    validation = {
        name: summary(found)
        for name, found in _ranks("validation", params, store, meta, taken, paths).items()
    }
    ranks = _ranks("test", params, store, meta, taken, paths)
    found = intervals(ranks, params.seed)
    content = _content(params, ranks, found, validation)
    write_test_results(paths.results, {**content, "seen_courses": taken.told()}, store.test_set)
    write_comparison(paths.plots / "comparison.csv", found)
    changes = relative_changes(meta, store)
    table = pd.DataFrame(changes).rename_axis("learner").reset_index()
    long = table.melt("learner", var_name="layer", value_name="relative_change")
    write_table(paths.plots / "param_change.csv", long)


def _ranks(
    episode_set: str,
    params: Params,
    store: EpisodeStore,
    meta: MetaModel,
    taken: SeenFilter,
    paths: argparse.Namespace,
) -> dict[str, Ranks]:
    """Model -> ranks [learners, Q], all on the same queries."""
    device = meta.learner.device
    names, courses = params.baselines.models, store.num_courses
    baselines = read_baselines(paths.baselines, names, courses, device)
    scorers: dict[str, ScoreFunction] = {name: x.scores for name, x in baselines.items()}
    scorers |= {"zero_shot": meta.scores(0), "few_shot": meta.scores()}
    at_once = params.hardware.tasks_at_once
    ranks = {
        name: query_ranks(
            taken.without(score), store, episode_set, tasks_at_once=at_once, device=device
        )
        for name, score in scorers.items()
    }
    if params.data.source == "synthetic":
        oracle = Oracle.load(paths.truth)
        ranks["oracle"] = oracle_ranks(store, episode_set, oracle, paths.pairs)
    return ranks


def _content(
    params: Params,
    ranks: dict[str, Ranks],
    found: Intervals,
    validation: dict[str, dict[str, float]],
) -> dict[str, Any]:
    few, source = ranks["few_shot"], params.data.source
    mean = {model: means(metrics) for model, metrics in found.items()}
    ours = [name for name in ("zero_shot", "few_shot", "oracle") if name in mean]
    own: dict[str, Any] = {name: mean.pop(name) for name in ours}
    metric = params.evaluation.validation_metric
    others = [name for name in mean if name not in OURS]
    best = strongest({name: validation[name] for name in others}, metric)
    content = {
        "data_source": source,
        "synthetic": source == "synthetic",
        "learners": len(few),
        "queries": int(np.size(few)),
        **own,
        "baselines": mean,
        "validation": [{"model": model, **validation[model]} for model in validation],
        "strongest_baseline": best,
        "improvement_over_gru_percent": improvement_percent(own["few_shot"], mean["gru"]),
        "intervals_95": {
            model: {metric: [x.low, x.high] for metric, x in metrics.items()}
            for model, metrics in found.items()
        },
        "significance": _significance(ranks, best, params.seed),
    }
    if {*ADAPTED, "oracle"} <= set(ranks):
        after, before, end = (learner_metrics(ranks[name]) for name in (*ADAPTED, "oracle"))
        share = shares_of_the_way(before, after, end, params.seed)
        content["mixture_share_of_the_way_to_the_oracle"] = share
    return content


def _significance(ranks: dict[str, Ranks], best: str, seed: int) -> dict[str, Any]:
    """Each model that adapts against its zero-shot, the GRU and the strongest of the others.

    The mixture also against what it would be without meta-learning.
    """
    metrics = {name: learner_metrics(found) for name, found in ranks.items()}
    others = {"vs_zero": None, "vs_gru": "gru", "vs_strongest": best}
    comparisons = {
        f"{key}_{against}": paired(metrics[few], metrics[other or zero], seed)
        for key, (few, zero) in ADAPTING.items()
        for against, other in others.items()
        if few in metrics and (other or zero) in metrics
        if against != "vs_strongest" or best != "gru"
    }
    if {"mixture", "pool"} <= set(metrics):
        comparisons["mixture_vs_pool"] = paired(metrics["mixture"], metrics["pool"], seed)
    return with_holm(comparisons)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True, help="folder of preprocess")
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--baselines", type=Path, required=True, help="folder of train_baselines")
    parser.add_argument("--model", type=Path, required=True, help="folder of meta_train")
    parser.add_argument("--truth", type=Path, required=True, help="folder of simulate's oracle")
    parser.add_argument("--results", type=Path, required=True, help="JSON of metrics to write")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the tables")
    main(parser.parse_args())


if __name__ == "__main__":
    main_guard(_from_command_line)
