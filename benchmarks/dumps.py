"""Synthetic dumps of any size in XuetangX's nesting, with the statistics of the real one.

They are printed as the platform does, 90 bytes an event, and written about as fast as a disk takes
them; `mooc_maml.synthetic.dump` writes the small one of the pipeline, kinds in order.
"""

from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.activity import FIRST_SECOND, SyntheticActivity, simulate
from mooc_maml.synthetic.dump import DROPPED_KINDS, KEPT_KINDS

LEARNERS = 7_000  # of one simulated part; parts have learners of their own
COURSES = 1_577
DROPPED_A_KEPT = 1.035  # of the real dump: 56,985,474 events, 28,002,537 of them kept
_DAY = 86_400
_IN = [level * "  " for level in range(7)]


def write_dumps(folder: Path, events: int, seed: int = 1) -> int:
    """Write files of about 2.3 million events each, together at least `events`; tell how many."""
    folder.mkdir(parents=True)
    done = part = 0
    names: list[str] = []
    while events - done > events // 1000:
        settings = SyntheticParams(learners=LEARNERS, courses=COURSES, taste_strength=1.0)
        activity = simulate(settings, seed + part)
        rng = generator(seed, "scale", part)
        names = names or activity.tastes.course_ids.tolist()  # the same courses in all files
        with (folder / f"part-{part:04d}-raw_user_activity.json").open("wb") as file:
            done += _write(file, activity, names, part, events - done, rng)
        part += 1
    return done


def _write(
    file: BinaryIO,
    activity: SyntheticActivity,
    names: list[str],
    part: int,
    most: int,
    rng: np.random.Generator,
) -> int:
    """Write whole sessions of one part up to about `most` events; tell how many events."""
    session_event = activity.step_event[activity.session_step]
    sessions = int(np.searchsorted(session_event * (1 + DROPPED_A_KEPT), most, side="left"))
    sessions = min(max(sessions, 1), len(activity.session_learner))
    steps = int(activity.session_step[sessions])
    step = np.repeat(np.arange(steps), np.diff(activity.step_event[: steps + 1]))
    copies = 1 + rng.poisson(DROPPED_A_KEPT, len(step))  # each kept event, and dropped ones with it
    event = np.repeat(np.arange(len(step)), copies)
    kept = np.zeros(len(event), bool)
    kept[np.cumsum(copies) - 1] = True
    kind = np.where(
        kept,
        _draw(KEPT_KINDS, len(event), rng),
        len(KEPT_KINDS) + _draw(DROPPED_KINDS, len(event), rng),
    )
    step = step[event]
    session = np.repeat(np.arange(sessions), np.diff(activity.session_step[: sessions + 1]))[step]
    course, second = activity.step_course[step], activity.event_time[event]
    order = np.lexsort((second, session, course))  # sessions are in order of learners
    course, session = course[order], session[order]
    texts = _event_texts(kind[order], second[order])
    _write_rows(file, activity, names, part, course, session, texts)
    return len(order)


def _draw(
    weights: dict[str, int] | dict[str, float], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    share = np.cumsum(np.array(list(weights.values()), float))
    return np.searchsorted(share / share[-1], rng.random(count), side="right")


def _event_texts(
    kind: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[memoryview, NDArray[np.int64]]:
    """The text of all events, back to back, and where each begins [events + 1]."""
    opening = _table(
        [f'{_IN[5]}[\n{_IN[6]}"{name}",\n{_IN[6]}"' for name in (*KEPT_KINDS, *DROPPED_KINDS)]
    )
    days = np.datetime64(FIRST_SECOND, "s").astype("datetime64[D]") + np.arange(400)
    day = _table(np.datetime_as_string(days).tolist())
    clock = np.datetime64(0, "s") + np.arange(_DAY)
    clocks = _table([text[10:] for text in np.datetime_as_string(clock).tolist()])
    since = second - FIRST_SECOND // _DAY * _DAY
    closing = _table([f'"\n{_IN[5]}],\n'])[np.zeros(len(kind), int)]
    rows = np.hstack([opening[kind], day[since // _DAY], clocks[since % _DAY], closing])
    filled = rows != 0
    starts = np.concatenate([[0], np.cumsum(filled.sum(1))])
    return memoryview(rows[filled]), starts


def _table(texts: list[str]) -> NDArray[np.uint8]:
    """Texts as rows of bytes, filled up with zeros."""
    padded = np.array([text.encode() for text in texts])
    return padded.view(np.uint8).reshape(len(texts), -1)


def _write_rows(
    file: BinaryIO,
    activity: SyntheticActivity,
    names: list[str],
    part: int,
    course: NDArray[np.int32],
    session: NDArray[np.int64],
    texts: tuple[memoryview, NDArray[np.int64]],
) -> None:
    """Nest the events: a session closes and opens what lies between it and the one before."""
    text, starts = texts
    changed = (np.diff(course) != 0) | (np.diff(session) != 0)
    cuts = np.concatenate([[0], np.flatnonzero(changed) + 1, [len(course)]])
    close_session, close_learner = f"\n{_IN[4]}]", f"\n{_IN[3]}}}"
    close_course = f"\n{_IN[2]}}}\n{_IN[1]}]"
    before: tuple[int, int] | None = None
    file.write(b"[\n")
    for first, end in pairwise(cuts.tolist()):
        of_course, learner = int(course[first]), int(activity.session_learner[session[first]])
        between = "" if before is None else close_session
        if before is not None and before != (of_course, learner):
            between += close_learner
        if before is None or before[0] != of_course:
            between += "" if before is None else f"{close_course},\n"
            between += f'{_IN[1]}[\n{_IN[2]}"{names[of_course]}",\n{_IN[2]}{{\n'
        else:
            between += ",\n"
        if before != (of_course, learner):
            between += f'{_IN[3]}"{part * LEARNERS + learner + 100_000}": {{\n'
        between += f'{_IN[4]}"{part:016x}{session[first]:016x}": [\n'
        file.write(between.encode())
        file.write(text[starts[first] : starts[end] - 2])  # no comma behind the last
        before = of_course, learner
    file.write(f"{close_session}{close_learner}{close_course}\n]\n".encode())
