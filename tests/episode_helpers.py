"""Small pairs tables, written as sessions: (learner, first time, courses)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import committed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import STEP_COLUMNS, SessionSteps
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.settings.params import Params, parse_params

Session = tuple[int, int, Sequence[int]]


def params(**changes: object) -> Params:
    """The committed settings, with some changed: section={"key": value} or key=value."""
    return Params.model_validate(merged(parse_params(committed.settings()).model_dump(), changes))


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some changed; of a section, at any depth, those that are not named stay."""
    found = dict(settings)
    for name, value in changes.items():
        inside = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = merged(found[name], value) if inside else value
    return found


def steps(
    sessions: Sequence[Session], num_learners: int | None = None, num_courses: int | None = None
) -> SessionSteps:
    """Steps of sessions, one second apart within a session; every step but the first is a pair.

    Each step is one event, all of one kind.
    """
    second = 1_000_000
    rows = [
        (learner, number, at, course, (start + at) * second, at > 0, at + 1, 1)
        for number, (learner, start, courses) in enumerate(sessions)
        for at, course in enumerate(courses)
    ]
    types = (np.int32, np.int32, np.int32, np.int32, np.int64, bool, np.int32, np.int16)
    columns = {
        name: np.array([row[index] for row in rows], dtype=kind)
        for index, (name, kind) in enumerate(zip(STEP_COLUMNS, types, strict=True))
    }
    sizes = np.array([len(courses) for _, _, courses in sessions])
    return SessionSteps(
        columns,
        {"events": sizes.astype(np.int32), "duration": (sizes - 1) * second},
        num_learners or 1 + max(row[0] for row in rows),
        num_courses or max(row[3] for row in rows),
    )


def write_pairs(folder: Path, table: SessionSteps) -> None:
    """The folder that preprocess writes."""
    folder.mkdir(parents=True)
    pq.write_table(pa.table(dict(table.columns)), folder / "steps.parquet")
    pq.write_table(pa.table(dict(table.sessions)), folder / "sessions.parquet")
    for name, number in (("learner", table.num_learners), ("course", table.num_courses)):
        numbers = np.arange(number, dtype=np.int32) + (name == "course")
        content = pa.table({name: numbers, "id": [f"{name}-{n}" for n in numbers]})
        pq.write_table(content, folder / f"{name}s.parquet")


def random_sessions(
    learners: int, seed: int = 0, longest: int = 9, courses: int = 12, sessions: int = 5
) -> list[Session]:
    """Up to `sessions` sessions a learner, one after the other, without consecutive repeats."""
    rng = np.random.default_rng(seed)
    drawn: list[Session] = []
    for learner in range(learners):
        for number in range(rng.integers(1, sessions + 1)):
            steps_ = rng.integers(1, courses, size=rng.integers(1, longest + 1)).cumsum() % courses
            drawn.append((learner, 10_000 * number, (steps_ + 1).tolist()))
    return drawn


def small_store(**changes: object) -> EpisodeStore:
    """A store of 60 learners with K = 2, Q = 3."""
    settings = {
        "episodes": {"support_size": 2, "query_size": 3, "max_prefix_length": 4},
        "ablations": {"support_sizes": [1, 2, 4]},
    }
    settings = merged(settings, changes)
    return build_episodes(steps(random_sessions(60)), params(**settings))[0]


def small_experiment(folder: Path, **changes: object) -> None:
    """Pairs of synthetic sessions and settings for few learners, as an experiment reads them."""
    write_pairs(folder / "pairs", steps(random_sessions(80)))
    settings = params(
        episodes={"support_size": 2, "query_size": 3, "test_fraction": 0.3, "train_fraction": 0.4,
                  "validation_fraction": 0.3},
        ablations={"support_sizes": [1, 2]},
        hardware={"threads": 1, "device": "cpu"},
        **changes,
    )  # fmt: skip
    content = json.loads(settings.model_dump_json())
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
