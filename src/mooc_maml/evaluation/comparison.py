"""The result files of testing: every model on the same queries, with intervals and paired tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path, read_parquet
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_share,
    holm,
    paired_cohens_d,
    paired_permutation_test,
)
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import learner_metrics
from mooc_maml.synthetic.oracle import Oracle

Ranks = NDArray[np.int64]  # [learners, Q]
LearnerMetrics = Mapping[str, NDArray[np.float64]]  # metric -> [learners]
Intervals = dict[str, dict[str, Interval]]  # model -> metric -> mean and 95 % interval


def intervals(models: Mapping[str, Ranks], seed: int) -> Intervals:
    """Mean over learners of each metric, with its interval; learners are resampled, not queries."""
    return {
        model: {
            metric: bootstrap_mean(values, generator(seed, f"bootstrap {model} {metric}"))
            for metric, values in learner_metrics(found).items()
        }
        for model, found in models.items()
    }


def means(of_model: Mapping[str, Interval]) -> dict[str, float]:
    """Metric -> mean."""
    return {metric: interval.mean for metric, interval in of_model.items()}


def paired(first: LearnerMetrics, second: LearnerMetrics, seed: int) -> list[dict[str, Any]]:
    """Compare two models metric by metric over the same learners.

    Args:
        first: metric -> float [learners].
        second: the same of the other model.
        seed: root of the draws.

    Returns:
        A row a metric: the mean difference, first minus second, with its 95 % interval (low,
        high), Cohen's d of the pairs, and the p-value that the two are equal. A list, which DVC's
        tables of metrics leave out: they are wide enough.
    """
    result = []
    for metric, values in first.items():
        rng = generator(seed, f"paired {metric}")
        difference = bootstrap_mean(values - second[metric], rng)
        p = paired_permutation_test(values, second[metric], rng)
        result.append(
            {
                "metric": metric,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "cohens_d": paired_cohens_d(values, second[metric]),
                "p": p,
            }
        )
    return result


def with_holm(
    comparisons: Mapping[str, list[dict[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
    """Add `p_holm` to every row: p corrected for all rows of all comparisons together."""
    rows = [row for of_one in comparisons.values() for row in of_one]
    corrected = iter(holm([row["p"] for row in rows]))
    return {
        name: [{**row, "p_holm": next(corrected)} for row in of_one]
        for name, of_one in comparisons.items()
    }


def shares_of_the_way(
    start: LearnerMetrics, reached: LearnerMetrics, end: LearnerMetrics, seed: int
) -> list[dict[str, Any]]:
    """Which share of the way from one model to another a third one has gone.

    Args:
        start: metric -> float [learners], of the model where the way begins.
        reached: the same of the model that has gone a part of it.
        end: the same of the model where it ends.
        seed: root of the draws.

    Returns:
        A row a metric: the share with its 95 % interval (low, high), learners drawn anew; all None
        where the end is no better than the start.
    """
    rows = []
    for metric, values in start.items():
        rng = generator(seed, f"share {metric}")
        found = bootstrap_share(reached[metric] - values, end[metric] - values, rng)
        share, low, high = found or (None, None, None)
        rows.append({"metric": metric, "share": share, "low": low, "high": high})
    return rows


def strongest(validation: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """The model that is best on the validation learners (the first of equals)."""
    return max(validation, key=lambda name: validation[name][metric])


def improvement_percent(few_shot: dict[str, float], gru: dict[str, float]) -> dict[str, Any]:
    """How much better few-shot is than the GRU, in percent of the GRU; None where that is 0."""
    return {
        metric: 100 * (value / gru[metric] - 1) if gru[metric] else None
        for metric, value in few_shot.items()
    }


def oracle_ranks(store: EpisodeStore, episode_set: str, oracle: Oracle, pairs: Path) -> Ranks:
    """Rank of the true course under the law that the synthetic learners really follow.

    Args:
        store: the episodes.
        episode_set: "validation", "test" or another set of it.
        oracle: the truth, which knows learners and courses by their ids.
        pairs: the folder of `preprocess`, whose vocabularies give the ids.

    Raises:
        UserError: a vocabulary is missing or damaged.
    """
    course_ids, learner_ids = _ids(pairs, "course"), _ids(pairs, "learner")
    indices = np.arange(len(store.episodes[episode_set]))
    rows = store.query_pairs(episode_set, indices)
    session, length = store.pair_session[rows.ravel()], store.pair_position[rows.ravel()]
    start = store.session_start[session]
    steps = [store.courses[a : a + n] for a, n in zip(start, length, strict=True)]
    prefixes = [[course_ids[course - 1] for course in prefix] for prefix in steps]
    learners = [learner_ids[i] for i in store.episodes[episode_set][:, 0].repeat(rows.shape[1])]
    scores = oracle.scores(learners, prefixes, course_ids)
    labels = store.courses[start + length].astype(np.int64)
    return as_ranks(scores, labels).reshape(rows.shape)


def _ids(pairs: Path, name: str) -> list[str]:
    """The ids of courses or learners, in order of their numbers."""
    table = read_parquet(pairs / f"{name}s.parquet", [name, "id"])
    ids: list[str] = table.sort_by(name)["id"].to_pylist()
    return ids


def as_ranks(scores: NDArray[np.float64], labels: Ranks) -> Ranks:
    """Ranks [n] of the true courses under scores [n, C]."""
    found: Ranks = ranks(torch.from_numpy(scores), torch.from_numpy(labels)).numpy()
    return found


def write_comparison(path: Path, found: Intervals) -> None:
    """comparison.csv: model, metric, value, low, high."""
    rows = [
        {"model": model, "metric": metric, "value": x.mean, "low": x.low, "high": x.high}
        for model, metrics in found.items()
        for metric, x in metrics.items()
    ]
    write_table(path, pd.DataFrame(rows))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A CSV that appears whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
