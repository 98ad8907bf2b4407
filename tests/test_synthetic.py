"""The synthetic platform: its truth is exact, its statistics are the published ones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.activity import (
    END_SECOND,
    FIRST_SECOND,
    LONGEST_GAP,
    SyntheticActivity,
    simulate,
)
from mooc_maml.synthetic.oracle import Oracle, Tastes, next_probabilities, save_tastes

SEED = 20260107


def settings(learners: int = 300, courses: int = 40, taste: float = 1.0) -> SyntheticParams:
    return SyntheticParams(learners=learners, courses=courses, taste_strength=taste)


@pytest.fixture(scope="module")
def platform() -> SyntheticActivity:
    return simulate(settings(learners=12_000, courses=343), SEED)


def percentiles(values: NDArray[np.int64], *shares: float) -> list[float]:
    return [float(np.percentile(values, share)) for share in shares]


def sessions_of(activity: SyntheticActivity) -> NDArray[np.int64]:
    """[steps] session of each step."""
    steps = np.diff(activity.session_step)
    return np.repeat(np.arange(len(steps)), steps)


def positions(activity: SyntheticActivity) -> NDArray[np.int64]:
    """[steps] place of each step in its session, from 0: the length of its prefix."""
    session = sessions_of(activity)
    return np.arange(len(session)) - activity.session_step[session]


def queries(
    activity: SyntheticActivity,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Learner, current course, course before (-1: none) and next course of every pair."""
    position = positions(activity)
    label = np.flatnonzero(position >= 1)
    course = activity.step_course.astype(np.int64)
    learner = activity.session_learner[sessions_of(activity)[label]].astype(np.int64)
    before = np.where(position[label] >= 2, course[label - 2], -1)
    return learner, course[label - 1], before, course[label]


# --- the oracle, by hand ------------------------------------------------------------------------


def two_learners() -> Tastes:
    return Tastes(
        learner_ids=np.array(["7", "8"]),
        course_ids=np.array(["A", "B", "C", "D"]),
        popularity=np.array([0.4, 0.3, 0.2, 0.1]),
        follow=np.array([[0, 0.5, 0.5, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0], [0.2, 0.2, 0.6, 0]]),
        own=np.array([[0, 1, 3], [2, 3, 0]], np.int32),
        weight=np.array([[0.2, 0.6, 0.2], [0.5, 0.5, 0.0]]),
        bounce=np.array([0.3, 0.0]),
        personal=np.array([0.8, 0.5]),
    )


def test_oracle_by_hand() -> None:
    scores = Oracle(two_learners()).scores(
        ["7", "7", "8"], [["A"], ["C", "B", "A"], ["A", "C"]], ["A", "B", "C", "D"]
    )
    # Learner 7 at A: own B : D = 0.6 : 0.2 = 0.75 : 0.25; after A everybody goes to B or C.
    at_a = [0, 0.8 * 0.75 + 0.2 * 0.5, 0.2 * 0.5, 0.8 * 0.25]
    np.testing.assert_allclose(scores[0], at_a)
    # With B before A, 0.3 goes back to B.
    np.testing.assert_allclose(scores[1], 0.7 * np.array(at_a) + [0, 0.3, 0, 0])
    # Learner 8 at C: own D only; after C everybody goes to D.
    np.testing.assert_allclose(scores[2], [0, 0, 0, 1])


def test_oracle_answers_in_the_order_asked_and_0_for_courses_not_on_offer() -> None:
    oracle = Oracle(two_learners())
    np.testing.assert_allclose(
        oracle.scores(["7"], [["A"]], ["D", "unknown", "B"]), [[0.2, 0, 0.7]], atol=1e-12
    )
    assert oracle.scores([], [], ["A", "B"]).shape == (0, 2)


def test_oracle_survives_the_disk_without_pickle(tmp_path: Path) -> None:
    save_tastes(two_learners(), tmp_path / "truth")
    loaded = Oracle.load(tmp_path / "truth").tastes
    for field in dataclasses.fields(Tastes):
        np.testing.assert_array_equal(
            getattr(loaded, field.name), getattr(two_learners(), field.name)
        )
    first = (tmp_path / "truth" / "tastes.npz").read_bytes()
    save_tastes(two_learners(), tmp_path / "truth")
    assert (tmp_path / "truth" / "tastes.npz").read_bytes() == first


def test_oracle_names_what_is_unknown(tmp_path: Path) -> None:
    oracle = Oracle(two_learners())
    with pytest.raises(UserError, match="learner '9'"):
        oracle.scores(["9"], [["A"]], ["A"])
    with pytest.raises(UserError, match="course 'Z'"):
        oracle.scores(["7"], [["Z"]], ["A"])
    with pytest.raises(UserError, match="empty"):
        oracle.scores(["7"], [[]], ["A"])
    with pytest.raises(UserError, match=r"tastes\.npz: no such file.*dvc repro simulate"):
        Oracle.load(tmp_path)


# --- the oracle is the law that generates -------------------------------------------------------


def test_sessions_follow_the_oracle(platform: SyntheticActivity) -> None:
    learner, last, before, label = (part[:40_000] for part in queries(platform))
    law = next_probabilities(platform.tastes, learner, last, before)
    np.testing.assert_allclose(law.sum(axis=1), 1)
    assert (law[np.arange(len(last)), last] == 0).all()
    hit = law.argmax(axis=1) == label
    for part in (before < 0, before >= 0, law.max(axis=1) < 0.3, law.max(axis=1) > 0.6):
        promised = law.max(axis=1)[part].mean()
        deviation = np.sqrt((law.max(axis=1) * (1 - law.max(axis=1)))[part].mean() / part.sum())
        assert abs(hit[part].mean() - promised) < 4 * deviation
    expected, variance = law.sum(axis=0), (law * (1 - law)).sum(axis=0)
    observed = np.bincount(label, minlength=law.shape[1])
    z = (observed - expected) / np.sqrt(variance)
    assert np.abs(z).max() < 5
    assert 0.85 < z.std() < 1.15


def top_1(activity: SyntheticActivity, shift: int) -> float:
    """Hit rate of the oracle told the taste of another learner, `shift` rows away."""
    learner, last, before, label = queries(activity)
    learner = (learner + shift) % len(activity.tastes.learner_ids)
    law = next_probabilities(activity.tastes, learner, last, before)
    return float((law.argmax(axis=1) == label).mean())


def test_taste_strength_sets_how_far_learners_differ() -> None:
    alike, apart = (simulate(settings(1_500, 100, taste), SEED) for taste in (0.0, 1.0))
    assert top_1(alike, shift=1) == top_1(alike, shift=0)
    assert top_1(apart, shift=1) < top_1(apart, shift=0) - 0.1
    rows, at = np.arange(50), np.full(50, 3)
    law = next_probabilities(alike.tastes, rows, at, at + 1)
    np.testing.assert_array_equal(law, np.tile(law[0], (50, 1)))


def test_platforms_of_the_least_size_and_extreme_taste_work() -> None:
    for taste in (0.0, 10.0):
        activity = simulate(settings(20, 20, taste), SEED)
        learner, last, before, label = queries(activity)
        law = next_probabilities(activity.tastes, learner, last, before)
        assert (law[np.arange(len(label)), label] > 0).all()


def test_the_same_seed_gives_the_same_activity() -> None:
    first, again, other = (simulate(settings(), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.event_time, again.event_time)
    np.testing.assert_array_equal(first.step_course, again.step_course)
    assert list(first.tastes.learner_ids) == list(again.tastes.learner_ids)
    assert list(first.tastes.course_ids) != list(other.tastes.course_ids)


# --- what readers rely on -----------------------------------------------------------------------


def test_sessions_can_be_told_apart_and_steps_are_in_order(platform: SyntheticActivity) -> None:
    position = positions(platform)
    course, time = platform.step_course, platform.step_time
    later = np.flatnonzero(position > 0)
    assert (course[later] != course[later - 1]).all()
    assert (time[later] > time[later - 1]).all()
    assert (np.diff(platform.step_event) >= 1).all()
    events = np.diff(platform.step_event[platform.session_step])
    session = np.repeat(np.arange(len(events)), events)
    gap = np.diff(platform.event_time)
    inside = session[1:] == session[:-1]
    learner = platform.session_learner[session]
    pause = ~inside & (learner[1:] == learner[:-1])
    assert gap[inside].min() >= 0
    assert gap[inside].max() <= LONGEST_GAP < 1_800 < gap[pause].min()
    assert FIRST_SECOND <= platform.event_time.min() < platform.event_time.max() < END_SECOND


def test_ids_are_distinct_text(platform: SyntheticActivity) -> None:
    tastes = platform.tastes
    assert len(set(tastes.learner_ids)) == 12_000
    assert all(name.isdigit() for name in tastes.learner_ids)
    assert len(set(tastes.course_ids)) == 343
    assert {name.split(":")[0] == "course-v1" for name in tastes.course_ids} == {True, False}
    own = np.sort(tastes.own, axis=1)
    assert (np.diff(own, axis=1) > 0).all()


# --- calibration: published figures (real XuetangX logs), tolerances of the synthetic one ---------


def test_gaps_events_and_minutes_are_the_published_ones(platform: SyntheticActivity) -> None:
    first = platform.step_event[platform.session_step]
    events = np.diff(first)
    kept = events >= 2  # as every reader does
    learners = len(np.unique(platform.session_learner[kept]))
    assert kept.sum() / learners == pytest.approx(906_341 / 173_335, rel=0.1)
    assert events[kept].mean() == pytest.approx(27_875_155 / 906_341, rel=0.1)
    assert percentiles(events[kept], 95) == pytest.approx([115], rel=0.1)
    seconds = platform.event_time[first[1:] - 1] - platform.event_time[first[:-1]]
    assert percentiles(seconds[kept], 95) == pytest.approx([6_653], rel=0.1)
    learner = np.repeat(platform.session_learner, events)
    gaps = np.diff(platform.event_time)[learner[1:] == learner[:-1]]
    assert percentiles(gaps, 50, 90, 95, 99) == pytest.approx([4, 205, 504, 21_022], rel=0.2)


def test_prefixes_and_pairs_are_near_the_published_ones(platform: SyntheticActivity) -> None:
    position = positions(platform)
    prefixes = position[position >= 1]
    assert percentiles(prefixes, 50, 90, 99) == pytest.approx([3, 22, 140], rel=0.35)
    assert prefixes.max() <= 901
    learner = platform.session_learner[sessions_of(platform)]
    pairs = np.bincount(learner[position >= 1])
    pairs = pairs[pairs > 0]
    # Published: 6.3 pairs a learner, 8 % of learners with 15 or more. The synthetic platform has
    # more of both, so that a dump of bearable size holds enough learners to test on.
    assert 8 < pairs.mean() < 11
    assert 0.11 < (pairs >= 15).mean() < 0.16


def test_courses_are_few_popular_and_bounced_between(platform: SyntheticActivity) -> None:
    steps = np.sort(np.bincount(platform.step_course, minlength=343))[::-1] / len(
        platform.step_course
    )
    # Published HR of a popularity ranking: 1.84 % at 1, 11.04 % at 10 (of 1,517 courses).
    assert 0.015 < steps[0] < 0.035
    assert 0.1 < steps[:10].sum() < 0.2
    assert steps[-1] > 0
    _, _, before, label = queries(platform)
    assert 0.35 < (before == label)[before >= 0].mean() < 0.5
