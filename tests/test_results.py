import math
from pathlib import Path

import numpy as np
import pytest
from episode_helpers import params, steps, write_pairs

from mooc_maml.common.randomness import generator
from mooc_maml.episodes.build import build_episodes
from mooc_maml.evaluation.comparison import (
    improvement_percent,
    intervals,
    means,
    paired,
    shares_of_the_way,
    strongest,
    with_holm,
)
from mooc_maml.evaluation.oracle import oracle_ranks
from mooc_maml.evaluation.statistics import bootstrap_mean
from mooc_maml.ranking.query_ranks import learner_metrics

# learner 0: ranks 1, 3; learner 1: ranks 12, 2
RANKS = np.array([[1, 3], [12, 2]])


def test_means_by_hand():
    mean = means(intervals({"gru": RANKS}, 1)["gru"])
    assert mean["HR@1"] == 0.25  # (1/2 + 0) / 2
    assert mean["HR@5"] == 0.75  # (1 + 1/2) / 2
    assert mean["HR@10"] == 0.75
    assert mean["MRR"] == pytest.approx(((1 + 1 / 3) / 2 + (1 / 12 + 1 / 2) / 2) / 2)
    gains = (1 / math.log2(2) + 1 / math.log2(4)) / 2, (0 + 1 / math.log2(3)) / 2
    assert mean["NDCG@10"] == pytest.approx(sum(gains) / 2)


def test_an_interval_is_over_learners_and_its_draws_are_of_model_and_metric():
    ranks = np.tile(RANKS, (50, 1))
    found = intervals({"gru": ranks, "other": ranks}, 7)
    # HR@1 of 1/2 and 0: standard error 0.25 / sqrt(100)
    assert found["gru"]["HR@1"] == pytest.approx((0.25, 0.201, 0.299), abs=0.006)
    rng = generator(7, "bootstrap gru MRR")
    expected = bootstrap_mean(np.tile([(1 + 1 / 3) / 2, (1 / 12 + 1 / 2) / 2], 50), rng)
    assert found["gru"]["MRR"] == expected
    for few_or_alike in (RANKS, np.full((50, 2), 2)):
        assert intervals({"gru": few_or_alike}, 7)["gru"]["MRR"].ends == (None, None)


def test_paired_by_hand():
    first = learner_metrics(np.tile([[1, 1]], (8, 1)))
    second = learner_metrics(np.tile([[2, 4]], (8, 1)))
    found = {row.pop("metric"): row for row in paired(first, second, 1)}
    # MRR: 1 - (1/2 + 1/4) / 2 for each learner
    assert found["MRR"]["difference"] == 0.625
    assert found["MRR"]["low"] is found["MRR"]["high"] is None, "it does not vary"
    assert found["HR@1"]["difference"] == 1
    # Only 2 of the 2**8 sign patterns are as extreme; 10,000 are drawn.
    assert found["MRR"]["p"] == pytest.approx(2 / 256, abs=0.004)
    assert found["HR@5"] == {
        **dict.fromkeys(("low", "high", "cohens_d")),
        **{"difference": 0, "p": 1},
    }
    back = {row.pop("metric"): row for row in paired(second, first, 1)}
    assert back["MRR"]["difference"] == -0.625
    assert back["MRR"]["p"] == found["MRR"]["p"]


def test_cohens_d_is_that_of_the_learners():
    first, second = learner_metrics(np.array([[1], [2], [1]])), learner_metrics(np.full((3, 1), 2))
    found = {row["metric"]: row for row in paired(first, second, 1)}
    # HR@1: differences 1, 0, 1: mean 2/3, deviation sqrt(1/3)
    assert found["HR@1"]["cohens_d"] == pytest.approx(2 / 3 / math.sqrt(1 / 3))


def test_holm_is_over_all_comparisons_shown():
    comparisons = {"a": [{"p": 0.01}, {"p": 0.4}], "b": [{"p": 0.02}]}
    found = with_holm(comparisons)
    assert [row["p_holm"] for row in found["a"] + found["b"]] == pytest.approx([0.03, 0.4, 0.04])
    assert found["a"][0]["p"] == 0.01
    assert "p_holm" not in comparisons["a"][0]


def test_the_strongest_is_chosen_by_validation():
    found = {"gru": {"HR@1": 0.3, "MRR": 0.2}, "blend": {"HR@1": 0.2, "MRR": 0.4}}
    assert (strongest(found, "HR@1"), strongest(found, "MRR")) == ("gru", "blend")
    assert strongest({"first": {"MRR": 0.1}, "second": {"MRR": 0.1}}, "MRR") == "first"


def test_shares_of_the_way_by_hand():
    start, reached, end = ({"MRR": np.full(3, x)} for x in (0.1, 0.2, 0.5))
    (row,) = shares_of_the_way(start, reached, end, 1)
    assert row == {"metric": "MRR", "share": pytest.approx(0.25), "low": None, "high": None}
    (back,) = shares_of_the_way(end, reached, start, 1)
    assert back == {"metric": "MRR", "share": None, "low": None, "high": None}


def test_improvement_by_hand():
    few, gru = {"HR@1": 0.3, "MRR": 0.2, "HR@5": 0.5}, {"HR@1": 0.2, "MRR": 0.4, "HR@5": 0.0}
    found = improvement_percent(few, gru)
    assert found == {"HR@1": pytest.approx(50), "MRR": pytest.approx(-50), "HR@5": None}


class NotedOracle:
    """Ranks the course after the last one first; notes what it is asked."""

    def scores(self, learners, prefixes, course_ids):
        self.asked = list(zip(learners, prefixes, strict=True))
        self.course_ids = course_ids
        scores = np.zeros((len(learners), len(course_ids)))
        for row, prefix in enumerate(prefixes):
            scores[row, course_ids.index(prefix[-1]) + 1] = 1
        return scores


def test_the_oracle_is_asked_about_the_queries_by_id(tmp_path: Path):
    table = steps([(n, 100 * n, [1, 2, 3, 5]) for n in range(10)], num_courses=6)
    settings = params(
        episodes={"support_size": 1, "query_size": 2}, ablations={"support_sizes": [1]}
    )
    store, _ = build_episodes(table, settings)
    write_pairs(tmp_path / "pairs", table)
    oracle = NotedOracle()
    found = oracle_ranks(store, "test", oracle, tmp_path / "pairs")
    # support: 1 -> 2; queries: 1 2 -> 3, foretold, and 1 2 3 -> 5, where 4 was, five tie for last
    assert found.tolist() == [[1, 6]] * len(store.episodes["test"])
    learner = f"learner-{store.episodes['test'][0, 0]}"
    course = "course-{}".format
    assert oracle.course_ids == [course(n) for n in range(1, 7)]
    assert oracle.asked[:2] == [
        (learner, [course(1), course(2)]),
        (learner, [course(1), course(2), course(3)]),
    ]
