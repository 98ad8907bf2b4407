import json
from pathlib import Path

import committed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from episode_helpers import params, random_sessions, small_store, steps, write_pairs

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes, split_learners
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import SPLITS, read_episodes, write_episodes
from stages import build_episodes as stage

TINY = {
    "episodes": {"support_size": 2, "query_size": 1},
    "ablations": {"support_sizes": [1, 2]},
}


def tiny(**episodes: object):
    return params(
        episodes={**TINY["episodes"], **episodes},
        ablations=TINY["ablations"],
    )


def test_split_sizes_are_those_of_the_study():
    # 80/10/10 of 42,171: floor(33,736.8), floor(4,217.1), and the rest
    sizes = [len(part) for part in split_learners(np.arange(42_171), params())]
    assert sizes == [33_736, 4_217, 4_218]
    wide = params(
        episodes={"train_fraction": 0.7, "validation_fraction": 0.15, "test_fraction": 0.15}
    )
    assert [len(p) for p in split_learners(np.arange(70_809), wide)] == [49_566, 10_621, 10_622]


def test_split_is_disjoint_complete_and_follows_the_seed():
    learners = np.arange(3, 503)
    parts = split_learners(learners, params())
    assert sorted(np.concatenate(parts)) == learners.tolist()
    again, other = split_learners(learners, params()), split_learners(learners, params(seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], other[0])
    apart = split_learners(learners, params(seed=7, episodes={"split_seed": 1}))
    assert all(np.array_equal(a, b) for a, b in zip(apart, other, strict=True))


def test_a_learner_without_pairs_is_in_no_split():
    table = steps([(0, 0, [1]), *[(n, 0, [1, 2, 1, 2]) for n in range(1, 31)]], num_learners=32)
    store, report = build_episodes(table, tiny())
    assert store.learner_split[[0, 31]].tolist() == [-1, -1]  # one step only; no session at all
    assert np.bincount(store.learner_split[1:31]).tolist() == [24, 3, 3]
    assert report["learners"] == {"train": 24, "validation": 3, "test": 3, "without_pairs": 2}
    assert store.learner_start[[0, 1, 2, 31, 32]].tolist() == [0, 0, 3, 90, 90]


def test_no_learner_in_two_splits():
    store = small_store()
    owners = [set(store.episodes[name][:, 0].tolist()) for name in SPLITS]
    assert sum(map(len, owners)) == len(set.union(*owners))
    for (name, number), owner in zip(SPLITS.items(), owners, strict=True):
        assert set(store.learner_split[list(owner)]) == {number}
        pairs = store.pairs_of(name)
        learner = np.searchsorted(store.learner_start, pairs, side="right") - 1
        assert set(store.learner_split[learner]) == {number}
    assert set(store.episodes["ablation"][:, 0]) <= owners[2]


def test_pairs_are_ordered_by_time_session_position():
    # Two sessions of one learner overlap: labels at seconds 1, 2, 3 and at 2, 3.
    table = steps(
        [(0, 0, [1, 2, 3, 4]), (0, 1, [5, 6, 7])] + [(n, 0, [1] * 9) for n in range(1, 12)]
    )
    store, _ = build_episodes(table, tiny())
    assert store.pair_time[:5].tolist() == [1_000_000, 2_000_000, 2_000_000, 3_000_000, 3_000_000]
    assert store.pair_session[:5].tolist() == [0, 0, 1, 0, 1]
    assert store.pair_position[:5].tolist() == [1, 2, 1, 3, 2]


def test_steps_that_are_no_pairs_are_in_prefixes_only():
    table = steps([(n, 0, [1, 2, 3, 4, 5]) for n in range(10)])
    table.columns["is_pair"][table.columns["position"] == 2] = False  # not strictly later
    store, report = build_episodes(table, tiny())
    assert store.pair_position[:3].tolist() == [1, 3, 4]
    assert report["pairs"] == {"train": 24, "validation": 3, "test": 3}
    batch = store.batch(np.array([[0, 1, 2]]))
    assert batch.courses.tolist() == [[[1, 2, 3, 4]]]
    assert batch.label.tolist() == [[2, 4, 5]]


@pytest.mark.parametrize(
    ("stride", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4])]
)
def test_training_windows_slide(stride, expected):
    # 7 pairs a learner, windows of K + Q = 3: first pairs 0..4
    table = steps([(n, 0, [1, 2, 3, 4, 5, 6, 7, 8]) for n in range(10)])
    store, report = build_episodes(table, tiny(stride=stride))
    episodes = store.episodes["train"]
    learner = episodes[0, 0]
    own = episodes[episodes[:, 0] == learner, 1] - store.learner_start[learner]
    assert own.tolist() == expected
    assert report["episodes"]["train"] == 8 * len(expected)
    assert report["training_learners_with_episodes"] == 8


@pytest.mark.parametrize(
    ("position", "support", "query"), [("last", [6, 7], [8]), ("first", [2, 3], [4])]
)
def test_one_episode_a_learner_at_either_end(position, support, query):
    table = steps([(n, 0, [1, 2, 3, 4, 5, 6, 7, 8]) for n in range(10)])
    store, _ = build_episodes(table, tiny(position=position))
    for name in ("validation", "test"):
        assert len(store.episodes[name]) == 1
        assert store.support(name, np.array([0])).label.tolist() == [support]
        assert store.query(name, np.array([0])).label.tolist() == [query]


@pytest.mark.parametrize(
    ("position", "query", "supports"),
    [
        ("last", [8], {1: [7], 2: [6, 7], 4: [4, 5, 6, 7]}),
        ("first", [6], {1: [5], 2: [4, 5], 4: [2, 3, 4, 5]}),
    ],
)
def test_ablation_sizes_share_the_query_and_end_right_before_it(position, query, supports):
    table = steps([(n, 0, [1, 2, 3, 4, 5, 6, 7, 8]) for n in range(10)])
    settings = params(
        episodes={"support_size": 2, "query_size": 1, "position": position},
        ablations={"support_sizes": [4, 1]},
    )
    store, _ = build_episodes(table, settings)
    one = np.array([0])
    assert store.query("ablation", one).label.tolist() == [query]
    for size, support in supports.items():
        assert store.support("ablation", one, size).label.tolist() == [support]
    assert store.support("ablation", one).label.tolist() == [supports[2]]  # K
    with pytest.raises(ValueError, match="hold 4 support pairs, asked for 5"):
        store.support("ablation", one, 5)
    with pytest.raises(ValueError, match="hold 2 support pairs, asked for 3"):
        store.support("test", one, 3)


def test_an_episode_whose_support_does_not_end_before_its_query_is_dropped():
    # Two overlapping sessions: labels at seconds 1, 2 and 2, 3. In order: 1, 2, 2, 3.
    # Windows of 2 + 1: (1, 2 | 2) is dropped, (2, 2 | 3) is kept.
    table = steps(
        [
            (n, start, courses)
            for n in range(10)
            for start, courses in ((0, [1, 2, 3]), (1, [4, 5, 6]))
        ]
    )
    store, report = build_episodes(table, tiny())
    dropped = report["episodes_dropped_support_not_before_query"]
    assert dropped == {"train": 8, "validation": 0, "test": 0, "ablation": 0}
    assert report["episodes"] == {"train": 8, "validation": 1, "test": 1, "ablation": 1}
    for name, episodes in store.episodes.items():
        every = np.arange(len(episodes))
        latest = store.pair_time[store.support_pairs(name, every)].max(1)
        assert (latest < store.pair_time[store.query_pairs(name, every)].min(1)).all()


def test_all_episodes_dropped_is_refused():
    table = steps(
        [
            (n, start, courses)
            for n in range(10)
            for start, courses in ((0, [1, 2, 3]), (1, [4, 5, 6]))
        ]
    )
    with pytest.raises(UserError, match=r"all 8 train episodes were dropped.*episodes\.position"):
        build_episodes(table, tiny(position="first", stride=3))


def test_a_split_without_enough_pairs_is_refused_with_counts():
    table = steps([(n, 0, [1, 2, 3]) for n in range(20)])
    with pytest.raises(UserError) as refusal:
        build_episodes(table, tiny())
    assert str(refusal.value) == (
        "no train learner has the 2 support + 1 query pairs of train episodes: found 16 train "
        "learners, with at most 2 pairs each; lower episodes.support_size or episodes.query_size, "
        "raise episodes.train_fraction, or use more data"
    )
    few = steps([(n, 0, [1, 2, 3, 4]) for n in range(5)])  # 4, 0 and 1 learners
    with pytest.raises(UserError, match=r"found 0 validation learners.*validation_fraction"):
        build_episodes(few, tiny())
    with pytest.raises(UserError, match=r"no test learner has the 7 support \+ 1 query.*ablations"):
        build_episodes(
            steps([(n, 0, [1, 2, 3, 4]) for n in range(20)]),
            params(episodes=TINY["episodes"], ablations={"support_sizes": [7]}),
        )


def test_a_table_without_pairs_is_refused():
    with pytest.raises(UserError, match="no pair in "):
        build_episodes(steps([(0, 0, [1]), (1, 0, [2])]), tiny())


def test_pairs_folder_round_trip(tmp_path: Path):
    table = steps(random_sessions(30))
    write_pairs(tmp_path / "pairs", table)
    again = read_steps(tmp_path / "pairs")
    assert (again.num_learners, again.num_courses) == (table.num_learners, table.num_courses)
    for name, column in table.columns.items():
        assert np.array_equal(again.columns[name], column), name


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("course", 0, 0, "row 0, column course: found 0"),
        ("course", 3, 99, "row 3, column course: found 99"),
        ("position", 1, 2, "row 1, column position: found 2"),
        ("session", 4, 0, "row 4, column session: found 0"),
        ("session", 0, 1, "row 0, column session: found 1"),
        ("learner", 1, 1, "row 1, column learner: found 1"),
        ("is_pair", 3, True, "row 3, column is_pair: found True"),
    ],
)
def test_a_pairs_table_out_of_order_is_refused(tmp_path, column, row, value, told):
    table = steps([(0, 0, [1, 2, 3]), (1, 0, [1, 2])], num_courses=3)
    table.columns[column][row] = value
    write_pairs(tmp_path / "pairs", table)
    with pytest.raises(UserError, match=told):
        read_steps(tmp_path / "pairs")


def test_a_missing_or_damaged_pairs_table_is_named(tmp_path: Path):
    with pytest.raises(
        UserError, match=r"steps\.parquet: no such file; run `dvc repro preprocess`"
    ):
        read_steps(tmp_path / "pairs")
    write_pairs(tmp_path / "pairs", steps([(0, 0, [1, 2])]))
    (tmp_path / "pairs" / "courses.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(UserError, match=r"courses\.parquet: not a whole Parquet file"):
        read_steps(tmp_path / "pairs")
    pq.write_table(pa.table({"learner": [1]}), tmp_path / "pairs" / "steps.parquet")
    with pytest.raises(UserError, match="no column session, position"):
        read_steps(tmp_path / "pairs")


def test_stage_writes_the_same_bytes_twice(tmp_path: Path, monkeypatch):
    write_pairs(tmp_path / "pairs", steps(random_sessions(400)))
    (tmp_path / "params.yaml").write_text(committed.settings_text())
    monkeypatch.chdir(tmp_path)
    for run in ("one", "two"):
        stage.main(tmp_path / "pairs", tmp_path / run / "episodes", tmp_path / f"{run}.json")
    first = sorted((tmp_path / "one" / "episodes").iterdir())
    assert len(first) == 13  # eight arrays, four sets of episodes, meta.json
    for file in first:
        assert file.read_bytes() == (tmp_path / "two" / "episodes" / file.name).read_bytes()
    report = json.loads((tmp_path / "one.json").read_text())
    assert report == json.loads((tmp_path / "two.json").read_text())
    assert report["synthetic"] is True
    store = read_episodes(tmp_path / "one" / "episodes")
    assert report["episodes"] == {name: len(e) for name, e in store.episodes.items()}
    write_episodes(tmp_path / "three", store)
    assert all((tmp_path / "three" / f.name).read_bytes() == f.read_bytes() for f in first)
