"""Whether courses that a learner has seen can come again, and leaving them out if not.

On some platforms a course is seen once (enrolments), on others opened again and again (clicks).
Which of the two is learnt from the training learners, and then holds for every model alike.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes, support_courses
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.settings.params import Params

THRESHOLD = 0.01  # share of next courses seen before, below which they count as never seen before


class Recurrence(NamedTuple):
    """Share of training pairs whose next course was opened before.

    Attributes:
        in_session: before in the same session.
        by_learner: before by the same learner, in whatever session.
    """

    in_session: float
    by_learner: float


def learn_recurrence(store: EpisodeStore) -> Recurrence:
    """Count over all pairs of the training learners, whole prefixes."""
    pairs = store.pairs_of("train")
    session = store.pair_session[pairs].astype(np.int64)
    learner, label = store.pair_learner[pairs], store.label_step[pairs]
    sessions, first = np.unique(session, return_index=True)
    size = store.session_start[sessions + 1] - store.session_start[sessions]
    step = ranges(store.session_start[sessions], size)
    # Steps of a learner in the order of the learner's pairs: sessions by their first pair.
    order = np.repeat(first, size)
    shares = []
    for group in (np.repeat(sessions, size), np.repeat(learner[first], size)):
        keys: list[NDArray[Any]] = [step, order, store.courses[step], group]
        ranked = np.lexsort(keys)
        same = np.diff(group[ranked], prepend=-1) == 0
        same &= np.diff(store.courses[step[ranked]], prepend=-1) == 0
        seen = np.zeros(len(store.courses), dtype=bool)
        seen[step[ranked]] = same  # not the first of its course in its session, or of its learner
        shares.append(float(seen[label].mean()))
    return Recurrence(*shares)


class SeenFilter(NamedTuple):
    """What is left out of the ranking.

    Attributes:
        prefix: courses of the pair's own prefix.
        support: courses that the support pairs show.
        recurrence: what that was learnt from; None where it was not asked.
    """

    prefix: bool
    support: bool
    recurrence: Recurrence | None

    def without(self, score: ScoreFunction) -> ScoreFunction:
        """The same scorer, the courses left out ranked behind all others.

        A next course that is left out is thereby ranked last: leaving out is never free.
        """
        if not (self.prefix or self.support):
            return score

        def scores(support: Examples, query: Examples) -> Tensor:
            found = score(support, query)
            if not found.is_floating_point():
                found = found.double()
            return found.masked_fill(self.marks(query, support, found.shape[-1]), -torch.inf)

        return scores

    def marks(self, query: Examples, support: Examples, num_courses: int) -> Tensor:
        """Whether a course is left out of the ranking of a query pair: bool [tasks, Q, C]."""
        return _marked(self.courses(query, support), num_courses)

    def courses(self, pairs: Examples, support: Examples | None) -> Tensor:
        """Courses left out of the ranking of each pair: int64 [tasks, pairs, n], 0 = padding."""
        found = [prefixes(pairs)] if self.prefix else []
        if self.support and support is not None:
            shown = support_courses(support)[:, None]
            found.append(shown.expand(-1, pairs.label.shape[1], -1))
        return torch.cat(found, 2) if found else pairs.label.new_zeros(*pairs.label.shape, 0)

    def courses_out_of_loss(
        self, pairs: Examples, support: Examples | None = None
    ) -> Tensor | None:
        """What a cross-entropy leaves out that knows which courses cannot come.

        Args:
            pairs: those of the loss.
            support: pairs shown before them, if `pairs` are the query of an episode.

        Returns:
            int64 [tasks, pairs, n], 0 = padding: the courses that are left out of the ranking, but
            for a pair's own label, which now and then is one of them. None: nothing is left out.
        """
        if not (self.prefix or self.support):
            return None
        label, courses = pairs.label[..., None], self.courses(pairs, support)
        return courses.masked_fill((courses == label) | (label == 0), 0)

    def out_of_loss(self, scores: Tensor, pairs: Examples) -> Tensor:
        """Scores of the pairs of one task, for such a cross-entropy.

        Args:
            scores: float [pairs, C], with gradients or without.
            pairs: [1, pairs].

        Returns:
            The same, -inf for what `courses_out_of_loss` tells.
        """
        courses = self.courses_out_of_loss(pairs)
        if courses is None:
            return scores
        return scores.masked_fill(_marked(courses, scores.shape[1])[0], -torch.inf)

    def as_result(self) -> dict[str, Any]:
        """Plain values for a result file."""
        shares = self.recurrence._asdict() if self.recurrence else {}
        return {"prefix_left_out": self.prefix, "support_left_out": self.support, **shares}


NONE_LEFT_OUT = SeenFilter(False, False, None)


def _marked(courses: Tensor, num_courses: int) -> Tensor:
    """Courses [tasks, pairs, n], 0 = padding -> bool [tasks, pairs, C]."""
    shape = (*courses.shape[:2], num_courses + 1)  # with a column for padding
    marked = torch.zeros(shape, dtype=torch.bool, device=courses.device)
    return marked.scatter_(2, courses, True)[..., 1:]


def seen_filter(store: EpisodeStore, params: Params) -> SeenFilter:
    """What `evaluation.seen_courses` means on these data."""
    if params.evaluation.seen_courses == "keep":
        return NONE_LEFT_OUT
    found = learn_recurrence(store)
    return SeenFilter(found.in_session < THRESHOLD, found.by_learner < THRESHOLD, found)
