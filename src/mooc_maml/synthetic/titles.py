"""Titles for the synthetic courses, made of words: a field for each programme, a form for each.

They are drawn by a stream of their own, so that nothing else of the platform depends on them.
"""

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path
from mooc_maml.common.randomness import generator
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.tastes import programmes

HEADER = ("course", "title (synthetic)")
_FIELDS = (
    "Linear Algebra",
    "Probability",
    "Calculus",
    "Number Theory",
    "Mechanics",
    "Thermodynamics",
    "Optics",
    "Astronomy",
    "Organic Chemistry",
    "Materials Science",
    "Cell Biology",
    "Genetics",
    "Ecology",
    "Neuroscience",
    "Public Health",
    "Circuits",
    "Control Systems",
    "Structural Engineering",
    "Programming",
    "Algorithms",
    "Databases",
    "Machine Learning",
    "Computer Networks",
    "Microeconomics",
    "Finance",
    "Accounting",
    "Entrepreneurship",
    "Law",
    "Psychology",
    "Sociology",
    "World History",
    "Philosophy",
    "Literature",
    "Linguistics",
    "Music Theory",
    "Architecture",
)
_FORMS = (
    "Introduction to {}",
    "{} I",
    "{} II",
    "Advanced {}",
    "{} in Practice",
    "{} Laboratory",
    "Topics in {}",
    "Foundations of {}",
    "History of {}",
    "{} and Society",
    "Seminar on {}",
    "{} Case Studies",
    "Exercises in {}",
    "{} for Engineers",
    "{} for Teachers",
    "Problems of {}",
)


def course_titles(params: SyntheticParams, seed: int) -> list[str]:
    """A title for each course of the platform, none twice; the same arguments, the same titles."""
    rng = generator(seed, "synthetic titles")
    programme = programmes(params, generator(seed, "synthetic platform"))
    field, forms = rng.permutation(len(_FIELDS)), rng.permuted(_many_forms(), axis=1)
    made: dict[int, int] = {}  # programme -> titles made
    found = []
    for own in programme.tolist():
        number = made[own] = made.get(own, -1) + 1
        lap, row = divmod(own, len(_FIELDS))
        part, column = divmod(number, len(_FORMS))
        title = _FORMS[forms[row, column]].format(_FIELDS[field[row]])
        found.append(title + _part("Track", lap) + _part("Part", part))
    return found


def _many_forms() -> NDArray[np.int64]:
    return np.tile(np.arange(len(_FORMS)), (len(_FIELDS), 1))


def _part(word: str, number: int) -> str:
    return f", {word} {number + 1}" if number else ""


def write_titles(path: Path, course_ids: NDArray[np.str_], titles: list[str]) -> None:
    """Write a CSV of two columns, course id and title, in the order of the ids."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEADER)
    lines.writerows(sorted(zip(course_ids.tolist(), titles, strict=True)))
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
