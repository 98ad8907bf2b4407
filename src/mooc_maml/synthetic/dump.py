"""Write synthetic activity as raw dump files in XuetangX's own nesting and pretty print."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path
from mooc_maml.common.randomness import generator
from mooc_maml.synthetic.activity import END_SECOND, FIRST_SECOND, SyntheticActivity

# Published counts of 2017.
KEPT_KINDS = {
    "pause_video": 10_447_067,
    "seek_video": 4_878_540,
    "problem_get": 4_594_062,
    "load_video": 3_832_977,
    "problem_check": 1_589_086,
    "problem_check_correct": 1_287_667,
    "problem_check_incorrect": 717_231,
    "problem_save": 655_907,
}
# Kinds that readers drop. Their counts are not published one by one; these shares are a guess.
DROPPED_KINDS = {
    "play_video": 50,
    "stop_video": 8,
    "click_courseware": 20,
    "close_courseware": 8,
    "click_about": 3,
    "click_info": 4,
    "click_progress": 3,
    "click_forum": 2,
    "create_comment": 1,
    "create_thread": 0.5,
    "reset_problem": 0.5,
}
_KINDS = (*KEPT_KINDS, *DROPPED_KINDS)
# The real dump holds one dropped event for each kept one; fewer keep the synthetic one small.
_DROPPED_A_KEPT = 0.15
_REPEATED = 0.001  # exact repeats of a row, as logs have them
_BORDER = int(np.datetime64("2017-05-01T00:00:00", "s").astype(np.int64))
PERIODS = {
    "20170201-20170501-raw_user_activity.json.gz": (FIRST_SECOND, _BORDER),
    "20170501-20170801-raw_user_activity.json.gz": (_BORDER, END_SECOND),
}


@dataclass(frozen=True)
class _Rows:
    """Raw rows, every field [rows]."""

    course: NDArray[np.int32]
    learner: NDArray[np.int32]
    session: NDArray[np.int64]
    kind: NDArray[np.int8]
    time: NDArray[np.int64]

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "_Rows":
        return _Rows(
            self.course[index],
            self.learner[index],
            self.session[index],
            self.kind[index],
            self.time[index],
        )


def write_dump(activity: SyntheticActivity, folder: Path, seed: int) -> None:
    """Write one gzipped file a quarter; the same arguments give the same bytes."""
    rng = generator(seed, "synthetic dump")
    rows = _rows(activity, rng)
    hashes = [rng.bytes(16).hex() for _ in range(len(activity.session_learner))]
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, (begin, end) in PERIODS.items():
            part = rows.take((rows.time >= begin) & (rows.time < end))
            # No name and no clock in the gzip header: they would change the bytes.
            with (
                (temporary / name).open("wb") as raw,
                gzip.GzipFile("", "wb", compresslevel=5, fileobj=raw, mtime=0) as file,
            ):
                _write(file, part, activity, hashes)


def _rows(activity: SyntheticActivity, rng: np.random.Generator) -> _Rows:
    """All rows by course, learner, session and time, dropped kinds and repeats among them."""
    step = np.repeat(np.arange(len(activity.step_course)), np.diff(activity.step_event))
    session = np.repeat(np.arange(len(activity.session_learner)), np.diff(activity.session_step))
    session = session[step]
    kept = _Rows(
        course=activity.step_course[step],
        learner=activity.session_learner[session],
        session=session,
        kind=_kinds(KEPT_KINDS, len(step), rng),
        time=activity.event_time,
    )
    # A dropped event shares course and second with a kept one, so it can move no boundary.
    copies = 1 + (rng.random(len(step)) < _DROPPED_A_KEPT)
    repeated = rng.random(len(step)) < _REPEATED
    index = np.repeat(np.arange(len(step)), copies + repeated)
    rows = kept.take(index)
    extra = np.zeros(len(index), bool)
    extra[np.cumsum(copies + repeated)[copies == 2] - 1] = True
    rows.kind[extra] = len(KEPT_KINDS) + _kinds(DROPPED_KINDS, int(extra.sum()), rng)
    return rows.take(np.lexsort((rows.time, rows.session, rows.learner, rows.course)))


def _kinds(
    weights: dict[str, int] | dict[str, float], count: int, rng: np.random.Generator
) -> NDArray[np.int8]:
    share = np.array(list(weights.values()), float)
    return rng.choice(len(share), count, p=share / share.sum()).astype(np.int8)


def _cuts(*keys: NDArray[np.integer]) -> NDArray[np.int64]:
    """First row of every run of equal keys, and the end."""
    changed = np.zeros(len(keys[0]) - 1, bool)
    for key in keys:
        changed |= key[1:] != key[:-1]
    return np.concatenate([[0], np.flatnonzero(changed) + 1, [len(keys[0])]])


def _write(
    file: gzip.GzipFile | BinaryIO, rows: _Rows, activity: SyntheticActivity, hashes: list[str]
) -> None:
    """One entry a course, indented by one space a level as the platform's own dump."""
    if not len(rows.time):
        file.write(b"[]\n")
        return
    names = activity.tastes.course_ids
    cuts = _cuts(rows.course).tolist()
    separator = "[\n"
    for first, end in pairwise(cuts):
        learners = ",\n".join(_learners(rows.take(slice(first, end)), activity, hashes))
        entry = f'{separator} [\n  "{names[rows.course[first]]}",\n  {{\n{learners}\n  }}\n ]'
        file.write(entry.encode())
        separator = ",\n"
    file.write(b"\n]\n")


def _learners(rows: _Rows, activity: SyntheticActivity, hashes: list[str]) -> Iterator[str]:
    """The text of each learner in one course's entry."""
    times = np.datetime_as_string(rows.time.astype("datetime64[s]")).tolist()
    opening = [f'     [\n      "{kind}",\n      "' for kind in _KINDS]
    events = [
        f'{opening[kind]}{time}"\n     ]'
        for kind, time in zip(rows.kind.tolist(), times, strict=True)
    ]
    session_cuts = _cuts(rows.learner, rows.session)
    sessions = [
        f'    "{hashes[rows.session[first]]}": [\n' + ",\n".join(events[first:end]) + "\n    ]"
        for first, end in pairwise(session_cuts.tolist())
    ]
    learner = rows.learner[session_cuts[:-1]]
    for first, end in pairwise(_cuts(learner).tolist()):
        name = activity.tastes.learner_ids[learner[first]]
        yield f'   "{name}": {{\n' + ",\n".join(sessions[first:end]) + "\n   }"
