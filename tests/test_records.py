"""Records of every query: each column by hand, and the metrics made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from episode_helpers import params, small_store, steps, write_pairs

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.records import (
    SCHEMA,
    popularity_ranks,
    query_facts,
    read_ranks,
    write_records,
)
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import (
    Answers,
    first_courses,
    query_answers,
    query_ranks,
    summary,
)

CPU = torch.device("cpu")


def one_learner_store() -> EpisodeStore:
    """Ten learners of the same two sessions, 1 2 3 and 4 2 2 5; K = 1, Q = 3."""
    sessions = [
        (n, start, courses) for n in range(10) for start, courses in ((0, [1, 2, 3]), (100, [4, 2]))
    ]
    sessions = [
        (learner, start, [*courses, 2, 5] if start else courses)
        for learner, start, courses in sessions
    ]
    settings = params(
        episodes={"support_size": 1, "query_size": 3}, ablations={"support_sizes": [1]}
    )
    return build_episodes(steps(sessions, num_courses=6), settings)[0]


def learner_ids(folder: Path, number: int) -> Path:
    """A folder of pairs in which learner 3 has the id learner-3, and so on; one course."""
    write_pairs(folder / "pairs", steps([(n, 0, [1]) for n in range(number)]))
    return folder / "pairs"


def test_facts_by_hand(tmp_path: Path) -> None:
    store = one_learner_store()
    # pairs: 1>2, 1 2>3 | 4>2, 4 2>2, 4 2 2>5; the last K + Q = 4: support 1 2>3, three queries
    pairs = learner_ids(tmp_path, 10)
    facts = {name: x.to_pylist() for name, x in query_facts(store, "test", pairs).items()}
    learner = int(store.episodes["test"][0, 0])
    assert facts["learner"][:3] == [learner] * 3
    assert facts["learner_id"][:3] == [f"learner-{learner}"] * 3
    assert facts["query"][:4] == [0, 1, 2, 0][: len(facts["query"])]
    assert facts["true_course"][:3] == [2, 2, 5]
    assert facts["prefix_length"][:3] == [1, 2, 3]
    assert facts["in_prefix"][:3] == [False, True, False]
    assert facts["in_support"][:3] == [True, True, False]  # it shows 1, 2, 3
    assert facts["support_courses"][:3] == [3, 3, 3]
    assert facts["earlier_sessions"][:3] == [1, 1, 1]
    # next courses of a training learner: 2, 3, 2, 2, 5: 2 is first, 3 and 5 share the second place
    assert facts["popularity_rank"][:3] == [1, 1, 2]
    assert popularity_ranks(store).tolist() == [4, 1, 2, 4, 2, 4]


def test_the_first_courses_stand_as_the_ranks_count() -> None:
    scores = torch.tensor(
        [[0.1, 0.7, 0.2, 0.7], [0.5, 0.5, 0.5, 0.0], [0.0, float("nan"), 0.3, 0.3]]
    )
    labels = torch.tensor([2, 1, 3])
    # course 2 ties with 4 and is the true one: after it; 1 ties with 2 and 3; 3 ties with 4
    assert first_courses(scores, labels, 3).tolist() == [[4, 2, 3], [2, 3, 1], [4, 3, 1]]
    assert first_courses(scores, labels, 10).shape == (3, 4)
    assert first_courses((scores * 10).int(), labels, 1).tolist() == [[4], [2], [4]]


def test_the_true_course_is_at_the_place_of_its_rank() -> None:
    rng = np.random.default_rng(3)
    scores = torch.from_numpy(rng.integers(0, 6, size=(200, 30)))  # with many ties
    labels = torch.from_numpy(rng.integers(1, 31, size=200))
    found, rank = first_courses(scores, labels, 10), ranks(scores, labels)
    assert 20 < (rank <= 10).sum() < 180
    for row, label, place in zip(found.tolist(), labels.tolist(), rank.tolist(), strict=True):
        assert len(set(row)) == 10
        assert (row[place - 1] == label) if place <= 10 else (label not in row)


def by_course(support: Examples, query: Examples) -> torch.Tensor:
    return -torch.arange(12.0).expand(*query.label.shape, 12)  # course c has rank c


def test_answers_have_the_ranks_of_query_ranks() -> None:
    store = small_store()
    found = query_answers(by_course, store, "test", tasks_at_once=3, device=CPU)
    own = query_ranks(by_course, store, "test", tasks_at_once=3, device=CPU)
    assert np.array_equal(found.ranks, own)
    assert found.first.shape == (*own.shape, 10)
    assert (found.first == np.arange(1, 11)).all()


def test_records_hold_all_columns_and_give_the_metrics_back(tmp_path: Path) -> None:
    store = small_store()
    facts = query_facts(store, "test", learner_ids(tmp_path, 60))
    answers = query_answers(by_course, store, "test", tasks_at_once=3, device=CPU)
    worst = Answers(np.full_like(answers.ranks, 12), answers.first)
    models = {"by_course": answers, "worst": worst}
    given = write_records(tmp_path / "records", facts, models.items())
    again = write_records(tmp_path / "again", facts, models.items())
    assert given.keys() == again.keys() == models.keys()
    for name, own in models.items():
        path = tmp_path / "records" / f"{name}.parquet"
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
        table = pq.read_table(path)
        assert table.schema.remove_metadata() == SCHEMA
        assert summary(read_ranks(path)) == summary(own.ranks)
        assert table["model"].unique().to_pylist() == [name]
    table = pq.read_table(tmp_path / "records")
    assert table.num_rows == 2 * answers.ranks.size
    assert (
        table["rank"].to_pylist()[: answers.ranks.size]
        == table["true_course"].to_pylist()[: answers.ranks.size]
    ), "course c has rank c"
    assert table["first_courses"][0].as_py() == list(range(1, 11))


def test_probabilities_are_kept_and_null_where_a_model_states_none(tmp_path: Path) -> None:
    store = small_store()
    facts = query_facts(store, "test", learner_ids(tmp_path, 60))
    how: Any = {"tasks_at_once": 3, "device": CPU}
    stated = query_answers(by_course, store, "test", law="logits", **how)
    unstated = query_answers(by_course, store, "test", **how)
    assert stated.first_probabilities is not None
    write_records(tmp_path / "r", facts, {"law": stated, "order": unstated}.items())
    own = pq.read_table(tmp_path / "r" / "law.parquet")
    law = np.exp(-np.arange(12)) / np.exp(-np.arange(12)).sum()  # of scores 0, -1, ... -11
    assert own["first_probabilities"][0].as_py() == pytest.approx(law[:10].tolist())
    true = np.array(own["true_course"].to_pylist())
    assert own["true_probability"].to_pylist() == pytest.approx(law[true - 1].tolist())
    table = pq.read_table(tmp_path / "r" / "order.parquet")
    assert table["true_probability"].null_count == table.num_rows
    assert table["first_probabilities"].null_count == table.num_rows
    assert pq.read_table(tmp_path / "r").num_rows == 2 * table.num_rows, "one table with the other"


def test_a_file_of_records_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gru\.parquet: no such file"):
        read_ranks(tmp_path / "gru.parquet")
