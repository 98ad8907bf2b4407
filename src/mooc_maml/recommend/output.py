"""Answers for people and programs: a table, JSON, CSV; loads no PyTorch."""

import csv
import io
import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any
from unicodedata import combining, east_asian_width

import orjson

from mooc_maml.recommend.answers import Course, Ranked, Recommendation
from mooc_maml.recommend.bundle import BundleInfo, ModelInfo

TOLD = {
    "adapted": "adapted to your courses",
    "informed": "told of your courses",
    "plain": "not told of your earlier courses",
}
_CSV = ("learner", "rank", "course", "title", "score", "rank_before", "model", "kind", "pairs")


def table(info: BundleInfo, names: Sequence[str], answers: Sequence[Recommendation]) -> str:
    """Both lists of each learner side by side, how each course moved, and the model's worth."""
    width = max(60, min(shutil.get_terminal_size().columns, 140))
    lines: list[str] = []
    for name, answer in zip(names, answers, strict=True):
        if len(answers) > 1:
            lines += [f"Learner {_clean(name)}"]
        lines += [*_answer(info, answer, width), ""]
    models = dict.fromkeys(answer.model for answer in answers)
    found = [own for own in map(info.model, models) if own is not None]
    return "\n".join([*lines, *(worth(info, own) for own in found)])


def _answer(info: BundleInfo, answer: Recommendation, width: int) -> list[str]:
    own = info.model(answer.model)
    label, pairs = own.label if own else answer.model, _count(answer.pairs, "pair")
    what = {
        "adapted": f"{_count(answer.inner_steps, 'gradient step')} on your last {pairs}",
        "informed": f"told of your last {pairs}; takes no gradient steps",
        "plain": "looks at the last session alone",
    }[answer.kind]
    if answer.kind != "plain" and not answer.pairs:
        what = "zero-shot, since there is no pair to learn from"
    head = f"{label}: {what}"
    if answer.model == "popularity" and not answer.pairs:
        head = f"{label}: the same for everybody"
    if answer.kind == "plain" or not answer.pairs:
        return [
            head,
            *(f"{_rank(own)}  {_fit(_name(own.course), width - 5)}" for own in answer.after),
        ]
    column = (width - 4) // 2
    after = "adapted" if answer.kind == "adapted" else "told of your courses"
    lines = [head, f"     {_pad('zero-shot', column - 5)}  {after}"]
    for left, right in zip_longest(answer.before, answer.after):
        first = "" if left is None else f"{_rank(left)}  {_fit(_name(left.course), column - 6)}"
        lines.append(f"{_pad(first, column)}  {_moved_line(right, column)}".rstrip())
    return lines


def _moved_line(own: Ranked | None, width: int) -> str:
    if own is None:
        return ""
    way = moved(own)
    return f"{_rank(own)}  {_pad(_fit(_name(own.course), width - 16), width - 15)} {way}"


def moved(own: Ranked) -> str:
    """How a course moved by being told: ↑ 3 (from 4)."""
    way = own.rank_before - own.rank
    if not way:
        return "="
    return f"{'↑' if way > 0 else '↓'} {abs(way)} (from {own.rank_before})"


def worth(info: BundleInfo, model: ModelInfo) -> str:
    """What the model is worth on the test learners, and how sure that is."""
    own, data = model.metrics["HR@10"], info.data
    ndcg = model.metrics["NDCG@10"]
    words = (
        f"{model.label}: of 100 next courses of {data.learners:,} test learners, "
        f"{100 * own.mean:.0f} were among its first ten (95 %: {100 * own.low:.0f} to "
        f"{100 * own.high:.0f}); NDCG@10 {100 * ndcg.mean:.1f} % ({100 * ndcg.low:.1f} to "
        f"{100 * ndcg.high:.1f})."
    )
    return words + (
        " Synthetic data: that says nothing of real learners." if data.synthetic else ""
    )


def as_json(info: BundleInfo, names: Sequence[str], answers: Sequence[Recommendation]) -> str:
    """One JSON document: what the models are, and the answer of each learner."""
    models = dict.fromkeys(answer.model for answer in answers)
    own = [found for found in map(info.model, models) if found is not None]
    content = {
        "bundle": {"made_by": info.made_by, "synthetic": info.data.synthetic},
        "models": {
            model.name: {
                "label": model.label,
                "kind": model.kind,
                "metrics": {name: x.model_dump() for name, x in model.metrics.items()},
            }
            for model in own
        },
        "answers": [
            {"learner": name, **_plain(answer)} for name, answer in zip(names, answers, strict=True)
        ],
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(content, option=options).decode()


def _plain(answer: Recommendation) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(answer))
    return found


def as_csv(names: Sequence[str], answers: Sequence[Recommendation]) -> str:
    """A row a recommended course."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_CSV)
    for name, answer in zip(names, answers, strict=True):
        for own in answer.after:
            facts = (own.score, own.rank_before, answer.model, answer.kind, answer.pairs)
            lines.writerow((name, own.rank, own.course.id, own.course.title or "", *facts))
    return text.getvalue()


def write_courses(courses: Sequence[Course], format: str) -> None:
    """Ids and titles, to standard output."""
    if format == "json":
        sys.stdout.write(orjson.dumps(courses, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(
            [("course", "title"), *((own.id, own.title or "") for own in courses)]
        )
    else:
        width = max((_width(_clean(own.id)) for own in courses), default=0)
        for own in courses:
            print(f"{_pad(_clean(own.id), width)}  {_clean(own.title or '')}".rstrip())


def _rank(own: Ranked) -> str:
    return f"{own.rank:3}"


def _name(course: Course) -> str:
    return _clean(course.title or course.id)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _clean(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _width(text: str) -> int:
    """Columns of a terminal."""
    return sum(
        0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def _pad(text: str, width: int) -> str:
    return text + " " * max(0, width - _width(text))


def _fit(text: str, width: int) -> str:
    """Cut to so many columns, with … where something was cut."""
    if _width(text) <= width:
        return text
    found, used = "", 1
    for letter in text:
        used += _width(letter)
        if used > width:
            break
        found += letter
    return f"{found}…"
