"""One question, asked of a model for many learners at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mooc_maml.episodes.examples import Examples, groups_by_size
from mooc_maml.episodes.sequences import Sessions, from_sequences
from mooc_maml.recommend.answers import Ranked, Recommendation
from mooc_maml.recommend.bundle import ModelInfo, Rules
from mooc_maml.recommend.catalogue import Catalogue
from mooc_maml.recommend.lists import TopLists, top_lists
from mooc_maml.recommend.offer import Offer
from mooc_maml.recommend.served import Served
from mooc_maml.recommend.told import Learners

_AT_ONCE = 1024  # learners made to examples together, as in testing
_NO_LIST: tuple[Ranked, ...] = ()


@dataclass(frozen=True)
class Question:
    """What is asked, checked; see `Recommender.recommend`.

    `of_nobody` answers for learners of whom no known course is told.
    """

    info: ModelInfo
    model: Served
    of_nobody: Served | None
    catalogue: Catalogue
    rules: Rules
    offer: Offer
    top: int
    inner_steps: int | None
    pairs: int


@torch.inference_mode()
def answers(question: Question, learners: Learners) -> list[Recommendation]:
    """The answer for each learner, in their order."""
    known = [i for i, sessions in enumerate(learners.sessions) if sessions]
    found: dict[int, Recommendation] = {}
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE]
        size, courses = question.pairs, len(question.catalogue)
        made = groups(question.rules, size, courses, learners.sessions, part)
        for own, support, query in made:
            found |= _of_group(question, learners, own, support, query)
    nobody = _of_nobody(question) if len(known) < len(learners.sessions) else _NO_LIST
    for i, unknown in enumerate(learners.unknown):
        if i not in found:
            found[i] = Recommendation("popularity", "plain", 0, 0, nobody, nobody, unknown)
    return [found[i] for i in range(len(learners.sessions))]


def groups(
    rules: Rules,
    pairs: int,
    num_courses: int,
    learners: Sequence[Sessions],
    part: Sequence[int],
) -> Iterator[tuple[list[int], Examples, Examples]]:
    """Some learners, those of similar size together, as in testing.

    Args:
        rules: how they are read.
        pairs: support pairs, at most.
        num_courses: C.
        learners: sessions of all.
        part: places of those that are wanted.

    Returns:
        Places in `learners`, support pairs, and the pairs asked for.
    """
    told = from_sequences(
        [learners[i] for i in part], pairs, rules.max_prefix_length, num_courses, rules.reliability
    )
    for who, support, query in told:
        tasks = list(range(len(who)))
        if len(tasks) == 1:
            yield [part[who[0]]], support, query
            continue
        for group in groups_by_size(support, query, tasks, rules.tasks_at_once):
            own = [part[i] for i in who[group].tolist()]
            yield own, support.take(group), query.take(group)


def _of_group(
    question: Question, learners: Learners, own: list[int], support: Examples, query: Examples
) -> dict[int, Recommendation]:
    """Learner -> answer, of learners with equally many support pairs."""
    model, info, size = question.model, question.info, support.label.shape[1]
    told = info.kind != "plain" and size > 0
    before, after = (
        model.both(support, query, question.inner_steps) if told else (model.before(query), None)
    )
    sessions = [learners.sessions[i] for i in own]
    left_out = question.offer.marks(sessions, support, query)
    first = before[:, 0]
    lists_before = _lists(question, top_lists(first, None, left_out, question.top))
    lists_after = lists_before
    if after is not None:
        lists_after = _lists(question, top_lists(after[:, 0], first, left_out, question.top))
    steps = _steps(question, support) if told else [0] * len(own)
    return {
        learner: Recommendation(
            info.name,
            info.kind,
            size if told else 0,
            steps[task],
            lists_before[task],
            lists_after[task],
            learners.unknown[learner],
        )
        for task, learner in enumerate(own)
    }


def _steps(question: Question, support: Examples) -> list[int]:
    if question.inner_steps is not None:
        return [question.inner_steps] * support.num_tasks
    return question.model.steps(support)


def _of_nobody(question: Question) -> tuple[Ranked, ...]:
    """The list of a learner of whom nothing is known."""
    if question.of_nobody is None:
        return _NO_LIST
    told = from_sequences([[[1]]], 0, 1, len(question.catalogue))
    (_, _, query) = told[0]
    scores: Tensor = question.of_nobody.before(query)[:, 0]
    common = question.offer.left_out
    left_out = None if common is None else common[None]
    return _lists(question, top_lists(scores, None, left_out, question.top))[0]


def _lists(question: Question, found: TopLists) -> list[tuple[Ranked, ...]]:
    """As courses; places for which none is left are not there."""
    courses = question.catalogue.courses
    lists = []
    for own, scores, places in zip(*(x.tolist() for x in found), strict=True):
        left = len(scores) - scores.count(-torch.inf)  # those stand behind all others
        ranks = range(1, left + 1)
        named = [courses[course - 1] for course in own[:left]]
        lists.append(tuple(map(Ranked, named, ranks, places, scores)))
    return lists
