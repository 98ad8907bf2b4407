"""The alarm: nothing that a model is judged on may have been within its reach before.

A model is judged on the query pairs of validation and test learners. It leaks if it was trained on
pairs of those learners, if a support pair is not strictly earlier than the queries, or if a prefix
reaches its own next course. Every check looks at all pairs or episodes at once and costs less than
a second for millions of them, so they are made whenever episodes are written or read.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_parquet
from mooc_maml.episodes.store import SPLITS, EpisodeStore, read_episodes

_BLOCK = 1 << 20  # pairs compared with their steps at a time
_SPLIT_NAMES = {number: name for name, number in SPLITS.items()} | {-1: "pairless"}


def read_checked(folder: Path) -> EpisodeStore:
    """Open a folder of episodes.

    Raises:
        UserError: the folder is missing, incomplete or damaged, or its episodes leak.
    """
    store = read_episodes(folder)
    check_store(store, str(folder))
    return store


def check_store(store: EpisodeStore, place: str) -> None:
    """Look for leaks within a store.

    Args:
        store: the episodes.
        place: where they lie, for the message.

    Raises:
        UserError: the first leak found, with the first pair, episode and learner that it concerns.
    """
    for check in _CHECKS:
        _raise(place, check(store))


def check_build(store: EpisodeStore, columns: Mapping[str, NDArray[Any]]) -> None:
    """Look for leaks within a store that was just built, and against the steps it was built from.

    Args:
        store: the episodes.
        columns: `SessionSteps.columns`.

    Raises:
        UserError: the first leak found, with the first pair, episode and learner that it concerns.
    """
    check_store(store, "episodes as built")
    _raise("episodes as built", _unlike_their_steps(store, columns))


def check_ids(learners: Path) -> None:
    """Make sure that nobody counts as two learners, who might be put on both sides of the split.

    Args:
        learners: learners.parquet of `preprocess`, with the column id.

    Raises:
        UserError: an id comes twice, or the file is missing or damaged.
    """
    ids = read_parquet(learners, ["id"])["id"].to_numpy()
    found, number = np.unique(ids, return_counts=True)
    twice = _first(number > 1)
    if twice is not None:
        raise UserError(
            f"{learners}: leakage: the id {found[twice]!r} is that of {number[twice]} learners, "
            "who may fall into different splits; run `dvc repro --force preprocess`"
        )


def _raise(place: str, found: str | None) -> None:
    if found is not None:
        raise UserError(
            f"{place}: leakage: {found}. Results on these episodes would be worth nothing; "
            "run `dvc repro --force build_episodes`, and if it comes back, report it"
        )


def _first(fault: NDArray[np.bool_]) -> int | None:
    return int(fault.argmax()) if fault.any() else None


def _broken_bounds(store: EpisodeStore) -> str | None:
    """Learners' or sessions' ranges that do not follow each other from the first to the last."""
    ranges = (
        ("learner", store.learner_start, len(store.pair_time)),
        ("session", store.session_start, len(store.courses)),
    )
    for name, start, total in ranges:
        fault = np.diff(start, prepend=0, append=total) < 0
        number = 0 if start[0] or start[-1] != total else _first(fault)
        if number is not None:
            return f"the ranges of {name} {number} and of its neighbour overlap or leave a gap"
    return None


def _wrong_split(store: EpisodeStore) -> str | None:
    """An episode of a learner of another split, or of nobody."""
    for name, episodes in store.episodes.items():
        part, learner = "test" if name == "ablation" else name, episodes[:, 0]
        number = _first((learner < 0) | (learner >= len(store.learner_split)))
        if number is not None:
            return f"{name} episode {number} is of learner {learner[number]}, who does not exist"
        number = _first(store.learner_split[learner] != SPLITS[part])
        if number is not None:
            split = int(store.learner_split[learner[number]])
            whose = _SPLIT_NAMES.get(split, f"split-{split}")
            return (
                f"{name} episode {number} is of learner {learner[number]}, "
                f"who is a {whose} learner and not a {part} learner"
            )
    return None


def _label_in_prefix(store: EpisodeStore) -> str | None:
    """A pair whose next course does not lie behind its prefix, within the session."""
    session, position = store.pair_session, store.pair_position
    number = _first((session < 0) | (session >= len(store.session_start) - 1))
    if number is None:
        number = _first((position < 1) | (position >= np.diff(store.session_start)[session]))
    if number is None:
        return None
    return (
        f"pair {number} of learner {store.pair_learner[number]} has its next course at position "
        f"{position[number]} of session {session[number]}, which is not behind a prefix of at "
        "least one step and within the session"
    )


def _shared_session(store: EpisodeStore) -> str | None:
    """A session with pairs of two learners."""
    owner, session = store.pair_learner, store.pair_session
    last = np.zeros(len(store.session_start), dtype=np.int64)
    last[session] = owner
    number = _first(last[session] != owner)
    if number is None:
        return None
    other = last[session[number]]
    return f"session {session[number]} has pairs of learner {owner[number]} and of learner {other}"


def _out_of_order(store: EpisodeStore) -> str | None:
    """A learner's pairs not in order of time, a session's not in order of steps, or one twice."""
    owner = store.pair_learner
    number = _first((np.diff(store.pair_time) < 0) & (np.diff(owner) == 0))
    if number is not None:
        return f"pair {number + 1} of learner {owner[number]} is earlier than the pair before it"
    by_session = np.argsort(store.pair_session, kind="stable")
    session, position = store.pair_session[by_session], store.pair_position[by_session]
    number = _first((np.diff(position) <= 0) & (np.diff(session) == 0))
    if number is None:
        return None
    pair = by_session[number + 1]
    return f"pair {pair} of learner {owner[pair]} comes twice, or after a later step of its session"


def _episode_of_others(store: EpisodeStore) -> str | None:
    """An episode that reaches into pairs of another learner."""
    for name, episodes in store.episodes.items():
        learner, first = episodes.T
        last = first + store.held(name) + store.query_size
        start, end = store.learner_start[learner], store.learner_start[learner + 1]
        number = _first((first < start) | (last > end))
        if number is not None:
            return (
                f"{name} episode {number} of learner {learner[number]} takes pairs "
                f"{first[number]} to {last[number] - 1}, but the learner's own are "
                f"{start[number]} to {end[number] - 1}"
            )
    return None


def _support_not_before_query(store: EpisodeStore) -> str | None:
    """An episode whose latest support label is not strictly earlier than its first query label."""
    for name, episodes in store.episodes.items():
        learner, first = episodes.T
        query = first + store.held(name)
        latest, earliest = store.pair_time[query - 1], store.pair_time[query]
        number = _first(latest >= earliest)
        if number is not None:
            times = np.array([latest[number], earliest[number]]).astype("datetime64[us]")
            return (
                f"{name} episode {number} of learner {learner[number]} has its latest support "
                f"label at {times[0]}, not strictly before its first query label at {times[1]}"
            )
    return None


# In this order: a later check relies on what an earlier one made sure of.
_CHECKS: tuple[Callable[[EpisodeStore], str | None], ...] = (
    _broken_bounds,
    _wrong_split,
    _label_in_prefix,
    _shared_session,
    _out_of_order,
    _episode_of_others,
    _support_not_before_query,
)


def _unlike_their_steps(store: EpisodeStore, columns: Mapping[str, NDArray[Any]]) -> str | None:
    """A pair that is not the step it stands for, or whose prefix is not strictly earlier."""
    owner, time = store.pair_learner, columns["time"]
    back = time[1:] < time[:-1]
    back &= columns["session"][1:] == columns["session"][:-1]
    goes_back = np.cumsum(back, dtype=np.int32)  # differs within a session where time goes back
    goes_back = np.concatenate([[np.int32(0)], goes_back])  # [steps]
    for begin in range(0, len(owner), _BLOCK):
        found = _unlike(store, columns, owner, goes_back, slice(begin, begin + _BLOCK))
        if found is not None:
            return found
    return None


def _unlike(
    store: EpisodeStore,
    columns: Mapping[str, NDArray[Any]],
    owner: NDArray[np.int64],
    goes_back: NDArray[np.int32],
    pairs: slice,
) -> str | None:
    session, position = store.pair_session[pairs], store.pair_position[pairs]
    step = store.session_start[session] + position
    time = columns["time"]
    faults = {
        "is of another learner": columns["learner"][step] != owner[pairs],
        "is of another session": columns["session"][step] != session,
        "has another time": time[step] != store.pair_time[pairs],
        "has another next course": columns["course"][step] != store.courses[step],
        "has a prefix that is not strictly earlier": (time[step - 1] >= time[step])
        | (goes_back[step] != goes_back[step - position]),
    }
    for words, fault in faults.items():
        number = _first(fault)
        if number is not None:
            pair = pairs.start + number
            return f"pair {pair} of learner {owner[pair]} {words} (row {step[number]} of steps)"
    return None
