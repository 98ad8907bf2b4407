"""The picture of one learner: steps told of, the list before adaptation, the list after it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font

from mooc_maml.evaluation.analysis_schema import ExampleLearner
from mooc_maml.report.style import COLOURS, FONT, new_figure, no_data

_LONGEST = 28  # letters of a course's name
_PREFIX = "course-v1:"  # of Open edX, which tells nothing
_RIGHT, _PLAIN = "#009E73", "#F1F3F5"


def short(course: str, longest: int = _LONGEST) -> str:
    """A course's id without Open edX's prefix; where it is long, letters in its middle left out."""
    course = course.removeprefix(_PREFIX)
    if len(course) <= longest:
        return course
    half = (longest - 1) // 2
    return f"{course[:half]}…{course[-half:]}"


def course_name(course: str, titles: Mapping[str, str], longest: int = _LONGEST) -> str:
    """A course's title, its end left out where it is long; without a title its id, see `short`."""
    title = " ".join(titles.get(course, "").split())
    if not title:
        return short(course, longest)
    return title if len(title) <= longest else f"{title[: longest - 1].rstrip(' ,')}…"


def drawn_name(course: str, titles: Mapping[str, str]) -> str:
    """The same for a picture, whose font has no letters of many a language: then the id."""
    name = course_name(course, titles)
    return name if {ord(letter) for letter in name} <= _letters() else short(course)


@cache
def _letters() -> set[int]:
    return set(get_font(findfont(FONT)).get_charmap())


def draw_example(
    example: ExampleLearner | None, source: str, path: Path, titles: Mapping[str, str]
) -> None:
    """Three columns of boxes; the course that was opened is marked in both lists.

    Args:
        example: the learner; None: there is none.
        source: the data source in words.
        path: the PNG; SVG and PDF lie beside it.
        titles: course id -> title, of courses that have one.
    """
    with new_figure(path, 9, 4.2, f"One learner, before and after adaptation · {source}") as figure:
        columns = figure.subplots(1, 3)
        for axes in columns:
            axes.axis("off")
            axes.set(xlim=(0, 1), ylim=(-6.2, 0.6))
        if example is None:
            no_data(columns[1], "no example")
            return
        steps = [drawn_name(step.next, titles) for step in example.support]
        _column(columns[0], f"{len(steps)} steps it is told of", steps[-5:], None)
        lists = (
            ("Before: first five", example.before, example.rank_before),
            ("After: first five", example.after, example.rank_after),
        )
        for axes, (title, courses, rank) in zip(columns[1:], lists, strict=True):
            words = [f"{n}. {drawn_name(course, titles)}" for n, course in enumerate(courses, 1)]
            right = courses.index(example.true_course) if example.true_course in courses else None
            _column(axes, title, words, right)
            axes.text(0, -5.6, f"opened next: rank {rank:,}", va="center", color=COLOURS["gru"])


def _column(axes: Axes, title: str, lines: list[str], right: int | None) -> None:
    axes.text(0, 0.15, title, fontweight="bold", va="center")
    for place, line in enumerate(lines):
        marked = place == right
        box = {
            "boxstyle": "round,pad=0.35",
            "facecolor": _RIGHT if marked else _PLAIN,
            "edgecolor": "none",
        }
        axes.text(
            0.02,
            -0.9 - place,
            f"{line} ✓" if marked else line,
            va="center",
            fontsize=10,
            color="white" if marked else "#1c2430",
            fontweight="bold" if marked else "normal",
            bbox=box,
            parse_math=False,
        )
