"""Where adaptation helps and where it hurts: two models on groups of the same queries."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.evaluation.analysis_schema import InGroup
from mooc_maml.evaluation.popularity import GROUPS
from mooc_maml.evaluation.statistics import bootstrap_mean
from mooc_maml.ranking.metrics import metrics

SHOWN = ("HR@1", "NDCG@10")


class Split(NamedTuple):
    """What queries are grouped by: a number a query, and from which number each group begins."""

    name: str
    begins: tuple[int, ...]
    groups: tuple[str, ...]

    def of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Index of the group of each value."""
        found: NDArray[np.int64] = np.searchsorted(self.begins, values, side="right") - 1
        return found


SPLITS = (
    Split("courses before, in the session", (0, 2, 4, 8), ("1", "2 or 3", "4 to 7", "8 or more")),
    Split("popularity of the next course", (0, 1, 2), GROUPS),
    Split(
        "whether the next course was seen before",
        (0, 1, 2),
        ("never", "in the support pairs only", "in the session"),
    ),
    Split("different courses in the support pairs", (0, 3, 5), ("1 or 2", "3 or 4", "5 or more")),
    Split(
        "earlier sessions of the learner", (0, 1, 3, 10), ("0", "1 or 2", "3 to 9", "10 or more")
    ),
)


def values_of(
    facts: Mapping[str, NDArray[Any]], course_group: NDArray[np.int64]
) -> list[NDArray[Any]]:
    """What each of SPLITS groups by, of every query.

    Args:
        facts: columns of the records, see `evaluation.records`.
        course_group: popularity group of each course: int64 [C].
    """
    seen = np.where(facts["in_prefix"], 2, np.where(facts["in_support"], 1, 0))
    return [
        facts["prefix_length"],
        course_group[facts["true_course"] - 1],
        seen,
        facts["support_courses"],
        facts["earlier_sessions"],
    ]


def where_it_helps(
    ranks: Mapping[str, NDArray[np.int64]],
    pairs: Sequence[tuple[str, str]],
    values: Sequence[NDArray[Any]],
    seed: int,
) -> list[InGroup]:
    """Differences of pairs of models in every group of every split; empty groups are left out.

    Within a group a learner counts once, by the mean over his or her queries in it.

    Args:
        ranks: model -> ranks [learners, Q].
        pairs: the models compared, first minus second.
        values: what SPLITS group by, see `values_of`: [learners * Q] each.
        seed: root of the draws of the intervals.
    """
    found = []
    for split, value in zip(SPLITS, values, strict=True):
        for first, second in pairs:
            groups = split.of(value).reshape(ranks[first].shape)
            for number, name in enumerate(split.groups):
                found += _in_group(
                    ranks, (first, second), groups == number, (split.name, name), seed
                )
    return found


def _in_group(
    ranks: Mapping[str, NDArray[np.int64]],
    pair: tuple[str, str],
    chosen: NDArray[np.bool_],
    names: tuple[str, str],
    seed: int,
) -> list[InGroup]:
    counts = chosen.sum(1)
    there = counts > 0
    if not there.any():
        return []
    of_query = [metrics(ranks[model]) for model in pair]
    found = []
    for metric in SHOWN:
        a, b = ((x[metric] * chosen).sum(1)[there] / counts[there] for x in of_query)
        difference = bootstrap_mean(a - b, generator(seed, " ".join((*names, *pair, metric))))
        content = {
            "split": names[0],
            "group": names[1],
            "first": pair[0],
            "second": pair[1],
            "metric": metric,
            "queries": int(counts.sum()),
            "learners": int(there.sum()),
            "first_mean": float(a.mean()),
            "second_mean": float(b.mean()),
            "difference": difference.mean,
            **dict(zip(("low", "high"), difference.ends, strict=True)),
        }
        found.append(InGroup.model_validate(content))
    return found
