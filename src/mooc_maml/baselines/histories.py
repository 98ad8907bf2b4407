"""Sessions of a learner put one after the other, in training and in testing."""

from dataclasses import replace

import numpy as np
import torch

from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.ranges import ranges


def learner_histories(store: EpisodeStore) -> EpisodeStore:
    """The same pairs, each with all that its learner did before as its prefix.

    A learner's sessions stand in the order of their first pairs and count as one. Sessions without
    a pair are left out. Episodes keep their meaning.
    """
    sessions, first, place = np.unique(store.pair_session, return_index=True, return_inverse=True)
    learner = store.pair_learner
    old = store.session_start[sessions]
    size = store.session_start[sessions + 1] - old
    order = np.argsort(first)  # pairs are grouped by learner, and so are sessions in this order
    begin = np.empty_like(size)  # of each session in the new array of courses
    begin[order] = np.cumsum(size[order]) - size[order]
    steps = ranges(old[order], size[order])
    total = np.bincount(learner[first], size, minlength=len(store.learner_split)).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(total)])
    return replace(
        store,
        courses=store.courses[steps],
        session_start=start,
        pair_session=learner.astype(np.int32),
        pair_position=(begin[place] + store.pair_position - start[learner]).astype(np.int32),
    )


def with_history(support: Examples, query: Examples, longest: int | None = None) -> Examples:
    """Query pairs whose prefixes go on from all that the support pairs show.

    Args:
        support: pairs in order of time.
        query: pairs of the same tasks.
        longest: courses of a prefix that are kept, the latest; None: all.

    Returns:
        The query pairs, each in a row of its own, on the device of `query`.
    """
    past = [_history(*own) for own in _by_task(support)]
    prefixes = [
        [
            _joined(before, courses[row][: position + 1])[-longest if longest else None :]
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


def _history(courses: list[list[int]], pairs: list[tuple[int, int]], label: list[int]) -> list[int]:
    """All courses that the pairs of one task show, in order."""
    history: list[int] = []
    for (row, position), following in zip(pairs, label, strict=True):
        history = _joined(history, [*courses[row][: position + 1], following])
    return history


def _joined(before: list[int], after: list[int]) -> list[int]:
    """Two sequences as one; what ends the first and begins the second is the same steps.

    So it is where a session goes on. Elsewhere it is mostly the same course left and opened again.
    """
    for size in range(min(len(before), len(after)), 0, -1):
        if before[-size:] == after[:size]:
            return before + after[size:]
    return before + after
