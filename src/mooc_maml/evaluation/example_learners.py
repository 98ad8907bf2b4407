"""A few learners to look at, chosen by a rule and not by hand."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.analysis_schema import ExampleLearner, Step
from mooc_maml.ranking.metrics import metrics

Why = Literal["largest gain", "median", "largest loss"]
_LIST = 5  # courses of a list that are shown
_BEFORE = 3  # courses before a next course that are shown


def example_learners(
    store: EpisodeStore,
    courses: Sequence[str],
    model: str,
    before: tuple[NDArray[np.int64], NDArray[np.int64]],
    after: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> list[ExampleLearner]:
    """The test learners whose mean NDCG@10 adaptation raises most, changes middlingly, lowers most.

    Of each learner the query is shown that changes most the same way; of the learner in the middle
    the one nearest to the learner's own change.

    Args:
        store: the episodes.
        courses: id of each course.
        model: name of the adapted model.
        before: ranks [learners, Q] and lists [learners, Q, N] before adaptation.
        after: the same after it.
    """
    gain = metrics(after[0])["NDCG@10"] - metrics(before[0])["NDCG@10"]
    change = gain.mean(1)
    order = np.argsort(-change, kind="stable")
    if not len(order):
        return []
    chosen: dict[Why, int] = {
        "largest gain": int(order[0]),
        "median": int(order[len(order) // 2]),
        "largest loss": int(order[-1]),
    }
    found = []
    for why, task in chosen.items():
        distance = {
            "largest gain": -gain[task],
            "median": np.abs(gain[task] - change[task]),
            "largest loss": gain[task],
        }[why]
        query = int(np.argmin(distance))
        found.append(_example(store, courses, model, (why, task, query), change, before, after))
    return found


def _example(
    store: EpisodeStore,
    courses: Sequence[str],
    model: str,
    place: tuple[Why, int, int],
    change: NDArray[np.float64],
    before: tuple[NDArray[np.int64], NDArray[np.int64]],
    after: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> ExampleLearner:
    why, task, query = place
    index = np.array([task])
    asked = _step(store, courses, int(store.query_pairs("test", index)[0, query]))
    lists = [[courses[c - 1] for c in x[1][task, query][:_LIST]] for x in (before, after)]
    return ExampleLearner(
        why=why,
        learner=task,
        model=model,
        query=query,
        change=float(change[task]),
        support=[_step(store, courses, int(row)) for row in store.support_pairs("test", index)[0]],
        prefix=asked.before,
        true_course=asked.next,
        before=lists[0],
        after=lists[1],
        rank_before=int(before[0][task, query]),
        rank_after=int(after[0][task, query]),
    )


def _step(store: EpisodeStore, courses: Sequence[str], row: int) -> Step:
    start = int(store.session_start[store.pair_session[row]])
    end = int(store.label_step[row])
    shown = [courses[c - 1] for c in store.courses[max(start, end - _BEFORE) : end]]
    return Step(before=shown, next=courses[int(store.courses[end]) - 1])
