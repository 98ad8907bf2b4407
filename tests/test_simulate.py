"""The dump on disk: its nesting, its bytes, and that a reader gets back what was simulated."""

import gzip
import json
import sys
from collections import Counter, defaultdict
from itertools import groupby
from pathlib import Path
from typing import Any

import committed
import numpy as np
import pytest
import yaml

from mooc_maml.settings.data import SyntheticParams
from mooc_maml.sources import SOURCES
from mooc_maml.sources.events import ReadReport
from mooc_maml.synthetic.activity import SyntheticActivity, simulate
from mooc_maml.synthetic.dump import PERIODS, write_dump
from mooc_maml.synthetic.oracle import Oracle
from mooc_maml.synthetic.titles import _FIELDS, course_titles, write_titles
from stages import simulate as stage

KEPT = ("load_", "problem_", "video_", "seek_", "speed_", "pause_")
Sequences = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def activity() -> SyntheticActivity:
    return simulate(SyntheticParams(learners=400, courses=60, taste_strength=1.0), 3)


@pytest.fixture(scope="module")
def dump(activity: SyntheticActivity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "synthetic"
    write_dump(activity, folder, 3)
    return folder


@pytest.fixture(scope="module")
def entries(dump: Path) -> list[tuple[str, dict[str, Any]]]:
    return [entry for name in PERIODS for entry in json.loads(text(dump, name))]


def text(folder: Path, name: str) -> str:
    return gzip.decompress((folder / name).read_bytes()).decode()


def flat(entries: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str, str, str, str]]:
    """(learner, time, session hash, course, kind) of every raw row."""
    return [
        (learner, time, session, course, kind)
        for course, learners in entries
        for learner, sessions in learners.items()
        for session, rows in sessions.items()
        for kind, time in rows
    ]


def true_sequences(activity: SyntheticActivity, least_events: int) -> Sequences:
    found: Sequences = defaultdict(list)
    events = np.diff(activity.step_event[activity.session_step])
    for session, learner in enumerate(activity.session_learner):
        if events[session] >= least_events:
            steps = slice(*activity.session_step[session : session + 2])
            found[str(activity.tastes.learner_ids[learner])].append(
                [str(activity.tastes.course_ids[course]) for course in activity.step_course[steps]]
            )
    return dict(found)


def changes(courses: list[str]) -> list[str]:
    return [course for course, _ in groupby(courses)]


def cut_by_gap(rows: list[tuple[str, str, str, str, str]]) -> Sequences:
    """Plain reading: kept kinds, exact repeats dropped, cut after 1,800 s, at least 2 events."""
    found: Sequences = {}
    kept = sorted({row for row in rows if row[4].startswith(KEPT)})
    for learner, own in groupby(kept, key=lambda row: row[0]):
        parts: list[list[str]] = [[]]
        last = None
        for _, time, _, course, _ in own:
            now = np.datetime64(time)
            if last is not None and now - last > np.timedelta64(1_800, "s"):
                parts.append([])
            parts[-1].append(course)
            last = now
        sequences = [changes(part) for part in parts if len(part) >= 2]
        if sequences:
            found[learner] = sequences
    return found


def cut_by_hash(rows: list[tuple[str, str, str, str, str]]) -> Sequences:
    found: Sequences = defaultdict(list)
    kept = sorted({row for row in rows if row[4].startswith(KEPT)})
    sessions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for learner, _, session, course, _ in kept:
        sessions[learner, session].append(course)
    for (learner, _), courses in sessions.items():
        found[learner].append(changes(courses))
    return dict(found)


def several(sequences: Sequences) -> Sequences:
    """Only what pairs come from: sequences of at least two courses."""
    long = {name: [s for s in own if len(s) > 1] for name, own in sequences.items()}
    return {name: own for name, own in long.items() if own}


def test_gaps_give_back_the_exact_sequences(
    activity: SyntheticActivity, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    # A session of 2 events may be one event twice, which a reader takes for one; it has no pair.
    assert several(cut_by_gap(flat(entries))) == several(true_sequences(activity, 2))


def test_the_platforms_own_sessions_give_back_the_exact_sequences(
    activity: SyntheticActivity, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    assert cut_by_hash(flat(entries)) == true_sequences(activity, 1)


def test_the_real_reader_finds_every_row(
    make_params: Any, dump: Path, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    report = ReadReport()
    files = sorted(dump.iterdir())
    data = make_params(data={"source": "synthetic"}).data
    read = [
        (row["learner"], row["time"].isoformat(), row["session"], row["course"], row["event"])
        for batch in SOURCES["synthetic"].read_events(files, data, report)
        for row in batch.to_pylist()
    ]
    rows = flat(entries)
    assert Counter(read) == Counter(row for row in rows if row[4].startswith(KEPT))
    assert (report.bad_records, report.records) == (0, len(rows))


def test_the_nesting_is_the_platforms_own(
    activity: SyntheticActivity, dump: Path, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    for name, (begin, end) in PERIODS.items():
        content = json.loads(text(dump, name))
        assert text(dump, name) == json.dumps(content, indent=1) + "\n"
        assert len({course for course, _ in content}) == len(content)
        times = [np.datetime64(row[1]).astype(int) for row in flat(content)]
        assert begin <= min(times) <= max(times) < end
    courses = Counter(learner for _, learners in entries for learner in learners)
    assert courses.most_common(1)[0][1] > 5, "a learner recurs under many courses"
    assert {len(row[2]) for row in flat(entries)} == {32}


def test_kinds_of_event_have_the_published_shares(
    entries: list[tuple[str, dict[str, Any]]],
) -> None:
    rows = flat(entries)
    kinds = Counter(row[4] for row in rows)
    kept = {kind: count for kind, count in kinds.items() if kind.startswith(KEPT)}
    share = {kind: count / sum(kept.values()) for kind, count in kept.items()}
    published = {
        "pause_video": 0.3731,
        "seek_video": 0.1742,
        "problem_get": 0.1641,
        "load_video": 0.1369,
        "problem_check": 0.0567,
        "problem_check_correct": 0.0460,
        "problem_check_incorrect": 0.0256,
        "problem_save": 0.0234,
    }
    assert share == pytest.approx(published, abs=0.005)
    assert {"play_video", "click_about", "create_comment"} <= set(kinds) - set(kept)
    dropped = 1 - sum(kept.values()) / len(rows)
    assert dropped == pytest.approx(0.15 / 1.15, abs=0.01)
    assert len(set(rows)) < len(rows), "a few rows are exact repeats"


def run_stage(monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int) -> dict[str, bytes]:
    content = committed.settings()
    content["seed"] = seed
    content["data"]["synthetic"] |= {"learners": 50, "courses": 30}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.chdir(folder)
    paths = ["--raw", "raw", "--truth", "truth", "--titles", "titles.csv"]
    monkeypatch.setattr(sys, "argv", ["simulate", *paths])
    stage.main()
    files = [*(folder / "raw").iterdir(), *(folder / "truth").iterdir(), folder / "titles.csv"]
    return {path.name: path.read_bytes() for path in files}


def test_the_stage_writes_the_same_bytes_for_the_same_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, again, other = (run_stage(monkeypatch, tmp_path, seed) for seed in (1, 1, 2))
    assert set(first) == {*PERIODS, "tastes.npz", "titles.csv"}
    assert first == again
    assert all(first[name] != other[name] for name in first)
    learner = str(Oracle.load(tmp_path / "truth").tastes.learner_ids[0])
    everything = "".join(text(tmp_path / "raw", name) for name in PERIODS)
    assert f'"{learner}"' in everything


def test_titles_are_of_these_courses_and_none_comes_twice(activity: SyntheticActivity) -> None:
    params = SyntheticParams(learners=400, courses=60, taste_strength=1.0)
    titles = course_titles(params, 3)
    assert len(titles) == len(set(titles)) == 60
    assert titles == course_titles(params, 3) != course_titles(params, 4)
    assert len(set(course_titles(params.model_copy(update={"courses": 5_000}), 3))) == 5_000
    # a programme has a field: a course is mostly followed by its sequel and its programme's others
    follow = activity.tastes.follow
    same = [follow[i, j] for i in range(60) for j in range(60) if i != j and alike(titles, i, j)]
    other = [follow[i, j] for i in range(60) for j in range(60) if not alike(titles, i, j)]
    assert np.median(same) > 3 * np.median(other)


def alike(titles: list[str], first: int, second: int) -> bool:
    return field_of(titles[first]) == field_of(titles[second])


def field_of(title: str) -> str:
    return max((own for own in _FIELDS if own in title), key=len)


def test_the_file_of_titles_says_that_they_are_synthetic(tmp_path: Path) -> None:
    write_titles(tmp_path / "titles.csv", np.array(["b", "a"]), ["One", "Two, or more"])
    expected = 'course,title (synthetic)\na,"Two, or more"\nb,One\n'
    assert (tmp_path / "titles.csv").read_text() == expected
