"""Why a course stands where it stands: where it would stand without one of the learner's own."""

from collections.abc import Callable, Sequence

from mooc_maml.recommend.answers import Recommendation

Sessions = Sequence[Sequence[str]]
# (histories, courses in each list) -> one recommendation for each history
Ask = Callable[[Sequence[Sessions], int], Sequence[Recommendation]]
Reasons = dict[str, list[tuple[str, int | None]]]  # listed course -> (left out, its rank then)


def reasons(
    ask: Ask, history: Sessions, listed: Recommendation, *, courses: int, deep: int
) -> Reasons:
    """For each listed course, the learner's courses whose absence moves it most, first.

    A course is left out of the whole history, so that both what the model adapts on and what it
    continues lack it. It is what the model does, not what would have happened to the learner.

    Args:
        ask: the model, with all that was asked of it besides.
        history: of the learner.
        listed: the answer to explain.
        courses: at most so many are left out, the latest.
        deep: ranks beyond this are not known: None.
    """
    own = _latest(history, courses)
    if not own:
        return {}
    answers = ask([_without(history, course) for course in own], deep)
    ranks = [{row.course.id: row.rank for row in answer.after} for answer in answers]
    found: Reasons = {}
    for row in listed.after:
        course, rank = row.course.id, row.rank
        moved = [(left_out, there.get(course)) for left_out, there in zip(own, ranks, strict=True)]
        found[course] = sorted(moved, key=lambda x: -abs((x[1] or deep + 1) - rank))
    return found


def _latest(history: Sessions, courses: int) -> list[str]:
    """Different courses of a history, the latest first."""
    told = [course for session in history for course in session]
    return list(dict.fromkeys(reversed(told)))[:courses]


def _without(history: Sessions, course: str) -> list[list[str]]:
    return [[own for own in session if own != course] for session in history]
