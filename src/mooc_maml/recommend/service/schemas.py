"""What is asked and answered, as types: the OpenAPI page is made of them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LEARNERS = 256  # of a request
COURSES = 1000  # of a learner, in all sessions
TOP = 1000  # courses of a list
LISTED = 20_000  # courses of all lists of an answer
INNER_STEPS = 20
IDS = 100_000  # in `exclude` and `only`
CourseId = Annotated[str, Field(min_length=1, max_length=200)]
Courses = Annotated[list[CourseId], Field(max_length=COURSES)]
Model = Annotated[str, Field(min_length=1, max_length=100)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Learner(_Asked):
    """A learner's history, oldest course first: one session as `courses`, or several `sessions`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["courses"]}, {"required": ["sessions"]}]}
    )

    courses: Courses = Field(default_factory=list, examples=[["C001", "C002", "C003"]])
    sessions: list[Courses] = Field(default_factory=list, max_length=COURSES)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give either courses or sessions")
        if sum(map(len, self.history)) > COURSES:
            raise ValueError(f"a learner has at most {COURSES} courses")
        return self

    @property
    def history(self) -> list[list[str]]:
        """The sessions."""
        return self.sessions if "sessions" in self.model_fields_set else [self.courses]


class Question(_Asked):
    """A list of courses for each learner.

    `exclude`: courses to leave out of the lists: `seen` (the learner's own), `none`, or ids; null:
    as in the model's training. `only`: the courses on offer; null: all. `inner_steps`: gradient
    steps on the learner's own pairs; null: as many as the model was trained for. `pairs`: how many
    of the learner's latest pairs the model is told of, 0: none; null: as many as in its test.
    `why`: of one learner, where each listed course would stand without one of the learner's.
    """

    learners: list[Learner] = Field(min_length=1, max_length=LEARNERS)
    top: int = Field(default=10, ge=1, le=TOP)
    model: Model | None = None
    exclude: Literal["none", "seen"] | Annotated[list[CourseId], Field(max_length=IDS)] | None = (
        None
    )
    only: Annotated[list[CourseId], Field(min_length=1, max_length=IDS)] | None = None
    inner_steps: int | None = Field(default=None, ge=0, le=INNER_STEPS)
    pairs: int | None = Field(default=None, ge=0, le=COURSES)
    why: bool = False

    @model_validator(mode="after")
    def _no_more_than_allowed(self) -> Self:
        if self.why and len(self.learners) != 1:
            raise ValueError("why is answered for one learner at a time")
        if len(self.learners) * self.top > LISTED:
            raise ValueError(f"learners times top is at most {LISTED}")
        return self


class _Answered(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CourseOut(_Answered):
    """A course; `title` is null where the bundle has none."""

    id: str
    title: str | None


class Reason(_Answered):
    """Where a listed course would stand had the learner not opened `without`.

    `rank`: null: beyond what was asked of the model.
    """

    without: CourseOut
    rank: int | None


class RankedOut(_Answered):
    """A listed course; `rank_before`: where it stood before the model knew of the learner's pairs.

    `score`: the model's own number, comparable within one list only.
    """

    course: CourseOut
    rank: int
    rank_before: int
    score: float | None
    why: list[Reason] | None = None


class UnknownOut(_Answered):
    """A course that the model does not know and that was left out; `near`: the likeliest meant."""

    id: str
    near: list[CourseOut]


class RecommendationOut(_Answered):
    """The lists of one learner.

    `kind`: `adapted` by gradient steps, `informed` (told of the learner's courses), or `plain`.
    `pairs`: of the learner's own that the model used. `before`: the list without them.
    """

    model: str
    kind: Literal["adapted", "informed", "plain"]
    pairs: int
    inner_steps: int
    before: list[RankedOut]
    after: list[RankedOut]
    unknown: list[UnknownOut]


class Answer(_Answered):
    """One recommendation for each learner, in the order that they were asked in."""

    bundle: str
    recommendations: list[RecommendationOut]


class CoursesAnswer(_Answered):
    """Courses found, the best first."""

    courses: list[CourseOut]


class ReloadAnswer(_Answered):
    """`bundle`: what is served from now on."""

    bundle: str
    changed: bool


class Health(_Answered):
    """`bundle`: what is served."""

    status: Literal["ok"]
    bundle: str
