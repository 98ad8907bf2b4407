"""The steps and sessions that `preprocess` wrote, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import open_parquet

_BLOCK = 1 << 18  # rows read and checked at a time
STEP_COLUMNS = ("learner", "session", "position", "course", "time", "is_pair", "events", "kinds")
SESSION_COLUMNS = ("events", "duration")


@dataclass(frozen=True)
class SessionSteps:
    """Every step of every session's course sequence, in the order that `preprocess` writes.

    Attributes:
        columns: name -> [steps]: learner (from 0), session (running number from 0), position in
            the session (from 0), course (1..C), time (microseconds), is_pair (bool: the step is the
            next course of a prefix that lies strictly earlier), events and kinds (of the session,
            till the step's course was opened).
        sessions: name -> [sessions]: events, duration (microseconds; 0 without a clock), of the
            whole session.
        num_learners: learners in the data, with or without pairs.
        num_courses: C.
    """

    columns: Mapping[str, NDArray[Any]]
    sessions: Mapping[str, NDArray[Any]]
    num_learners: int
    num_courses: int


def read_steps(folder: Path) -> SessionSteps:
    """Read the folder that `preprocess` writes.

    Raises:
        UserError: a file is missing, damaged, or not in the order and range it should be.
    """
    path = folder / "steps.parquet"
    columns = _read_columns(path, STEP_COLUMNS)
    sessions = _read_columns(folder / "sessions.parquet", SESSION_COLUMNS)
    pa.default_memory_pool().release_unused()
    counts = []
    for name in ("learners", "courses"):
        with open_parquet(folder / f"{name}.parquet", ["id"]) as file:
            counts.append(file.metadata.num_rows)
    steps = SessionSteps(columns, sessions, *counts)
    for first in range(0, len(columns["session"]), _BLOCK):
        _check(steps, path, slice(first, first + _BLOCK))
    return steps


def _read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of a Parquet file, by name."""
    columns: dict[str, NDArray[Any]] = {}
    with open_parquet(path, names) as file:
        for name in names:
            kind = file.schema_arrow.field(name).type.to_pandas_dtype()
            columns[name] = np.empty(file.metadata.num_rows, kind)
        row = 0
        for batch in file.iter_batches(_BLOCK, columns=list(names)):
            for name in names:
                found = batch.column(name).to_numpy(zero_copy_only=False)
                columns[name][row : row + batch.num_rows] = found
            row += batch.num_rows
    return columns


def _check(steps: SessionSteps, path: Path, rows: slice) -> None:
    """Check some rows against each other and the one before them."""

    def differences(name: str, before_all: int) -> NDArray[Any]:
        before = steps.columns[name][rows.start - 1] if rows.start else before_all
        return np.diff(steps.columns[name][rows], prepend=before)

    position, learner, course = (
        steps.columns[name][rows] for name in ("position", "learner", "course")
    )
    step = differences("session", -1)
    follows = step == 0  # another step of the session before
    faults = {
        "session": (step != 0) & (step != 1),
        "position": np.where(follows, differences("position", 0) != 1, position != 0),
        "learner": (follows & (differences("learner", 0) != 0)) | (learner >= steps.num_learners),
        "course": (course < 1) | (course > steps.num_courses),
        "is_pair": steps.columns["is_pair"][rows] & (position == 0),
    }
    for name, fault in faults.items():
        if fault.any():
            row = rows.start + int(fault.argmax())
            raise UserError(
                f"{path}: row {row}, column {name}: found {steps.columns[name][row]}, expected "
                "sessions numbered from 0 and steps numbered from 0 in each, every session of one "
                f"learner, courses 1 to {steps.num_courses}; run `dvc repro --force preprocess`"
            )
