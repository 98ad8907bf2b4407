"""Each kind of leak, planted in sound episodes, is caught and named."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from episode_helpers import params, random_sessions, small_store, steps, write_pairs

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.leakage import check_build, check_ids, check_store, read_checked
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import EpisodeStore, write_episodes
from mooc_maml.meta import stage
from stages import build_episodes as build_stage
from stages import meta_train

SETS = ("train", "validation", "test", "ablation")
SETTINGS = {
    "episodes": {"support_size": 2, "query_size": 3, "max_prefix_length": 4},
    "ablations": {"support_sizes": [1, 2, 4]},
}


@pytest.fixture
def store() -> EpisodeStore:
    """Sound, and free to be changed."""
    sound = small_store()
    copies = {name: x.copy() for name, x in vars(sound).items() if isinstance(x, np.ndarray)}
    return replace(sound, **copies, episodes={n: x.copy() for n, x in sound.episodes.items()})


def caught(store: EpisodeStore) -> str:
    with pytest.raises(UserError) as error:
        check_store(store, "data/episodes")
    said = str(error.value)
    assert said.startswith("data/episodes: leakage: ")
    assert "dvc repro --force build_episodes" in said
    return said


def test_sound_episodes_pass(store):
    check_store(store, "data/episodes")
    for seed in range(10):
        table = steps(random_sessions(60, seed))
        check_build(build_episodes(table, params(**SETTINGS))[0], table.columns)


# --- splits by learner ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_held_out_learner_among_the_training_episodes(store, name):
    learner, first = store.episodes[name][0]
    planted = np.insert(store.episodes["train"], 3, [learner, first], axis=0)
    said = caught(replace(store, episodes={**store.episodes, "train": planted}))
    assert f"train episode 3 is of learner {learner}, who is a {name} learner" in said


def test_a_training_learner_among_the_test_episodes(store):
    learner, _ = store.episodes["train"][5]
    store.episodes["test"][2] = store.episodes["train"][5]
    assert f"test episode 2 is of learner {learner}, who is a train learner" in caught(store)


def test_a_validation_learner_in_the_ablation(store):
    learner = store.episodes["validation"][0, 0]
    store.episodes["ablation"][1] = store.episodes["validation"][0]
    said = caught(store)
    assert f"ablation episode 1 is of learner {learner}, who is a validation learner" in said


def test_a_learner_whose_split_was_changed_afterwards(store):
    """The plain baselines train on all pairs of learners with split 0: they would see a test."""
    learner = store.episodes["test"][1, 0]
    store.learner_split[learner] = 0
    assert f"test episode 1 is of learner {learner}, who is a train learner" in caught(store)


@pytest.mark.parametrize("learner", [-1, 60])
def test_a_learner_who_does_not_exist(store, learner):
    store.episodes["validation"][0, 0] = learner
    assert f"validation episode 0 is of learner {learner}, who does not exist" in caught(store)


def test_a_learner_of_an_unknown_split(store):
    store.learner_split[store.episodes["train"][0, 0]] = 3
    assert "who is a split-3 learner and not a train learner" in caught(store)


def test_one_person_as_two_learners(tmp_path: Path, monkeypatch):
    write_pairs(tmp_path / "pairs", steps(random_sessions(60)))
    check_ids(tmp_path / "pairs" / "learners.parquet")
    content = pa.table({"learner": np.arange(60), "id": [f"u{max(n, 1)}" for n in range(60)]})
    pq.write_table(content, tmp_path / "pairs" / "learners.parquet")
    monkeypatch.setattr(build_stage, "load_params", lambda _: params(**SETTINGS))
    with pytest.raises(UserError, match=r"learners\.parquet: leakage: the id 'u1' is that of 2"):
        build_stage.main(tmp_path / "pairs", tmp_path / "episodes", tmp_path / "r.json")


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_a_support_label_at_the_moment_of_the_first_query_label(store, name):
    held = 4 if name == "ablation" else 2
    learner, first = store.episodes[name][-1]
    store.pair_time[first + held - 1] = store.pair_time[first + held]
    said = caught(store)
    assert "not strictly before its first query label at 1970-01-01T" in said
    if name != "train":  # a window of train shares its pairs with others, which come first
        assert f"episode {len(store.episodes[name]) - 1} of learner {learner}" in said or (
            name == "ablation" and f"of learner {learner}" in said
        )


def test_a_query_pair_earlier_than_the_support(store):
    learner, first = store.episodes["test"][0]
    store.pair_time[first + 3] = store.pair_time[first] - 1
    said = caught(store)
    assert f"pair {first + 3} of learner {learner} is earlier than the pair before it" in said


def test_a_pair_in_support_and_query(store):
    learner, first = store.episodes["test"][0]
    for name in ("pair_session", "pair_position"):
        getattr(store, name)[first + 2] = getattr(store, name)[first + 1]
    assert f"of learner {learner} comes twice" in caught(store)


# --- prefix and label -------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, -1, 1000])
def test_a_label_that_is_not_behind_its_prefix(store, position):
    learner, first = store.episodes["validation"][0]
    store.pair_position[first] = position
    said = caught(store)
    assert f"pair {first} of learner {learner} has its next course at position {position}" in said


def test_a_label_just_beyond_its_session(store):
    pair = len(store.pair_position) - 1
    end = int(np.diff(store.session_start)[store.pair_session[pair]])
    store.pair_position[pair] = end
    assert f"at position {end} of session" in caught(store)
    store.pair_position[pair] = end - 1
    check_store(store, "data/episodes")


# --- whose pairs ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("move", [-1, 100])
def test_an_episode_that_reaches_into_the_pairs_of_another(store, name, move):
    number = len(store.episodes[name]) // 2
    learner, _ = store.episodes[name][number]
    ends = store.learner_start[learner], store.learner_start[learner + 1]
    store.episodes[name][number, 1] = ends[0] - 1 if move < 0 else ends[1] - 4
    said = caught(store)
    assert f"{name} episode {number} of learner {learner} takes pairs" in said
    assert f"the learner's own are {ends[0]} to {ends[1] - 1}" in said


def test_a_session_with_pairs_of_two_learners(store):
    one, two = (store.learner_start[store.episodes["train"][n, 0]] for n in (0, -1))
    session = store.pair_session[one]
    store.pair_session[two], store.pair_position[two] = session, 1
    assert f"session {session} has pairs of learner" in caught(store)


@pytest.mark.parametrize("name", ["learner_start", "session_start"])
def test_ranges_that_overlap(store, name):
    getattr(store, name)[4] = getattr(store, name)[6] + 1
    assert f"the ranges of {name[:7]} " in caught(store)
    getattr(store, name)[4] = getattr(store, name)[3]
    getattr(store, name)[-1] -= 1
    assert f"the ranges of {name[:7]} " in caught(store)


# --- against the steps they were built from ---------------------------------------------------


def step_of(store: EpisodeStore, pair: int) -> int:
    return int(store.session_start[store.pair_session[pair]] + store.pair_position[pair])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("learner", "is of another learner"),
        ("session", "is of another session"),
        ("time", "has another time"),
        ("course", "has another next course"),
    ],
)
def test_a_pair_that_is_not_its_step(column, words):
    table = steps(random_sessions(60))
    store, _ = build_episodes(table, params(**SETTINGS))
    table.columns[column][step_of(store, 7)] += 1
    with pytest.raises(UserError, match=rf"leakage: pair 7 of learner \d+ {words}"):
        check_build(store, table.columns)


def test_a_prefix_as_late_as_its_label():
    table = steps([(n, 0, [1, 2, 3, 4, 5, 6, 7, 8]) for n in range(20)])
    store, _ = build_episodes(table, params(**SETTINGS))
    first = 3 * 8  # learner 3's first step, which is the next course of no pair
    table.columns["time"][first] = table.columns["time"][first + 1]
    with pytest.raises(UserError, match="pair 21 of learner 3 has a prefix that is not strictly"):
        check_build(store, table.columns)


def test_a_prefix_whose_first_step_is_later_than_its_label():
    table = steps([(n, 0, [1, 2, 3, 4, 5, 6, 7, 8]) for n in range(20)])
    store, _ = build_episodes(table, params(**SETTINGS))
    table.columns["time"][0] += 3_500_000  # beyond three more steps, the last of them no pair's
    with pytest.raises(UserError, match="pair 0 of learner 0 has a prefix that is not strictly"):
        check_build(store, table.columns)


# --- in the pipeline --------------------------------------------------------------------------


def test_reading_names_the_folder(tmp_path: Path, store):
    write_episodes(tmp_path / "sound", store)
    assert read_checked(tmp_path / "sound").num_courses == store.num_courses
    store.episodes["test"][0] = store.episodes["train"][0]
    write_episodes(tmp_path / "leaky", store)
    with pytest.raises(UserError, match=r"leaky: leakage: test episode 0"):
        read_checked(tmp_path / "leaky")


def test_training_does_not_begin_on_episodes_that_leak(tmp_path: Path, store, monkeypatch):
    store.episodes["train"][0] = store.episodes["validation"][0]
    write_episodes(tmp_path / "episodes", store)
    monkeypatch.chdir(tmp_path)
    settings = params(**SETTINGS, hardware={"device": "cpu", "threads": 1, "processes": 1})
    monkeypatch.setattr(meta_train, "load_params", lambda _: settings)
    monkeypatch.setattr(stage, "setup", lambda *_: "cpu")
    with pytest.raises(UserError, match="leakage: train episode 0"):
        meta_train.main(**{x: tmp_path / x for x in ("episodes", "gru", "model", "plots")})
    assert not (tmp_path / "model").exists()


def test_episodes_that_leak_are_not_written(tmp_path: Path, monkeypatch):
    table = steps(random_sessions(60))
    write_pairs(tmp_path / "pairs", table)
    monkeypatch.setattr(build_stage, "load_params", lambda _: params(**SETTINGS))

    def leaky(found, settings):
        store, account = build_episodes(found, settings)
        store.episodes["train"][0] = store.episodes["test"][0]
        return store, account

    monkeypatch.setattr(build_stage, "build_episodes", leaky)
    with pytest.raises(UserError, match="episodes as built: leakage: train episode 0"):
        build_stage.main(tmp_path / "pairs", tmp_path / "episodes", tmp_path / "r.json")
    assert not (tmp_path / "episodes").exists()
    monkeypatch.undo()
    assert len(read_steps(tmp_path / "pairs").columns["time"]) == len(table.columns["time"])


def test_the_alarm_costs_little():
    table = steps(random_sessions(4000, longest=40))
    store, _ = build_episodes(table, params(**SETTINGS))
    pairs, begin = len(store.pair_time), time.perf_counter()
    check_store(store, "data/episodes")
    seconds = time.perf_counter() - begin
    assert pairs > 100_000
    assert seconds < 2, f"{pairs} pairs"
