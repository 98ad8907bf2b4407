import json
from pathlib import Path

import numpy as np
import pytest
import torch
from episode_helpers import params, small_store, steps

from mooc_maml.baselines import BASELINES, baseline_path, read_baselines
from mooc_maml.baselines import gru as gru_module
from mooc_maml.baselines.gru import GRUBaseline, SessionBatches
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.episode_store import EpisodeStore, write_episodes
from mooc_maml.episodes import build_episodes
from mooc_maml.errors import UserError
from mooc_maml.evaluation import query_ranks, summary, without_support
from mooc_maml.randomness import generator
from stages import train_baselines as stage

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    """Models of this size only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


SMALL = {
    "episodes": {"support_size": 2, "query_size": 3, "max_prefix_length": 4},
    "ablations": {"support_sizes": [1, 2]},
    "model": {"embedding_dim": 8, "hidden_dim": 16},
    "baselines": {"epochs": 5, "batch_size": 32, "learning_rate": 0.02},
}


def circular_store() -> EpisodeStore:
    """After course c always comes c + 1, and after 9 comes 1."""
    rng = np.random.default_rng(0)
    sessions = [
        (learner, 1000 * n, ((rng.integers(9) + np.arange(rng.integers(2, 9))) % 9 + 1).tolist())
        for learner in range(80)
        for n in range(3)
    ]
    return build_episodes(steps(sessions), params(**SMALL))[0]


def test_popularity_counts_next_courses_of_training_learners_only():
    sessions = [(n, 0, [1, 2, 3, 2, 3, 2]) for n in range(10)]
    store, _ = build_episodes(steps(sessions, num_courses=4), params(**SMALL))
    test_learner = store.episodes["test"][0, 0]
    first = store.session_start[test_learner]
    store.courses[first : first + 6] = [1, 4, 3, 4, 3, 4]  # what only a test learner does
    popularity = Popularity.train(store, params(**SMALL), CPU, print)
    assert popularity.counts.tolist() == [0, 3 * 8, 2 * 8, 0]  # 8 training learners
    query = store.query("test", np.array([0]))
    assert popularity.scores(query).tolist() == [[[0, 24, 16, 0]] * 3]
    # The query's courses 4, 3, 4: course 3 is second, course 4 ties with course 1 for last.
    score = without_support(popularity.scores)
    assert query_ranks(score, store, "test", tasks_at_once=1, device=CPU).tolist() == [[4, 2, 4]]


def test_every_training_pair_is_met_once_an_epoch_also_those_of_learners_without_episodes():
    store = small_store()
    batches = SessionBatches(store, 16)
    one = list(batches.pair_rows(generator(1, "test", 1)))
    assert sorted(np.concatenate(one)) == store.pairs_of("train").tolist()
    with_episodes = set(store.episodes["train"][:, 0])
    training = set(np.flatnonzero(store.learner_split == 0))
    assert with_episodes < training  # else the data do not show what the name says
    assert all(0 < len(rows) < 32 for rows in one)
    sizes = [len(rows) for rows in one]
    assert np.mean(sizes[:-1]) == pytest.approx(16, abs=2)


def test_updates_are_shuffled_and_follow_the_generator():
    batches = SessionBatches(small_store(), 16)
    one, again, other = (list(batches.pair_rows(generator(1, "test", n))) for n in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=False))


def test_a_session_lies_in_one_update_and_takes_one_row():
    store = small_store(episodes={"max_prefix_length": 50})
    place: dict[int, int] = {}
    for number, rows in enumerate(SessionBatches(store, 16).pair_rows(generator(1, "test"))):
        for session in store.pair_session[rows]:
            assert place.setdefault(int(session), number) == number
    for examples in SessionBatches(store, 16).examples(generator(1, "test")):
        sessions = (examples.position[0] == 0).sum()  # each session has one pair of prefix 1
        assert examples.courses.shape[1] == sessions


def test_a_session_longer_than_an_update_is_cut():
    courses = [1, 2] * 20
    store, _ = build_episodes(steps([(n, 0, courses) for n in range(10)]), params(**SMALL))
    updates = list(SessionBatches(store, 10).pair_rows(generator(1, "test")))
    assert max(map(len, updates)) < 20
    assert sorted(np.concatenate(updates)) == store.pairs_of("train").tolist()


def test_like_lengths_come_together():
    rng = np.random.default_rng(0)
    sessions = [(n, 0, [1, 2] * int(rng.integers(4, 20))) for n in range(400)]
    store, _ = build_episodes(
        steps(sessions),
        params(**{**SMALL, "episodes": {**SMALL["episodes"], "max_prefix_length": 50}}),
    )
    used, filled = 0, 0
    for examples in SessionBatches(store, 64).examples(generator(1, "test")):
        used += int((examples.courses != 0).sum())
        filled += examples.courses.numel()
    assert used / filled > 0.85


def test_gru_learns_a_rule_that_popularity_cannot():
    store = circular_store()
    lines: list[str] = []
    gru = GRUBaseline.train(store, params(**SMALL), CPU, lines.append)
    popularity = Popularity.train(store, params(**SMALL), CPU, lines.append)
    metrics = {
        name: summary(
            query_ranks(without_support(model.scores), store, "test", tasks_at_once=9, device=CPU)
        )
        for name, model in (("gru", gru), ("popularity", popularity))
    }
    assert metrics["gru"]["HR@1"] == 1.0
    assert metrics["popularity"]["HR@1"] < 0.5
    assert [entry["epoch"] for entry in gru.history] == [1, 2, 3, 4, 5]
    assert gru.history[-1]["train_loss"] < gru.history[0]["train_loss"]
    assert len(lines) == 6


def test_shuffled_labels_teach_nothing():
    """The control: the same training on courses in random order is no better than chance."""
    store = circular_store()
    np.random.default_rng(1).shuffle(store.courses)
    gru = GRUBaseline.train(store, params(**SMALL), CPU, lambda _: None)
    ranks = query_ranks(without_support(gru.scores), store, "test", tasks_at_once=9, device=CPU)
    assert summary(ranks)["HR@1"] < 0.4


def test_the_best_epoch_is_kept_the_first_of_equals(monkeypatch):
    def weights(*validation: float) -> torch.Tensor:
        values = iter(validation)
        monkeypatch.setattr(gru_module, "_validate", lambda *_: {"NDCG@10": next(values)})
        settings = params(**{**SMALL, "baselines": {"epochs": len(validation)}})
        return GRUBaseline.train(circular_store(), settings, CPU, print).model.head.weight

    assert torch.equal(weights(0.1, 0.5, 0.4, 0.5), weights(0.1, 0.5))
    assert not torch.equal(weights(0.1, 0.5), weights(0.1))


def test_training_follows_the_seed_alone():
    store = circular_store()
    settings = {**SMALL, "baselines": {"epochs": 1}, "model": {**SMALL["model"], "dropout": 0.3}}
    torch.manual_seed(1)
    one = GRUBaseline.train(store, params(**settings), CPU, print)
    torch.manual_seed(2)
    two = GRUBaseline.train(store, params(**settings), CPU, print)
    other = GRUBaseline.train(store, params(**settings, seed=5), CPU, print)
    assert one.history == two.history != other.history
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_no_number_is_told():
    settings = params(**{**SMALL, "baselines": {"learning_rate": 3e37, "epochs": 2}})
    with pytest.raises(UserError, match=r"lower baselines\.learning_rate"):
        GRUBaseline.train(circular_store(), settings, CPU, print)


@pytest.mark.parametrize("name", BASELINES)
def test_files(tmp_path: Path, name: str):
    kind, _ = BASELINES[name]
    store = circular_store()
    settings = params(**{**SMALL, "baselines": {"epochs": 1}})
    baseline = kind.train(store, settings, CPU, print)
    path = baseline_path(tmp_path, name)
    with pytest.raises(UserError, match="no such file"):
        kind.read(path, 9, CPU)
    baseline.write(path)
    query = store.query("test", np.arange(3))
    assert torch.equal(kind.read(path, 9, CPU).scores(query), baseline.scores(query))
    with pytest.raises(UserError, match=r"\b9\b.*the data have 10"):
        kind.read(path, 10, CPU)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=path.name):
        kind.read(path, 9, CPU)


def test_stage_writes_models_and_metrics_twice_alike(tmp_path: Path, monkeypatch):
    store = circular_store()
    write_episodes(tmp_path / "episodes", store)
    settings = params(**SMALL, hardware={"device": "cpu", "threads": 1})
    monkeypatch.setattr(stage, "load_params", lambda _: settings)
    for run in ("one", "two"):
        stage.main(tmp_path / "episodes", tmp_path / run, tmp_path / run / "r.json")
    for file in ("gru.pth", "popularity.npy", "r.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    results = json.loads((tmp_path / "one" / "r.json").read_text())
    tests = len(store.episodes["test"])
    assert (results["learners"], results["queries"]) == (tests, tests * 3)
    assert results["synthetic"] is True
    assert len(results["gru_training"]) == 5
    for name, baseline in read_baselines(tmp_path / "one", 9, CPU).items():
        score = without_support(baseline.scores)
        ranks = query_ranks(score, store, "test", tasks_at_once=32, device=CPU)
        assert results["baselines"][name] == pytest.approx(summary(ranks))
