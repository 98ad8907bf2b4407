"""Curves over support pairs and inner steps: who is given what."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from episode_helpers import params, small_store
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.evaluation.curves import Curves, by_support_size, curves
from mooc_maml.evaluation.ranker import Ranker
from mooc_maml.evaluation.tables import write_ablations
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter

STORE = small_store()
SETTINGS = params(
    episodes={"support_size": 2, "query_size": 3},
    ablations={"support_sizes": [1, 2, 4], "inner_steps": [1, 3]},
)
LEFT_OUT = SeenFilter(prefix=False, support=True, recurrence=None)


def ranker(seen: SeenFilter = NONE_LEFT_OUT) -> Ranker:
    return Ranker(STORE, seen, torch.device("cpu"), 5)


def flat(support: Examples, query: Examples) -> Tensor:
    """All courses alike: the true course ranks behind all that are not left out."""
    return torch.zeros(*query.label.shape, STORE.num_courses)


class NotedModel:
    """Notes which steps it is asked for, whether it is told, and on how many support pairs."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, bool | None, int]] = []

    def scores(self, steps: int | None = None, told: bool | None = None) -> ScoreFunction:
        def score(support: Examples, query: Examples) -> Tensor:
            asked = (steps, told, support.label.shape[1])
            if asked not in self.asked:
                self.asked.append(asked)
            return flat(support, query)

        return score


def found_by(model: Any, seen: SeenFilter = NONE_LEFT_OUT, **others: Any) -> Curves:
    return curves(ranker(seen), model, others.get("baselines", {}), SETTINGS, others.get("tuned"))


def test_each_row_is_adapted_on_so_many_pairs_with_so_many_steps() -> None:
    first, second = NotedModel(), NotedModel()
    found = found_by(first, tuned=second).ablations
    sizes = [(0, None, 0), (None, None, 1), (None, None, 2), (None, None, 4)]
    steps = [(0, True, 2), (1, True, 2), (3, True, 2)]  # on K = 2 pairs, told of them without steps
    assert first.asked == second.asked == sizes + steps
    models = ("few_shot", "tuned_few_shot")
    assert [(row.model, row.support_size) for row in found.support_sizes] == [
        (model, size) for model in models for size in (0, 1, 2, 4)
    ]
    assert [(row.model, row.inner_steps) for row in found.inner_steps] == [
        (model, number) for model in models for number in (0, 1, 3)
    ]
    assert found.learners == len(STORE.episodes["ablation"])
    assert found.queries == 3 * found.learners


def test_one_meta_model_has_the_rows_of_one() -> None:
    found = found_by(NotedModel())
    rows = [*found.ablations.support_sizes, *found.ablations.inner_steps]
    assert {row.model for row in rows} == {p.model for p in found.cold_start.curves} == {"few_shot"}


def test_without_support_pairs_the_ranking_leaves_out_none_of_their_courses() -> None:
    """Else zero support pairs would still tell which courses the learner has seen."""
    ranks = dict(by_support_size(ranker(LEFT_OUT), lambda _: {"flat": flat}, (0, 2)))
    last = STORE.num_courses
    assert (ranks[0]["flat"] == last).all(), "no course is left out, all are equal"
    assert (ranks[2]["flat"] < last).any(), "the support courses stand behind"
    found = found_by(NotedModel(), LEFT_OUT).ablations
    assert found.support_sizes[0].mrr == pytest.approx(1 / last)
    assert found.support_sizes[2].mrr > 1 / last
    # no steps, but K support pairs, which are known
    assert found.inner_steps[0].mrr == pytest.approx(found.support_sizes[2].mrr)


class Knowing:
    """Puts the true course first on so many pairs or more, after so many steps or more.

    `told`: only if it may read the support pairs. Else it ranks all courses alike.
    """

    def __init__(self, pairs: int, steps: int = 0, told: bool = False) -> None:
        self.pairs, self.steps, self.told = pairs, steps, told

    def scores(self, steps: int | None = None, told: bool | None = None) -> ScoreFunction:
        def score(support: Examples, query: Examples) -> Tensor:
            is_told = told or not self.told
            enough = support.label.shape[1] >= self.pairs and (steps is None or steps >= self.steps)
            return hit(support, query) if enough and is_told else flat(support, query)

        return score


def hit(support: Examples, query: Examples) -> Tensor:
    return torch.nn.functional.one_hot(query.label - 1, STORE.num_courses).float()


def test_the_change_is_that_over_0_pairs_or_over_0_steps_of_the_same_model() -> None:
    """Alone among 12 courses NDCG@10 is 0, since the last of equals counts; known it is 1."""
    assert STORE.num_courses > 10
    found = found_by(Knowing(pairs=2, steps=3), tuned=Knowing(pairs=0, told=True)).ablations
    changes = {
        (row.model, row.value): row.change and row.change.difference for row in found.support_sizes
    }
    assert changes == {
        ("few_shot", 0): None,
        ("few_shot", 1): 0,
        ("few_shot", 2): 1,
        ("few_shot", 4): 1,
        **{("tuned_few_shot", size): 0 if size else None for size in (0, 1, 2, 4)},
    }
    steps = {(row.model, row.value): row["NDCG@10"] for row in found.inner_steps}
    assert steps == {
        ("few_shot", 0): 0,
        ("few_shot", 1): 0,
        ("few_shot", 3): 1,
        **{("tuned_few_shot", number): 1 for number in (0, 1, 3)},  # told, which is all it needs
    }
    assert found.judged_by == "NDCG@10"


class OfSomeLearners:
    """Knows the next course of a learner whose first support pair has an even label."""

    def scores(self, steps: int | None = None, told: bool | None = None) -> ScoreFunction:
        def score(support: Examples, query: Examples) -> Tensor:
            if not support.label.shape[1] or steps == 0:
                return flat(support, query)
            knows = (support.label[:, -1] % 2 == 0)[:, None, None]
            return torch.where(knows, hit(support, query), flat(support, query))

        return score


def test_the_interval_of_the_change_is_over_learners() -> None:
    (row,) = (x for x in found_by(OfSomeLearners()).ablations.inner_steps if x.value == 1)
    support = STORE.support("ablation", np.arange(len(STORE.episodes["ablation"])))
    share = float((support.label[:, -1] % 2 == 0).double().mean())
    assert row.change is not None
    assert row.change.difference == pytest.approx(share) == row["NDCG@10"]
    # of a share p of n learners some 1.96 standard errors, sqrt(p (1 - p) / n), on either side
    half = 1.96 * (share * (1 - share) / len(support.label)) ** 0.5
    assert row.change.low == pytest.approx(share - half, abs=0.3 * half)
    assert row.change.high == pytest.approx(share + half, abs=0.3 * half)
    assert row.change.sign == 1


def test_every_model_has_a_cold_start_curve_and_few_shot_s_is_that_of_the_ablation() -> None:
    model = OfSomeLearners()
    found = found_by(model, baselines={"oracle": hit}, tuned=Knowing(pairs=4))
    points = {(p.model, p.support_size, p.metric): p.mean for p in found.cold_start.curves}
    assert len(points) == len(found.cold_start.curves) == 3 * 4 * 2
    for row in found.ablations.support_sizes:
        for metric in ("HR@10", "NDCG@10"):
            assert points[row.model, row.support_size, metric] == pytest.approx(row[metric])
        assert points["oracle", row.support_size, "NDCG@10"] == 1
    assert [points["tuned_few_shot", n, "NDCG@10"] for n in (0, 1, 2, 4)] == [0, 0, 0, 1]


def test_the_tables_have_a_column_a_model_and_metric(tmp_path: Path) -> None:
    """So that `dvc plots` draws a line a model."""
    write_ablations(tmp_path, found_by(Knowing(2, 3), tuned=Knowing(4)).ablations)
    pairs = pd.read_csv(tmp_path / "support_sizes.csv")
    assert pairs["support_size"].tolist() == [0, 1, 2, 4]
    assert pairs["few_shot HR@10"].tolist() == [0, 0, 1, 1]
    assert pairs["tuned_few_shot HR@10"].tolist() == [0, 0, 0, 1]
    steps = pd.read_csv(tmp_path / "inner_steps.csv")
    assert steps["inner_steps"].tolist() == [0, 1, 3]
    assert steps["few_shot MRR"].tolist() == pytest.approx([1 / 12, 1 / 12, 1])
    assert len(steps.columns) == 1 + 2 * 5
