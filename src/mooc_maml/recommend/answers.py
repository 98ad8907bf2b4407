"""What is answered to somebody who asks for recommendations; plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Course:
    """A course of the catalogue; `title`: None if the bundle has none."""

    id: str
    title: str | None


@dataclass(frozen=True)
class Ranked:
    """A course in a list.

    Attributes:
        course: which.
        rank: its place in this list, from 1.
        rank_before: its place in the zero-shot list, among the same courses.
        score: in the model's own unit: comparable within a list, not between models.
    """

    course: Course
    rank: int
    rank_before: int
    score: float


@dataclass(frozen=True)
class Unknown:
    """A course that the model does not know and that was left out; `near`: ids much like it."""

    id: str
    near: tuple[Course, ...]


@dataclass(frozen=True)
class Recommendation:
    """The answer for one learner.

    Attributes:
        model: its name; "popularity" where nothing that is known of the learner can be ranked by.
        kind: "adapted" (after gradient steps on the learner's pairs), "informed" (told of the
            learner's courses, without a step) or "plain" (looks at the last session alone).
        pairs: support pairs that were used, 0: zero-shot.
        inner_steps: gradient steps that were taken.
        before: the zero-shot list: the same model, told of no support pair.
        after: the list.
        unknown: courses of the learner that were left out.
    """

    model: str
    kind: str
    pairs: int
    inner_steps: int
    before: tuple[Ranked, ...]
    after: tuple[Ranked, ...]
    unknown: tuple[Unknown, ...]
