"""How figures depend on the number of support pairs and of inner steps, on the same queries.

All curves are of the "ablation" episodes: the test learners with pairs enough for the largest
support set. A smaller set is the pairs directly before the queries.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from mooc_maml.common.progress import following
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.comparison import Ranks, intervals
from mooc_maml.evaluation.ranker import Ranker, Scorers
from mooc_maml.evaluation.schema import AblationsResult, ColdStartResult
from mooc_maml.evaluation.statistics import Interval
from mooc_maml.meta.model import MetaModel
from mooc_maml.ranking.query_ranks import ScoreFunction, summary
from mooc_maml.settings.params import Params

EPISODES = "ablation"
COLD_START_METRICS = ("HR@10", "NDCG@10")


def few_shot(meta: MetaModel, support_size: int) -> ScoreFunction:
    """Few-shot on so many support pairs; on none it is zero-shot."""
    return meta.scores(None if support_size else 0)


def by_support_size(
    ranker: Ranker, scorers: Callable[[int], Scorers], sizes: Sequence[int]
) -> Iterator[tuple[int, Mapping[str, Ranks]]]:
    """Ranks of every model after 0 pairs and after each number of pairs.

    Models and the seen-course rule are given exactly so many pairs, with 0 none at all.

    Args:
        ranker: the episodes and how they are ranked.
        scorers: number of pairs -> model -> scorer.
        sizes: numbers of pairs, above 0.
    """
    for size in (0, *sizes):
        yield (
            size,
            {name: ranker.ranks(name, s, EPISODES, size) for name, s in scorers(size).items()},
        )


def ablations(ranker: Ranker, meta: MetaModel, params: Params) -> AblationsResult:
    """The same meta-model on fewer and more support pairs, and with fewer and more inner steps."""
    name, own = "few_shot", params.ablations
    curve = by_support_size(ranker, lambda size: {name: few_shot(meta, size)}, own.support_sizes)
    number = 2 + len(own.support_sizes) + len(own.inner_steps)
    with following("ablate", [(name, ranker.learners(EPISODES))] * number):
        sizes = [{"support_size": size, **summary(ranks[name])} for size, ranks in curve]
        steps = [
            {"inner_steps": n, **summary(ranker.ranks(name, meta.scores(n), EPISODES))}
            for n in (0, *own.inner_steps)
        ]
    content = about(params, ranker.store, EPISODES)
    return AblationsResult.model_validate(content | {"support_sizes": sizes, "inner_steps": steps})


def _point(found: Interval) -> dict[str, float | None]:
    low, high = found.ends
    return {"mean": found.mean, "low": low, "high": high}


def cold_start(
    ranker: Ranker,
    meta: MetaModel,
    baselines: Scorers,
    params: Params,
    tuned: MetaModel | None = None,
) -> ColdStartResult:
    """Every model after the first pairs of a learner, with 95 % intervals over learners."""

    def scorers(size: int) -> Scorers:
        second = {} if tuned is None else {"tuned_few_shot": few_shot(tuned, size)}
        return {**baselines, "few_shot": few_shot(meta, size), **second}

    sizes, learners = params.ablations.support_sizes, ranker.learners(EPISODES)
    with following("cold_start", [(x, learners) for size in (0, *sizes) for x in scorers(size)]):
        curves = [
            {"model": name, "support_size": size, "metric": metric, **_point(found[metric])}
            for size, ranks in by_support_size(ranker, scorers, sizes)
            for name, found in intervals(ranks, params.seed).items()
            for metric in COLD_START_METRICS
        ]
    content = about(params, ranker.store, EPISODES)
    return ColdStartResult.model_validate(content | {"curves": curves})
