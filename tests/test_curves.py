"""Curves over support pairs and inner steps: who is given what."""

import pytest
import torch
from episode_helpers import params, small_store
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.evaluation.curves import ablations, by_support_size, cold_start
from mooc_maml.evaluation.ranker import Ranker
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.ranking.seen import NONE_LEFT_OUT, TakenCourses

STORE = small_store()
SETTINGS = params(
    episodes={"support_size": 2, "query_size": 3},
    ablations={"support_sizes": [1, 2, 4], "inner_steps": [1, 3]},
)
LEFT_OUT = TakenCourses(prefix=False, support=True, recurrence=None)


def ranker(seen: TakenCourses = NONE_LEFT_OUT) -> Ranker:
    return Ranker(STORE, seen, torch.device("cpu"), 5)


def flat(support: Examples, query: Examples) -> Tensor:
    """All courses alike: the true course ranks behind all that are not left out."""
    return torch.zeros(*query.label.shape, STORE.num_courses)


class NotedModel:
    """Notes which steps it is asked for, and on how many support pairs."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, int]] = []

    def scores(self, steps: int | None = None) -> ScoreFunction:
        def score(support: Examples, query: Examples) -> Tensor:
            asked = (steps, support.label.shape[1])
            if asked not in self.asked:
                self.asked.append(asked)
            return flat(support, query)

        return score


def test_each_row_is_adapted_on_so_many_pairs_with_so_many_steps() -> None:
    model = NotedModel()
    found = ablations(ranker(), model, SETTINGS)  # type: ignore[arg-type]
    sizes = [(0, 0), (None, 1), (None, 2), (None, 4)]
    steps = [(0, 2), (1, 2), (3, 2)]  # on K = 2 pairs
    assert model.asked == sizes + steps
    assert [row.support_size for row in found.support_sizes] == [0, 1, 2, 4]
    assert [row.inner_steps for row in found.inner_steps] == [0, 1, 3]
    assert found.learners == len(STORE.episodes["ablation"])
    assert found.queries == 3 * found.learners


def test_without_support_pairs_the_ranking_leaves_out_none_of_their_courses() -> None:
    """Else zero support pairs would still tell which courses the learner has seen."""
    ranks = dict(by_support_size(ranker(LEFT_OUT), lambda _: {"flat": flat}, (2,)))
    last = STORE.num_courses
    assert (ranks[0]["flat"] == last).all(), "no course is left out, all are equal"
    assert (ranks[2]["flat"] < last).any(), "the support courses stand behind"
    found = ablations(ranker(LEFT_OUT), NotedModel(), SETTINGS)  # type: ignore[arg-type]
    assert found.support_sizes[0].mrr == pytest.approx(1 / last)
    assert found.support_sizes[2].mrr > 1 / last
    # no steps, but K support pairs, which are known
    assert found.inner_steps[0].mrr == pytest.approx(found.support_sizes[2].mrr)


def test_the_cold_start_curve_of_few_shot_is_the_ablation() -> None:
    def hit(support: Examples, query: Examples) -> Tensor:
        return torch.nn.functional.one_hot(query.label - 1, STORE.num_courses).float()

    found = cold_start(ranker(), NotedModel(), {"oracle": hit}, SETTINGS)  # type: ignore[arg-type]
    points = {(p.model, p.support_size, p.metric): p.mean for p in found.curves}
    rows = ablations(ranker(), NotedModel(), SETTINGS).support_sizes  # type: ignore[arg-type]
    for row in rows:
        assert points["few_shot", row.support_size, "HR@10"] == row["HR@10"]
        assert points["oracle", row.support_size, "NDCG@10"] == 1
    assert len(found.curves) == 2 * 4 * 2
