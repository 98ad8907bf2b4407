"""Every model on the same queries: intervals, paired tests, effect sizes, Holm's correction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.control_names import TUNED, TUNED_START, difference_name
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.evaluation.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_share,
    holm,
    paired_cohens_d,
    paired_permutation_test,
)
from mooc_maml.ranking.query_ranks import learner_metrics
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.settings.composites_section import ADAPTED, OURS
from mooc_maml.settings.params import Params

# What adapts, and the same before it does.
FINE_TUNED = "gru_fine_tuned"
ADAPTING = (("few_shot", "zero_shot"), TUNED, ADAPTED)

# In a result file beside the baselines, under their own names.
META_MODELS = ("zero_shot", "few_shot", *TUNED, TUNED_START, "oracle")

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
        low, high = difference.ends
        result.append(
            {
                "metric": metric,
                "difference": difference.mean,
                "low": low,
                "high": high,
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
        A row a metric: the share with its 95 % interval (low, high), learners resampled; all None
        where the end is no better than the start.
    """
    rows = []
    for metric, values in start.items():
        rng = generator(seed, f"share {metric}")
        found = bootstrap_share(reached[metric] - values, end[metric] - values, rng)
        low, high = (None, None) if found is None else found.ends
        share = None if found is None else found.mean
        rows.append({"metric": metric, "share": share, "low": low, "high": high})
    return rows


def strongest(validation: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """The model that is best on the validation learners (the first of equals)."""
    return max(validation, key=lambda name: validation[name][metric])


def improvement_percent(
    few_shot: Mapping[str, float], gru: Mapping[str, float]
) -> dict[str, float | None]:
    """How much better few-shot is than the GRU, in percent of the GRU; None where that is 0."""
    return {
        metric: 100 * (value / gru[metric] - 1) if gru[metric] else None
        for metric, value in few_shot.items()
    }


def compare(
    ranks: Mapping[str, Ranks],
    validation: Mapping[str, Mapping[str, float]],
    params: Params,
    store: EpisodeStore,
    seen: SeenFilter,
) -> TestResult:
    """Compare all models on the test queries; the strongest baseline is chosen on validation.

    Args:
        ranks: model -> ranks of the test queries.
        validation: model -> metric -> mean over the validation learners.
        params: the settings.
        store: the episodes.
        seen: courses that were left out of the ranking.
    """
    found = intervals(ranks, params.seed)
    mean = {model: means(metrics) for model, metrics in found.items()}
    own: dict[str, Any] = {name: mean.pop(name) for name in META_MODELS if name in mean}
    choice = {name: validation[name] for name in mean if name not in OURS}
    best = strongest(choice, params.evaluation.validation_metric)
    metrics = {name: learner_metrics(of_one) for name, of_one in ranks.items()}
    content: dict[str, Any] = {
        **about(params, store),
        **own,
        "baselines": mean,
        "validation": [{"model": name, **values} for name, values in validation.items()],
        "strongest_baseline": best,
        "improvement_over_gru_percent": improvement_percent(own["few_shot"], mean["gru"]),
        "intervals_95": {
            model: {metric: x.ends for metric, x in of_one.items() if x.ends != (None, None)}
            for model, of_one in found.items()
        },
        "differences": _differences(metrics, best, params.seed),
        "seen_courses": seen.as_result(),
    }
    if {*ADAPTED, "oracle"} <= set(metrics):
        after, before, end = (metrics[name] for name in (*ADAPTED, "oracle"))
        share = shares_of_the_way(before, after, end, params.seed)
        content["share_of_the_way_to_the_oracle"] = {ADAPTED[0]: share}
    return TestResult.model_validate(content)


def _differences(
    metrics: Mapping[str, LearnerMetrics], best: str, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Each model that adapts minus its zero-shot, the GRU and the strongest of the others.

    Those that are meta-learned also minus what they would be without: few-shot minus the fine-tuned
    GRU, or minus its own start adapted likewise, is what meta-learning is worth; the fine-tuned GRU
    minus the GRU what adaptation is.
    """
    pairs = [(few, other) for few, zero in ADAPTING for other in (zero, "gru", best)]
    pairs += [(few, FINE_TUNED) for few in ("few_shot", TUNED[0])]
    pairs += [(FINE_TUNED, "gru"), (TUNED[0], TUNED_START), ("mixture", "pool")]
    return with_holm(
        {
            difference_name(a, b): paired(metrics[a], metrics[b], seed)
            for a, b in pairs
            if a in metrics and b in metrics
        }
    )
