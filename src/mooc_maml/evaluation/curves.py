"""How figures depend on the number of support pairs and of inner steps, on the same queries.

All curves are of the "ablation" episodes: the test learners with pairs enough for the largest
support set. A smaller set is the pairs directly before the queries.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mooc_maml.common.progress import following
from mooc_maml.common.randomness import generator
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.comparison import Ranks, intervals
from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.evaluation.curves_schema import AblationsResult, ColdStartResult
from mooc_maml.evaluation.ranker import Ranker, Scorers
from mooc_maml.evaluation.statistics import Interval, bootstrap_mean
from mooc_maml.meta.model import MetaModel
from mooc_maml.ranking.query_ranks import ScoreFunction, learner_metrics, summary
from mooc_maml.settings.params import Params

EPISODES = "ablation"
COLD_START_METRICS = ("HR@10", "NDCG@10")


class Curves(NamedTuple):
    """Both results, of one ranking."""

    ablations: AblationsResult
    cold_start: ColdStartResult


def few_shot(meta: MetaModel, support_size: int) -> ScoreFunction:
    """Few-shot on so many support pairs; on none it is zero-shot."""
    return meta.scores(None if support_size else 0)


def by_support_size(
    ranker: Ranker, scorers: Callable[[int], Scorers], sizes: Sequence[int]
) -> Iterator[tuple[int, Mapping[str, Ranks]]]:
    """Ranks of every model after each number of pairs.

    Models and the seen-course rule are given exactly so many pairs, with 0 none at all.

    Args:
        ranker: the episodes and how they are ranked.
        scorers: number of pairs -> model -> scorer.
        sizes: numbers of pairs.
    """
    for size in sizes:
        yield (
            size,
            {name: ranker.ranks(name, s, EPISODES, size) for name, s in scorers(size).items()},
        )


def curves(
    ranker: Ranker,
    meta: MetaModel,
    baselines: Scorers,
    params: Params,
    tuned: MetaModel | None = None,
) -> Curves:
    """Every model on fewer and more support pairs; the meta-models also by their inner steps.

    Of the steps, every row is told of the same K pairs, that of 0 steps too (the control "told,
    without steps"): what differs are the steps alone.

    Args:
        ranker: the episodes and how they are ranked.
        meta: the meta-model.
        baselines: baseline or composite -> scorer.
        params: the settings.
        tuned: the second meta-model; None: it is left out.
    """
    models = {"few_shot": meta} | ({} if tuned is None else {TUNED[0]: tuned})
    sizes, steps = ((0, *x) for x in (params.ablations.support_sizes, params.ablations.inner_steps))

    def scorers(size: int) -> Scorers:
        return {**baselines, **{name: few_shot(model, size) for name, model in models.items()}}

    plan = [name for size in sizes for name in scorers(size)] + [*models] * len(steps)
    points, by_pairs = list[dict[str, Any]](), dict[int, Mapping[str, Ranks]]()
    with following("ablate", [(name, ranker.learners(EPISODES)) for name in plan]):
        for size, ranks in by_support_size(ranker, scorers, sizes):
            points += _points(size, ranks, params.seed)
            by_pairs[size] = {name: ranks[name] for name in models}
        by_steps = {
            number: {
                name: ranker.ranks(name, model.scores(number, told=True), EPISODES)
                for name, model in models.items()
            }
            for number in steps
        }
    content = about(params, ranker.store, EPISODES)
    own = {
        "judged_by": params.evaluation.validation_metric,
        "support_sizes": _rows("support_size", by_pairs, params),
        "inner_steps": _rows("inner_steps", by_steps, params),
    }
    return Curves(
        AblationsResult.model_validate(content | own),
        ColdStartResult.model_validate(content | {"curves": points}),
    )


def _points(size: int, ranks: Mapping[str, Ranks], seed: int) -> list[dict[str, Any]]:
    """Points of the cold-start curves, with 95 % intervals over learners."""
    return [
        {"model": name, "support_size": size, "metric": metric, "mean": found[metric].mean}
        | _ends(found[metric])
        for name, found in intervals(ranks, seed).items()
        for metric in COLD_START_METRICS
    ]


def _rows(
    setting: str, found: Mapping[int, Mapping[str, Ranks]], params: Params
) -> list[dict[str, Any]]:
    """Rows of one ablation: each model at every value of the setting, paired with its row of 0."""
    metric, rows = params.evaluation.validation_metric, []
    for name, none in found[0].items():
        before = learner_metrics(none)[metric]
        for value, ranks in found.items():
            row = {"model": name, setting: value, **summary(ranks[name])}
            if value:
                rng = generator(params.seed, f"ablation {name} {setting}", value)
                gain = bootstrap_mean(learner_metrics(ranks[name])[metric] - before, rng)
                row["change"] = {"difference": gain.mean, **_ends(gain)}
            rows.append(row)
    return rows


def _ends(found: Interval) -> dict[str, float | None]:
    low, high = found.ends
    return {"low": low, "high": high}
