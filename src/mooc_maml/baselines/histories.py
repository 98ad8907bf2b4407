"""Sessions of a learner put one after the other, in training and in testing.

Rule, the same for both: before a pair's prefix stands what the learner's earlier pairs show of
other sessions, each step once, a separator between each two sessions. Sessions stand in the order
of their latest pairs, each as far as it is shown by then; the pair's own is the last. Where
sessions overlap in time, one that is gone on with thereby moves to the end, and nothing later is
shown.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

_ALONE = 0.5  # chance that a session begins a history, in training


class HistoryBatches:
    """All training pairs in updates as of `SessionBatches`, prefixes with earlier sessions in them.

    In every epoch each session begins a history of its own with a chance of one half, and goes on
    from the session before otherwise: so a model meets much history, little, and none.

    Args:
        store: the episodes.
        batch_size: pairs in one update.
        separator: see `learner_histories`.
    """

    def __init__(self, store: EpisodeStore, batch_size: int, separator: int) -> None:
        self.store, self.batch_size, self.separator = store, batch_size, separator

    def __len__(self) -> int:
        """Training pairs."""
        return len(self.store.pairs_of("train"))

    def examples(self, rng: np.random.Generator, start: int = 0) -> Iterator[Examples]:
        """Updates from number `start` on, each assembled as a single task [1, pairs]."""
        alone = rng.random(len(self.store.session_start) - 1) < _ALONE
        histories = learner_histories(self.store, self.separator, alone)
        return SessionBatches(histories, self.batch_size).examples(rng, start)


class _Runs(NamedTuple):
    """Neighbouring pairs of one session, in order of time. All arrays are [runs].

    Attributes:
        first: the run's first pair.
        session: the session of its pairs.
        start: position in the session of the first step that its prefixes need.
        end: steps of the session that are shown once the run is over.
        returns: bool, whether the session had an earlier run.
        forgets: bool, whether nothing earlier of the learner stands before it.
    """

    first: NDArray[np.int64]
    session: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    returns: NDArray[np.bool_]
    forgets: NDArray[np.bool_]


class _Pieces(NamedTuple):
    """Parts of sessions to be copied, [pieces]: for which run, and which steps of which session."""

    run: NDArray[np.int64]
    session: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def learner_histories(
    store: EpisodeStore, separator: int, alone: NDArray[np.bool_] | None = None
) -> EpisodeStore:
    """The same pairs, each with what its learner did in earlier sessions before its prefix.

    What the result calls a session is a history: sessions of a learner that follow each other, a
    separator between each two, which its `courses` then hold besides 1..C. Where a session is gone
    on with after another has begun, a history begins, with copies of what stands before it as far
    as `max_prefix_length` reaches. Steps that no pair shows are left out. Episodes keep their
    meaning.

    Args:
        store: the episodes.
        separator: what stands between two sessions, in place of a course.
        alone: bool [sessions], those before which nothing earlier stands; None: none but a
            learner's first.
    """
    runs = _runs(store, alone)
    before = _before_returns(runs, store.max_prefix_length)
    own = _Pieces(np.arange(len(runs.first)), runs.session, runs.start, runs.end)
    pieces = _Pieces(*(np.concatenate(both) for both in zip(before, own, strict=True)))
    order = np.argsort(pieces.run, kind="stable")  # a run's own piece is the last of the run's
    pieces = _Pieces(*(x[order] for x in pieces))
    is_last = np.diff(pieces.run, append=len(runs.first)) != 0
    begins = (runs.returns | runs.forgets)[pieces.run] & np.append(True, is_last[:-1])

    size = pieces.end - pieces.start
    end = np.cumsum(size + ~begins)  # in the new array of courses, separators included
    courses = np.full(end[-1], separator, dtype=store.courses.dtype)
    source = store.session_start[pieces.session] + pieces.start
    courses[ranges(end - size, size)] = store.courses[ranges(source, size)]
    start, history = (end - size)[begins], np.cumsum(begins) - 1
    number = np.diff(runs.first, append=len(store.pair_session))  # pairs of each run
    piece = np.repeat(np.flatnonzero(is_last), number)  # of each pair
    shift = (end - size - pieces.start)[piece] - start[history[piece]]
    return replace(
        store,
        courses=courses,
        session_start=np.append(start, end[-1]),
        pair_session=history[piece].astype(np.int32),
        pair_position=(store.pair_position + shift).astype(np.int32),
    )


def _runs(store: EpisodeStore, alone: NDArray[np.bool_] | None) -> _Runs:
    first = np.flatnonzero(np.diff(store.pair_session, prepend=-1))
    session = store.pair_session[first]
    returns = np.ones(len(first), dtype=bool)
    returns[np.unique(session, return_index=True)[1]] = False
    forgets = np.diff(store.pair_learner[first], prepend=-1) != 0
    if alone is not None:
        forgets |= alone[session] & ~returns
    start = np.maximum(store.pair_position[first].astype(np.int64) - store.max_prefix_length, 0)
    start[~(returns | forgets)] = 0
    last = np.append(first[1:], len(store.pair_session)) - 1
    end = store.pair_position[last].astype(np.int64) + 1
    return _Runs(first, session.astype(np.int64), start, end, returns, forgets)


def _before_returns(runs: _Runs, longest: int) -> _Pieces:
    """What stands before sessions that are gone on with, at least its `longest` latest courses."""
    found: list[tuple[int, int, int, int]] = []
    begin = np.flatnonzero(runs.forgets)
    number = np.add.reduceat(runs.returns & ~runs.forgets, begin, dtype=np.int64)
    stop = np.append(begin[1:], len(runs.first))
    for chosen in np.flatnonzero(number):
        shown: dict[int, int] = {}  # session -> steps shown, in the order of latest pairs
        for run in range(begin[chosen], stop[chosen]):
            session = int(runs.session[run])
            shown.pop(session, None)
            if runs.returns[run]:
                found += [(run, *piece) for piece in _latest(shown, longest)]
            shown[session] = int(runs.end[run])
    return _Pieces(*np.array(found, dtype=np.int64).reshape(-1, 4).T)


def _latest(shown: dict[int, int], longest: int) -> list[tuple[int, int, int]]:
    """The last pieces (session, start, end) of what is shown, enough for `longest` courses."""
    found: list[tuple[int, int, int]] = []
    for session, end in reversed(shown.items()):
        if longest <= 0:
            break
        start = max(0, end - longest)
        found.append((session, start, end))
        longest -= end - start + 1  # and a separator
    return found[::-1]


def with_history(
    support: Examples, query: Examples, separator: int, longest: int | None = None
) -> Examples:
    """Query pairs, before whose prefixes stands all that the support pairs show.

    Args:
        support: pairs in order of time.
        query: later pairs of the same tasks.
        separator: what stands between two sessions, in place of a course.
        longest: courses of a prefix that are kept, the latest; None: all.

    Returns:
        The query pairs, each in a row of its own, on the device of `query`.
    """
    past = [_shown(task) for task in _by_task(support)]
    prefixes = [
        [_told(shown, pair, separator)[-longest if longest else None :] for pair in pairs]
        for shown, pairs in zip(past, _by_task(query), strict=True)
    ]
    time = max(len(prefix) for task in prefixes for prefix in task)
    rows = [[prefix + [0] * (time - len(prefix)) for prefix in task] for task in prefixes]
    device, number = query.label.device, query.label.shape[1]
    return query._replace(
        courses=torch.tensor(rows, device=device),
        row=torch.arange(number, device=device).expand(len(rows), -1),
        position=torch.tensor([[len(own) - 1 for own in task] for task in prefixes], device=device),
        offset=torch.zeros_like(query.offset),
    )


class _Pair(NamedTuple):
    prefix: list[int]
    label: int
    session: int
    offset: int


# Session -> steps of it that are shown and the position of the one after them; the latest is last.
_Shown = dict[int, tuple[list[int], int]]


def _by_task(examples: Examples) -> list[list[_Pair]]:
    """The pairs of each task."""
    fields = (examples.row, examples.position, examples.label, examples.session, examples.offset)
    pairs = torch.stack(fields, 2).tolist()  # [tasks, pairs, 5]
    return [
        [
            _Pair(rows[row][: position + 1], label, session, offset)
            for row, position, label, session, offset in own
        ]
        for rows, own in zip(examples.courses.tolist(), pairs, strict=True)
    ]


def _shown(pairs: list[_Pair]) -> _Shown:
    """What the pairs of one task show."""
    shown: _Shown = {}
    for pair in pairs:
        steps = [*_gone_on(shown.pop(pair.session, None), pair), pair.label]
        shown[pair.session] = (steps, pair.offset + len(pair.prefix) + 1)
    return shown


def _told(shown: _Shown, pair: _Pair, separator: int) -> list[int]:
    """The pair's prefix behind what is shown of other sessions."""
    told: list[int] = []
    for session, (steps, _) in shown.items():
        if session != pair.session:
            told += [*steps, separator]
    return told + _gone_on(shown.get(pair.session), pair)


def _gone_on(known: tuple[list[int], int] | None, pair: _Pair) -> list[int]:
    """The prefix, with what is known of its session before the prefix's first course."""
    if known is None:
        return pair.prefix
    steps, end = known
    return steps[: max(0, len(steps) - (end - pair.offset))] + pair.prefix
