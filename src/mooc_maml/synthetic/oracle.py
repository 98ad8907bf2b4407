"""The true tastes of synthetic learners, and the best possible prediction that follows from them.

Only the synthetic source has such a truth. A learner moves between courses by one rule: with
probability `bounce` back to the course visited before the current one (once there is one),
otherwise, with probability `personal`, to one of the learner's own courses by weight, otherwise
to a course that follows the current one for everybody. The current course is never drawn again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path

_FILE = "tastes.npz"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Tastes:
    """What drives every learner of the synthetic platform; courses count from 0 in `course_ids`."""

    learner_ids: NDArray[np.str_]  # [learners]
    course_ids: NDArray[np.str_]  # [courses]
    popularity: NDArray[np.float64]  # [courses], adds up to 1
    follow: NDArray[np.float64]  # [courses, courses], rows add up to 1, diagonal 0; shared by all
    own: NDArray[np.int32]  # [learners, slots], a learner's own courses, none twice
    weight: NDArray[np.float64]  # [learners, slots], rows add up to 1; 0: slot not in use
    bounce: NDArray[np.float64]  # [learners], probability of going back
    personal: NDArray[np.float64]  # [learners], share of the own courses among other moves


def save_tastes(tastes: Tastes, folder: Path) -> None:
    """Write tastes to a folder of their own, as arrays without pickled objects."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        np.savez(
            temporary / _FILE,
            allow_pickle=False,
            **{field.name: getattr(tastes, field.name) for field in fields(Tastes)},
        )


class Oracle:
    """Exact probabilities of the next course for one who knows a learner's true taste."""

    def __init__(self, tastes: Tastes) -> None:
        self.tastes = tastes
        self._learner = {str(name): row for row, name in enumerate(tastes.learner_ids)}
        self._course = {str(name): column for column, name in enumerate(tastes.course_ids)}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the folder that `save_tastes` wrote.

        Raises:
            UserError: there is no such truth.
        """
        try:
            with np.load(path / _FILE, allow_pickle=False) as arrays:
                return cls(Tastes(**{field.name: arrays[field.name] for field in fields(Tastes)}))
        except FileNotFoundError:
            raise UserError(
                f"{path / _FILE}: no such file; only synthetic data has a truth, "
                "and `dvc repro simulate` writes it"
            ) from None

    def scores(
        self,
        learners: Sequence[str],
        prefixes: Sequence[Sequence[str]],
        course_ids: Sequence[str],
    ) -> NDArray[np.float64]:
        """Probability of each course to come next, given that the session goes on.

        Args:
            learners: [n] learner ids.
            prefixes: [n] courses of the session so far, in order, no course twice in a row.
            course_ids: [columns] order of the answer; a course that the platform does not offer
                gets 0.

        Returns:
            float64 [n, columns]; a row adds up to 1 if `course_ids` names every course.

        Raises:
            UserError: a learner or a course of a prefix is unknown, or a prefix is empty.
        """
        rows = np.array([self._find(self._learner, "learner", name) for name in learners], int)
        last = np.array([self._at(prefix, 1) for prefix in prefixes], int)
        previous = np.array([self._at(prefix, 2) for prefix in prefixes], int)
        # A column more than courses, always 0, answers for courses that are not on offer.
        columns = [self._course.get(name, len(self._course)) for name in course_ids]
        answer = np.zeros((len(rows), len(columns)))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            known = next_probabilities(self.tastes, rows[part], last[part], previous[part])
            answer[part] = np.pad(known, ((0, 0), (0, 1)))[:, columns]
        return answer

    def _at(self, prefix: Sequence[str], back: int) -> int:
        if not prefix:
            raise UserError("a prefix is empty; the oracle needs at least one course")
        return self._find(self._course, "course", prefix[-back]) if len(prefix) >= back else -1

    @staticmethod
    def _find(known: dict[str, int], kind: str, name: str) -> int:
        if name not in known:
            raise UserError(
                f"{kind} {name!r} is not in the synthetic truth; was it written by another run? "
                "`dvc repro` brings data and truth together"
            )
        return known[name]


def next_probabilities(
    tastes: Tastes,
    learner: NDArray[np.integer],
    last: NDArray[np.integer],
    previous: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Exact law of the next course.

    Args:
        tastes: the truth.
        learner: [n] rows of the learners.
        last: [n] current course.
        previous: [n] course before the current one, -1 at a session's second step.

    Returns:
        float64 [n, courses], rows add up to 1, 0 at the current course.
    """
    row = np.arange(len(learner))
    bounce = np.where(previous >= 0, tastes.bounce[learner], 0.0)
    own = tastes.own[learner]
    weight = own_weights(tastes, learner, last)
    probability = np.zeros((len(learner), len(tastes.course_ids)))
    probability[row[:, None], own] = weight  # [n, slots]: none twice in a row, so plain assignment
    personal = tastes.personal[learner][:, None]
    probability = personal * probability + (1 - personal) * tastes.follow[last]
    law: NDArray[np.float64] = (1 - bounce)[:, None] * probability
    law[row, previous] += bounce  # previous = -1 comes with bounce = 0
    return law


def own_weights(
    tastes: Tastes, learner: NDArray[np.integer], last: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Weights of the learners' own courses without the current one, float64 [n, slots], sum 1."""
    weight = tastes.weight[learner] * (tastes.own[learner] != last[:, None])
    share: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return share
