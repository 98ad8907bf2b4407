"""SRS of pairs and tasks against numbers worked out by hand; nothing after a label counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from episode_helpers import params, steps
from test_sessions import run

from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.reliability import pair_reliability
from mooc_maml.episodes.session_steps import SessionSteps, read_steps
from mooc_maml.episodes.store import SPLITS, EpisodeStore

TINY = {
    "episodes": {"support_size": 2, "query_size": 1},
    "ablations": {"support_sizes": [1, 2]},
}


def thirty_learners(session: list[int]) -> SessionSteps:
    """24 of training, 3 of validation, 3 of test, each with this session of one event a second."""
    return steps([(n, 0, session) for n in range(30)])


def built(table: SessionSteps) -> tuple[EpisodeStore, dict[str, Any]]:
    store, report = build_episodes(table, params(**TINY))
    return store, report["reliability_caps"]


def test_the_mean_of_three_terms() -> None:
    """A pair at second p of a session of 4 events: (p + 1) / 4, p / 3 and one kind of six."""
    store, caps = built(thirty_learners([1, 2, 3, 4]))
    assert caps == {"events": 4, "seconds": 3, "kinds": 6}
    expected = [(2 / 4 + 1 / 3 + 1 / 6) / 3, (3 / 4 + 2 / 3 + 1 / 6) / 3, (1 + 1 + 1 / 6) / 3]
    assert store.pair_reliability[:3].tolist() == pytest.approx(expected)
    assert store.pair_reliability.dtype == np.float32


def test_beyond_the_cap_a_term_is_1() -> None:
    table = thirty_learners([1, 2, 3, 4])
    table.columns["events"][3] = 1000
    table.columns["time"][3] += 1_000_000_000
    assert built(table)[0].pair_reliability[2] == pytest.approx((1 + 1 + 1 / 6) / 3)


@pytest.mark.parametrize("name", ["events", "duration"])
def test_caps_come_from_the_sessions_of_training_learners(name: str) -> None:
    table = thirty_learners([1, 2, 3, 4])
    split = build_episodes(table, params(**TINY))[0].learner_split
    training = split == SPLITS["train"]
    found = table.sessions[name].astype(np.float64)
    found[training] = np.arange(24)
    found[~training] = 1e9
    table = replace(table, sessions={**table.sessions, name: found})
    caps = built(table)[1]
    # The 95th percentile of 0, 1, ..., 23 lies at 0.95 x 23.
    expected = {"events": 21.85, "duration": 21.85e-6}[name]
    assert caps["events" if name == "events" else "seconds"] == pytest.approx(expected)


def test_a_term_that_the_data_do_not_have_is_left_out() -> None:
    table = thirty_learners([1, 2, 3, 4])
    split = np.zeros(30, dtype=np.int8)
    pair = np.arange(1, 4)
    intensity, extent = np.array([2, 3, 4]) / 4, np.array([1, 2, 3]) / 3

    found, caps = pair_reliability(table, pair, split, kinds=0)  # event_prefixes: []
    assert caps["kinds"] == 0
    assert found.tolist() == pytest.approx(((intensity + extent) / 2).tolist())

    table.columns["kinds"][:] = 0  # a source without kinds, whatever event_prefixes says
    table.sessions["duration"][:] = 0  # and without a clock
    found, caps = pair_reliability(table, pair, split, kinds=6)
    assert caps == {"events": 4, "seconds": 0, "kinds": 0}
    assert found.tolist() == pytest.approx(intensity.tolist())


def test_a_task_has_the_mean_over_its_pairs_of_their_sessions_up_to_the_latest() -> None:
    sessions = [(n, at, [1, 2, 3]) for n in range(30) for at in (0, 100)]
    store, _ = build_episodes(steps(sessions), params(**TINY))
    changed = store.pair_reliability.copy()
    changed[:4] = [0.1, 0.3, 0.5, 0.9]  # learner 0: two pairs of either session
    store = replace(store, pair_reliability=changed)
    found = [store.batch(np.array([own])).reliability.item() for own in ([0, 1, 2], [0, 1], [0, 2])]
    assert found == pytest.approx([(0.3 + 0.3 + 0.5) / 3, 0.3, (0.1 + 0.5) / 2])
    both = store.batch(np.array([[0, 1, 2], [1, 2, 3]])).reliability
    assert both.tolist() == pytest.approx([(0.3 + 0.3 + 0.5) / 3, (0.3 + 0.9 + 0.9) / 3])
    assert store.batch(np.zeros((2, 0), dtype=np.int64)).reliability.tolist() == [0, 0]
    overlapping = replace(store, pair_session=store.pair_session[[0, 2, 1, *range(3, 120)]])
    assert overlapping.batch(np.array([[0, 1, 2]])).reliability.item() == pytest.approx(
        (0.5 + 0.3 + 0.5) / 3
    )


def log(tail_of: set[str]) -> list[tuple[str, str, int, str]]:
    """40 learners open A, B, C, D; those of `tail_of` do more in C and D than to open them."""
    rows = []
    for learner in (f"u{n:02}" for n in range(40)):
        rows += [(learner, course, 100 * i, "load_x") for i, course in enumerate("ABCD")]
        if learner in tail_of:
            kinds = ["video_x", "seek_x", "problem_x", "pause_x"]
            rows += [(learner, "C", 201 + i, kind) for i, kind in enumerate(kinds)]
            rows += [(learner, "D", 301 + 10 * i, kinds[i % 4]) for i in range(90)]
    return rows


def test_what_comes_after_the_last_support_label_changes_nothing(tmp_path, make_params) -> None:
    """Pairs end with B and C, the support, and with D, the query."""
    settings = params(**TINY)
    prefixes = settings.data.event_prefixes

    def reliabilities(tail_of: set[str]) -> tuple[EpisodeStore, list[str], list[float]]:
        _, tables = run(tmp_path, make_params, log(tail_of), event_prefixes=prefixes)
        store, _ = build_episodes(read_steps(tmp_path / "pairs"), settings)
        every = np.arange(len(store.episodes["test"]))
        support, query = store.support("test", every), store.query("test", every)
        assert query.label.tolist() == [[4]] * len(every)
        ids = [row["id"] for row in tables["learners"]]
        owners = [ids[learner] for learner in store.episodes["test"][:, 0]]
        assert len(owners) == 4
        query_reliability.append(query.reliability.tolist())
        return store, owners, support.reliability.tolist()

    query_reliability: list[list[float]] = []
    _, owners, short = reliabilities(set())
    _, same_owners, long = reliabilities(set(owners))
    assert same_owners == owners
    assert long == short
    assert all(a < b for a, b in zip(*query_reliability, strict=True)), "it counts till D is opened"
