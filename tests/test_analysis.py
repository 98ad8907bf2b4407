"""What the records tell: groups, differences in them, and example learners."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from episode_helpers import params, small_store, steps, write_pairs

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.analysis import analyse
from mooc_maml.evaluation.example_learners import example_learners
from mooc_maml.evaluation.popularity import opened
from mooc_maml.evaluation.records import popularity_ranks, query_facts, write_records
from mooc_maml.evaluation.where import SPLITS, where_it_helps
from mooc_maml.ranking.query_ranks import Answers

QUERIES = 3


def lists(ranks: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(1, 11), (*ranks.shape, 10)).astype(np.int32)


def stated(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the first course 1/2, of the others of the list 1/20, and of the true one as of these."""
    first = np.full((*ranks.shape, 10), 0.05, np.float32)
    first[..., 0] = 0.5
    return first, np.where(ranks == 1, 0.5, 0.05).astype(np.float32)


def values(number: int) -> list[np.ndarray]:
    return [np.ones(number, dtype=np.int64)] * len(SPLITS)


def test_groups_begin_where_they_say() -> None:
    prefix = SPLITS[0]
    found = [prefix.groups[n] for n in prefix.of(np.array([1, 2, 3, 4, 7, 8, 300]))]
    assert found == ["1", "2 or 3", "2 or 3", "4 to 7", "4 to 7", "8 or more", "8 or more"]
    for split in SPLITS:
        assert len(split.begins) == len(split.groups)


def test_a_learner_counts_once_in_a_group() -> None:
    # learner 0 has two queries in the first group, learner 1 one; HR@1 of each: 1/2 and 1
    ranks = {"few": np.array([[1, 5, 1], [1, 9, 9]]), "zero": np.array([[2, 2, 2], [2, 2, 2]])}
    of_query = [np.array([1, 1, 9, 1, 9, 9]), *values(6)[1:]]
    rows = where_it_helps(ranks, [("few", "zero")], of_query, seed=1)
    first = next(row for row in rows if (row.group, row.metric) == ("1", "HR@1"))
    assert (first.first_mean, first.second_mean) == (0.75, 0.0)
    assert (first.queries, first.learners, first.difference) == (3, 2, 0.75)
    assert (first.low, first.high, first.sign) == (None, None, 0), "of two learners"
    rest = next(row for row in rows if (row.group, row.metric) == ("8 or more", "HR@1"))
    assert (rest.queries, rest.first_mean) == (3, 0.5)  # learner 0: 1 of 1; learner 1: 0 of 2
    assert not [row for row in rows if row.group == "4 to 7"], "nobody is in it"


def test_the_same_ranks_differ_nowhere() -> None:
    ranks = np.random.default_rng(2).integers(1, 12, size=(7, QUERIES))
    rows = where_it_helps({"a": ranks, "b": ranks}, [("a", "b")], values(21), seed=1)
    assert {(row.difference, row.low, row.high) for row in rows} == {(0.0, None, None)}


def test_an_interval_holds_the_difference_of_learners_enough() -> None:
    better = np.array([[1, 1, 1]] * 5 + [[1, 1, 9]] * 5)
    worse = np.array([[2, 2, 2]] * 5 + [[1, 1, 9]] * 5)
    rows = where_it_helps({"a": better, "b": worse}, [("a", "b")], values(30), seed=1)
    row = next(row for row in rows if row.metric == "HR@1")
    assert row.low is not None
    assert row.high is not None
    assert 0.0 < row.low < row.difference == 0.5 < row.high < 1.0
    assert row.sign == 1


def test_opened_counts_a_learner_once() -> None:
    store = small_store()
    popular = opened(store)
    pairs = store.pairs_of("train")
    labels, learners = store.courses[store.label_step[pairs]], store.pair_learner[pairs]
    for course in (1, 5, 12):
        assert popular.learners[course - 1] == len(set(learners[labels == course]))
    assert popular.learners.sum() < len(pairs)
    assert len(popularity_ranks(store)) == len(popular.learners)


def test_example_learners_are_the_largest_gain_the_median_and_the_largest_loss() -> None:
    store = small_store()
    ids = [f"course-{n}" for n in range(1, store.num_courses + 1)]
    number = len(store.episodes["test"])
    before = np.full((number, QUERIES), 3)
    after = before.copy()
    after[1, 2], after[4, 0] = 1, 10
    found = example_learners(store, ids, "few_shot", (before, lists(before)), (after, lists(after)))
    assert [(x.why, x.learner, x.query) for x in found if x.why != "median"] == [
        ("largest gain", 1, 2),
        ("largest loss", 4, 0),
    ]
    gain = found[0]
    assert gain.change == pytest.approx((1 - 0.5) / QUERIES)  # NDCG of rank 1 and of rank 3
    assert (gain.rank_before, gain.rank_after) == (3, 1)
    row = int(store.query_pairs("test", np.array([1]))[0, 2])
    assert gain.true_course == f"course-{store.courses[store.label_step[row]]}"
    assert len(gain.support) == store.support_size
    assert gain.before == [f"course-{n}" for n in range(1, 6)]


def records(folder: Path, store: EpisodeStore) -> Path:
    write_pairs(folder / "pairs", steps([(n, 0, list(range(1, 13))) for n in range(60)]))
    shape = (len(store.episodes["test"]), QUERIES)

    def answers() -> Iterator[tuple[str, Answers]]:
        for name, rank in (("few_shot", 1), ("zero_shot", 2), ("popularity", 9)):
            ranks = np.full(shape, rank)
            yield name, Answers(ranks, lists(ranks), *stated(ranks))
        yield "random", Answers(np.full(shape, 5), lists(np.full(shape, 5)))

    write_records(folder / "records", query_facts(store, "test", folder / "pairs"), answers())
    return folder / "records"


def test_the_analysis_is_made_from_the_records(tmp_path: Path) -> None:
    store, settings = small_store(), params()
    found = analyse(records(tmp_path, store), store, tmp_path / "pairs", settings)
    models = ["few_shot", "popularity", "random", "zero_shot"]
    assert [row.model for row in found.beyond_accuracy] == models
    assert {row.coverage for row in found.beyond_accuracy} == {10 / 12}
    assert {row.diversity_between for row in found.beyond_accuracy} == {0.0}
    assert {(row.first, row.second) for row in found.where} == {("few_shot", "zero_shot")}
    of_prefix = [r for r in found.where if r.split == SPLITS[0].name and r.metric == "HR@1"]
    assert sum(row.queries for row in of_prefix) == found.queries
    assert {row.difference for row in of_prefix} == {1.0}
    assert [example.why for example in found.examples] == ["largest gain", "median", "largest loss"]
    few, popularity, zero = found.calibration
    assert [row.model for row in found.calibration] == [name for name in models if name != "random"]
    assert (few.first.stated, few.first.right, few.first.difference) == (0.5, 1.0, -0.5)
    assert (zero.first.stated, zero.first.right, zero.ece) == (0.5, 0.0, 0.5)
    assert zero.first_ten.stated == pytest.approx(0.95)
    assert (zero.first_ten.right, popularity.first_ten.right) == (1.0, 1.0)
    assert few.log_loss == pytest.approx(np.log(2))
    assert popularity.log_loss == pytest.approx(np.log(20))
    assert analyse(records(tmp_path / "2", store), store, tmp_path / "pairs", settings) == found


def test_no_records_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no records of queries; run `dvc repro test`"):
        analyse(tmp_path, small_store(), tmp_path, params())
