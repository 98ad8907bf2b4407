"""What is asked over HTTP, answered by the recommender; the framework reads the types."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.answers import Course, Ranked, Recommendation
from mooc_maml.recommend.recommender import Recommender
from mooc_maml.recommend.service.about import ModelAnswer, about, offered, revision
from mooc_maml.recommend.service.desk import Desk
from mooc_maml.recommend.service.errors import Refused
from mooc_maml.recommend.service.metrics import Metrics
from mooc_maml.recommend.service.schemas import (
    Answer,
    CourseOut,
    CoursesAnswer,
    Health,
    Question,
    RankedOut,
    Reason,
    RecommendationOut,
    ReloadAnswer,
    UnknownOut,
)
from mooc_maml.recommend.service.settings import ServiceSettings
from mooc_maml.recommend.service.why import Ask, Sessions, reasons

Reload = Callable[[], Awaitable[ReloadAnswer]]
_DEEP = 1000  # ranks that `why` looks for
_LATER = {"Retry-After": "5"}
# Learners times (pairs times inner steps) squared, which the time of adapting grows with; what 256
# learners cost by default, with five pairs and five steps, is a sixteenth of it.
WORK = 2_560_000
_WHY = 20  # courses of the learner that `why` leaves out, the latest


class Api:
    """The answers; one object a worker.

    Args:
        recommender: what is asked; its models are read already.
        settings: of the service.
        metrics: what the worker counts.
        reload: reads the bundle from scratch and serves it; None: nothing here can.
    """

    def __init__(
        self,
        recommender: Recommender,
        settings: ServiceSettings,
        metrics: Metrics,
        reload: Reload | None,
    ) -> None:
        self._recommender, self._metrics, self._reload = recommender, metrics, reload
        self._desk = Desk(settings.limits)
        self._bundle = revision(recommender)
        models = offered(recommender, settings.with_learners)
        self._about = about(recommender.bundle, self._bundle, models)
        self._models = models

    async def recommend(self, question: Question) -> Answer:
        """Lists of courses for one learner or many."""
        if question.model is not None and question.model not in self._models:
            raise Refused(
                422, "no_model", f"no such model; there are {', '.join(self._models)}", "body.model"
            )
        self._check_work(question)
        return await self._desk.run(lambda: self._answer(question))

    async def courses(
        self,
        search: Annotated[str, Query(max_length=200, description="Part of an id or title")] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> CoursesAnswer:
        """Courses by id or title, near misses too; the first of all where nothing is searched."""
        if search.strip():
            found = await self._desk.run(lambda: self._recommender.search(search, limit))
        else:
            found = self._recommender.catalogue.courses[:limit]
        return CoursesAnswer(courses=[_course(course) for course in found])

    async def model(self) -> ModelAnswer:
        """What is served: the bundle, its models, their metrics and what they are worth."""
        return self._about

    async def health(self) -> Health:
        """Whether the worker is alive; needs no key."""
        return Health(status="ok", bundle=self._bundle)

    async def metrics(self) -> Response:
        """Counts and times in Prometheus' text format."""
        return Response(self._metrics.exposition(), media_type="text/plain; version=0.0.4")

    async def reload(self) -> ReloadAnswer:
        """Serve the bundle as it is now on the disk; if it cannot be read, the old one stays."""
        if self._reload is None:
            raise Refused(503, "no_reload", "this process cannot reload", headers=_LATER)
        return await self._reload()

    def _check_work(self, question: Question) -> None:
        """A few bytes shall not keep a worker for minutes, long after the caller has gone."""
        bundle = self._recommender.bundle
        model = bundle.model(question.model or bundle.default_model)
        if model is None or model.adaptation is None or model.adaptation.zero_shot:
            return
        own_steps, own_pairs = model.adaptation.num_inner_steps, bundle.rules.support_size
        steps = own_steps if question.inner_steps is None else question.inner_steps
        pairs = own_pairs if question.pairs is None else question.pairs
        sizes = [sum(map(len, learner.history)) for learner in question.learners]
        work = sum((min(pairs, size) * steps) ** 2 for size in sizes)
        if work * (_WHY + 1 if question.why else 1) > WORK:
            message = (
                "pairs times inner_steps, squared and summed over the learners (with why "
                f"{_WHY + 1} times), is at most {WORK}; ask for fewer"
            )
            raise Refused(422, "not_together", message, "body")

    def _answer(self, question: Question) -> Answer:
        def ask(histories: Sequence[Sessions], top: int) -> list[Recommendation]:
            return self._recommender.recommend(
                histories,
                top=top,
                model=question.model,
                exclude=question.exclude,
                only=question.only,
                inner_steps=question.inner_steps,
                pairs=question.pairs,
            )

        histories = [learner.history for learner in question.learners]
        try:
            found = ask(histories, question.top)
            shown = [_recommendation(own) for own in found]
            if question.why:
                self._add_reasons(shown[0], ask, histories[0], found[0])
        except UserError as error:
            raise Refused(422, "not_possible", str(error), "body") from None
        for own in shown:
            self._metrics.count_learners(own.model, own.kind, 1)
        return Answer(bundle=self._bundle, recommendations=shown)

    def _add_reasons(
        self,
        shown: RecommendationOut,
        ask: Ask,
        history: Sessions,
        found: Recommendation,
    ) -> None:
        catalogue = self._recommender.catalogue
        known = [[own for own in session if own in catalogue.number] for session in history]
        why = reasons(ask, known, found, courses=_WHY, deep=_DEEP)
        for row in shown.after:
            row.why = [
                Reason(without=_course(catalogue.course(catalogue.number[own])), rank=rank)
                for own, rank in why.get(row.course.id, [])
            ]


def _course(course: Course) -> CourseOut:
    return CourseOut(id=course.id, title=course.title)


def _ranked(row: Ranked) -> RankedOut:
    score = row.score if math.isfinite(row.score) else None
    return RankedOut(
        course=_course(row.course), rank=row.rank, rank_before=row.rank_before, score=score
    )


def _recommendation(own: Recommendation) -> RecommendationOut:
    return RecommendationOut.model_validate(
        {
            "model": own.model,
            "kind": own.kind,
            "pairs": own.pairs,
            "inner_steps": own.inner_steps,
            "before": [_ranked(row) for row in own.before],
            "after": [_ranked(row) for row in own.after],
            "unknown": [
                UnknownOut(id=x.id, near=[_course(course) for course in x.near])
                for x in own.unknown
            ],
        }
    )
