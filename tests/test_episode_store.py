from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from episode_helpers import params, random_sessions, small_store, steps
from hypothesis import given
from hypothesis import strategies as st

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, read_episodes, sample_tasks, write_episodes

EPISODES = {"support_size": 1, "query_size": 1}
FILLER = [(n, 0, [1, 2, 3]) for n in range(2, 12)]  # learners enough for every split


def store_of(sessions, max_prefix_length: int = 50) -> EpisodeStore:
    chosen = params(
        episodes={**EPISODES, "max_prefix_length": max_prefix_length},
        ablations={"support_sizes": [1]},
    )
    return build_episodes(steps([*sessions, *FILLER]), chosen)[0]


def prefix(examples: Examples, task: int, pair: int) -> list[int]:
    row, position = int(examples.row[task, pair]), int(examples.position[task, pair])
    return examples.courses[task, row, : position + 1].tolist()


def test_batch_by_hand():
    # learner 0: sessions 4 5 6 7 and 8 9; learner 1: 7 8 7
    store = store_of([(0, 0, [4, 5, 6, 7]), (0, 100, [8, 9]), (1, 0, [7, 8, 7])])
    batch = store.batch(np.array([[1, 2, 3], [4, 5, 5]]))
    # task 0: pairs (4 5 -> 6), (4 5 6 -> 7), (8 -> 9); task 1: (7 -> 8), (7 8 -> 7) twice
    assert batch.courses.tolist() == [[[4, 5, 6], [8, 0, 0]], [[7, 8, 0], [0, 0, 0]]]
    assert batch.row.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert batch.position.tolist() == [[1, 2, 0], [0, 1, 1]]
    assert batch.label.tolist() == [[6, 7, 9], [8, 7, 7]]
    assert {x.dtype for x in (batch.courses, batch.row, batch.position, batch.label)} == {
        torch.int64
    }


def test_long_prefixes_get_a_row_of_their_own():
    store = store_of([(0, 0, [1, 2, 3, 4, 5, 6]), (1, 0, [7, 8])], max_prefix_length=3)
    batch = store.batch(np.arange(5)[None])
    # prefixes 1 | 1 2 | 1 2 3 share a row; 2 3 4 (-> 5) and 3 4 5 (-> 6) are cut
    assert batch.courses.tolist() == [[[1, 2, 3], [2, 3, 4], [3, 4, 5]]]
    assert batch.row.tolist() == [[0, 0, 0, 1, 2]]
    assert batch.position.tolist() == [[0, 1, 2, 2, 2]]
    assert batch.label.tolist() == [[2, 3, 4, 5, 6]]


def test_rows_are_longest_first():
    store = store_of([(0, 0, [1, 2]), (0, 100, [3, 4, 5, 6]), (1, 0, [7, 8])])
    batch = store.batch(np.arange(4)[None])
    assert batch.courses.tolist() == [[[3, 4, 5], [1, 0, 0]]]
    assert batch.row.tolist() == [[1, 0, 0, 0]]


def test_overlapping_sessions_take_a_new_row_at_each_change():
    # labels in order of time: session 0 at 1, session 1 at 2, session 0 at 2 ... : 2, 3, 6, 4, 7
    store = store_of([(0, 0, [1, 2, 3, 4]), (0, 1, [5, 6, 7]), (1, 0, [7, 8])])
    batch = store.batch(np.arange(5)[None])
    assert batch.label.tolist() == [[2, 3, 6, 4, 7]]
    assert [prefix(batch, 0, pair) for pair in range(5)] == [[1], [1, 2], [5], [1, 2, 3], [5, 6]]


def labels_in_their_prefix(batch: Examples, labels: torch.Tensor) -> int:
    """Of the first task; in data where no course occurs twice."""
    pairs = range(labels.shape[1])
    return sum(int(labels[0, pair]) in prefix(batch, 0, pair) for pair in pairs)


def test_no_label_in_its_own_prefix_or_further_down_its_row():
    sessions = [(0, 0, range(4, 40)), (0, 100, range(40, 60)), (1, 0, range(60, 70))]
    store = store_of(sessions, max_prefix_length=10)
    pairs = np.arange(35 + 19)[None]
    batch = store.batch(pairs)
    assert labels_in_their_prefix(batch, batch.label) == 0
    # A row ends with its longest prefix: the label of that pair is nowhere in the row.
    for row in range(batch.courses.shape[1]):
        last = torch.nonzero(batch.row[0] == row).max()
        assert batch.label[0, last] not in batch.courses[0, row]
        assert (batch.courses[0, row] != 0).sum() == batch.position[0, last] + 1
    # The control: were prefixes to end one step later, each would hold its label.
    leaky = replace(store, session_start=store.session_start + 1)
    assert labels_in_their_prefix(leaky.batch(pairs), batch.label) == 54


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 5), st.integers(1, 12))
def test_any_batch_equals_a_slow_reading_of_the_sessions(seed, cut, tasks, size):
    chosen = params(
        episodes={**EPISODES, "max_prefix_length": cut}, ablations={"support_sizes": [1]}
    )
    table = steps(random_sessions(25, seed))
    store, _ = build_episodes(table, chosen)
    pairs = np.random.default_rng(seed).integers(len(store.pair_time), size=(tasks, size))
    batch = store.batch(pairs)
    for task in range(tasks):
        lengths = (batch.courses[task] != 0).sum(1)
        assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
        for pair, number in enumerate(pairs[task]):
            own = table.columns["session"] == store.pair_session[number]
            session = table.columns["course"][own].tolist()
            length = store.pair_position[number]
            assert prefix(batch, task, pair) == session[:length][-cut:]
            assert batch.label[task, pair] == session[length]


def test_no_support_pairs_are_a_row_of_padding():
    store = small_store()
    support = store.support("test", np.arange(3), 0)
    assert support.courses.tolist() == [[[0]]] * 3
    assert support.row.shape == support.position.shape == support.label.shape == (3, 0)
    assert support.take([0, 2]).num_tasks == 2


def test_folder_round_trip(tmp_path: Path):
    store = small_store()
    write_episodes(tmp_path / "episodes", store)
    again = read_episodes(tmp_path / "episodes")
    for name in (field.name for field in fields(store)):
        one, two = getattr(store, name), getattr(again, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype, name
        np.testing.assert_equal(two, one)
    every = np.arange(len(store.episodes["train"]))
    assert torch.equal(store.query("train", every).courses, again.query("train", every).courses)


def test_unusable_folders_are_named(tmp_path: Path):
    folder = tmp_path / "episodes"
    with pytest.raises(UserError, match=r"meta\.json: no such file; run `dvc repro`"):
        read_episodes(folder)
    write_episodes(folder, small_store())
    whole = (folder / "courses.npy").read_bytes()
    one_bit = whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:]
    for damaged in (whole[:-100], whole[:20], b"", one_bit):
        (folder / "courses.npy").write_bytes(damaged)
        with pytest.raises(UserError, match=r"courses\.npy: not a whole \.npy file"):
            read_episodes(folder)
    (folder / "courses.npy").unlink()
    with pytest.raises(UserError, match=r"courses\.npy: no such file"):
        read_episodes(folder)
    (folder / "meta.json").write_text('{"num_courses": 3}')
    with pytest.raises(UserError, match=r"meta\.json: expected the keys ablation_support_size"):
        read_episodes(folder)


def test_meta_batch_has_one_random_episode_each_of_different_learners():
    store = small_store()
    owner = store.episodes["train"][:, 0]
    learners, number = np.unique(owner, return_counts=True)
    assert len(learners) >= 20
    drawn = np.stack([sample_tasks(store, 20, generator(1, "test", n)) for n in range(4000)])
    assert all(len(set(owner[row])) == 20 for row in drawn)
    # Each learner is drawn equally often: 4000 * 20 / learners, within 5 standard deviations.
    expected = drawn.size / len(learners)
    counts = np.bincount(owner[drawn].ravel(), minlength=60)[learners]
    assert np.abs(counts - expected).max() < 5 * expected**0.5
    # And each episode of a learner equally often.
    episodes = np.bincount(drawn.ravel(), minlength=len(owner))
    share = episodes / np.repeat(expected / number, number)
    assert np.abs(share - 1).max() < 0.5


def test_meta_batch_follows_the_generator():
    store = small_store()
    one, two = (sample_tasks(store, 8, generator(1, "test", 3)) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, sample_tasks(store, 8, generator(1, "test", 4)))


def test_a_meta_batch_larger_than_the_learners_is_refused():
    store = small_store()
    number = len(np.unique(store.episodes["train"][:, 0]))
    assert len(sample_tasks(store, number, generator(1, "test"))) == number
    with pytest.raises(UserError, match=f"found {number + 1}, but only {number} training learners"):
        sample_tasks(store, number + 1, generator(1, "test"))
