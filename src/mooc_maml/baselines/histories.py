"""Sessions of a learner put one after the other, in training and in testing."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

_ALONE = 0.5  # chance that a session begins a history, in training
_CUT = 10  # courses from which on a prefix may be the end of a longer one


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

    def examples(self, rng: np.random.Generator, start: int = 0) -> Iterator[Examples]:
        """Updates from number `start` on, each assembled as a single task [1, pairs]."""
        alone = rng.random(len(self.store.session_start) - 1) < _ALONE
        histories = learner_histories(self.store, self.separator, alone)
        return SessionBatches(histories, self.batch_size).examples(rng, start)


def learner_histories(
    store: EpisodeStore, separator: int, alone: NDArray[np.bool_] | None = None
) -> EpisodeStore:
    """The same pairs, each with what its learner did in earlier sessions before its prefix.

    A learner's sessions stand in the order of their first pairs and count as one, a separator
    between each two, which `courses` of the result then hold besides 1..C. Sessions without a pair
    are left out. Episodes keep their meaning. Where sessions of a platform overlap in time, the one
    that began first counts as earlier to its end.

    Args:
        store: the episodes.
        separator: what stands between two sessions, in place of a course.
        alone: bool [sessions], those that begin a new history; None: none but a learner's first.
    """
    sessions, first, place = np.unique(store.pair_session, return_index=True, return_inverse=True)
    order = np.argsort(first)  # pairs are grouped by learner, and so are sessions in this order
    begins = np.diff(store.pair_learner[first[order]], prepend=-1) != 0
    if alone is not None:
        begins |= alone[sessions[order]]
    old = store.session_start[sessions[order]]
    size = store.session_start[sessions[order] + 1] - old
    end = np.cumsum(size + ~begins)  # in the new array of courses, separators included
    courses = np.full(end[-1], separator, dtype=store.courses.dtype)
    courses[ranges(end - size, size)] = store.courses[ranges(old, size)]
    history = np.cumsum(begins) - 1
    start = (end - size)[begins]
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    own = number[place]  # of each pair its session, counted in the new order
    position = (end - size)[own] - start[history[own]] + store.pair_position
    return replace(
        store,
        courses=courses,
        session_start=np.append(start, end[-1]),
        pair_session=history[own].astype(np.int32),
        pair_position=position.astype(np.int32),
    )


def with_history(
    support: Examples, query: Examples, separator: int, longest: int | None = None
) -> Examples:
    """Query pairs whose prefixes go on from all that the support pairs show.

    Args:
        support: pairs in order of time.
        query: pairs of the same tasks.
        separator: what stands between two sessions, in place of a course.
        longest: courses of a prefix that are kept, the latest; None: all.

    Returns:
        The query pairs, each in a row of its own, on the device of `query`.
    """
    past = [_history(*own, separator) for own in _by_task(support)]
    prefixes = [
        [
            _joined(before, courses[row][: position + 1], separator)[
                -longest if longest else None :
            ]
            for row, position in pairs
        ]
        for before, (courses, pairs, _) in zip(past, _by_task(query), strict=True)
    ]
    time = max(len(prefix) for task in prefixes for prefix in task)
    rows = [[prefix + [0] * (time - len(prefix)) for prefix in task] for task in prefixes]
    device, number = query.label.device, query.label.shape[1]
    return Examples(
        torch.tensor(rows, device=device),
        torch.arange(number, device=device).expand(len(rows), -1),
        torch.tensor([[len(prefix) - 1 for prefix in task] for task in prefixes], device=device),
        query.label,
        query.reliability,
    )


_Task = tuple[list[list[int]], list[tuple[int, int]], list[int]]


def _by_task(examples: Examples) -> list[_Task]:
    """Of each task its rows, (row, position) of its pairs, and their labels."""
    rows, positions = examples.row.tolist(), examples.position.tolist()
    pairs = [list(zip(*own, strict=True)) for own in zip(rows, positions, strict=True)]
    return list(zip(examples.courses.tolist(), pairs, examples.label.tolist(), strict=True))


def _history(
    courses: list[list[int]], pairs: list[tuple[int, int]], label: list[int], separator: int
) -> list[int]:
    """All courses that the pairs of one task show, in order."""
    history: list[int] = []
    for (row, position), following in zip(pairs, label, strict=True):
        history = [*_joined(history, courses[row][: position + 1], separator), following]
    return history


def _joined(before: list[int], prefix: list[int], separator: int) -> list[int]:
    """What was seen, gone on with: its last session once if the prefix is of the same one.

    Pairs do not name their sessions. It is the same one if the prefix begins with all that is known
    of it, or if the prefix is long enough to have been cut and begins, by more than half, with its
    end. Two sessions that begin alike may be taken for one.
    """
    known = before[::-1].index(separator) if separator in before else len(before)
    if known and before[-known:] == prefix[:known]:
        return [*before[:-known], *prefix]
    if len(prefix) >= _CUT:
        for size in range(min(known, len(prefix)), len(prefix) // 2, -1):
            if before[-size:] == prefix[:size]:
                return [*before, *prefix[size:]]
    return [*before, separator, *prefix] if before else prefix
