"""What is told of learners, checked and turned into course numbers."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.answers import Unknown
from mooc_maml.recommend.bundle import Rules
from mooc_maml.recommend.catalogue import Catalogue

_EXPECTED = "expected learner -> sessions, oldest first -> course ids, oldest first"
_MOST_NEAR = 20  # unknown ids of one call for which near misses are looked up


class Learners(NamedTuple):
    """Learners as numbers; both lists have one entry a learner.

    Attributes:
        sessions: courses 1..C; no session is empty, but a learner may have none.
        unknown: ids that were left out, each once.
    """

    sessions: list[list[list[int]]]
    unknown: list[tuple[Unknown, ...]]


def read_learners(learners: Any, catalogue: Catalogue, rules: Rules) -> Learners:
    """Check and number what `Recommender.recommend` is given.

    Raises:
        UserError: it is not of the form that is expected; the message names the place.
    """
    near: dict[str, Unknown] = {}
    found = Learners([], [])
    for number, learner in enumerate(_listed(learners, "learners"), 1):
        sessions: list[list[int]] = []
        unknown: dict[str, Unknown] = {}
        for place, session in enumerate(_listed(learner, f"learner {number}"), 1):
            ids = _listed(session, f"learner {number}, session {place}")
            own = _all_known(ids, catalogue)
            if own is None:
                own = []
                for id in ids:
                    course = catalogue.number.get(_id(id, number, place))
                    if course is None:
                        unknown[str(id)] = _unknown(str(id), catalogue, near)
                    else:
                        own.append(course)
            if rules.drop_consecutive_repeats:
                own = [course for course, _ in groupby(own)]
            if own:
                sessions.append(own)
        found.sessions.append(sessions)
        found.unknown.append(tuple(unknown.values()))
    return found


def _listed(value: Any, place: str) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise UserError(f"{place}: found {str(value)[:40]!r}, {_EXPECTED}")
    return value


def _all_known(ids: Sequence[Any], catalogue: Catalogue) -> list[int] | None:
    """Their numbers; None: one is not known, or not even a text. What is common goes fast."""
    try:
        own = [catalogue.number[id] for id in ids]
    except (KeyError, TypeError):  # TypeError: a list in place of an id
        return None
    return own


def _id(value: Any, learner: int, session: int) -> str:
    """A course id; a whole number stands for its digits, as JSON and tables may have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise UserError(
        f"learner {learner}, session {session}: found {str(value)[:40]!r} in place of a course id; "
        "expected a text"
    )


def _unknown(id: str, catalogue: Catalogue, near: dict[str, Unknown]) -> Unknown:
    if id not in near:
        near[id] = catalogue.unknown(id) if len(near) < _MOST_NEAR else Unknown(id, ())
    return near[id]
