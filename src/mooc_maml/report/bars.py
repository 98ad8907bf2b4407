"""The page's main picture, a bar a model: HTML, which fits every width and colour scheme."""

import math
from typing import Any

from mooc_maml.report.findings import interval
from mooc_maml.report.headline import HEADLINE, headline_rows
from mooc_maml.report.inputs import Inputs
from mooc_maml.report.words import percent

_KINDS = {"few_shot": "ours", "zero_shot": "ours", "oracle": "bound"}


def main_bars(inputs: Inputs) -> list[dict[str, Any]]:
    """Label, figure and interval of the models of the first screen, with lengths in percent."""
    rows = [(row, row.measures[HEADLINE]) for row in headline_rows(inputs)]
    ends = [x for _, m in rows for x in (m.value, m.high) if math.isfinite(x)]
    longest = max([0.01, *ends])
    return [
        {
            "label": row.label,
            "kind": "ours" if row.name.endswith("few_shot") else _KINDS.get(row.name, "other"),
            "value": percent(measure.value),
            "interval": interval(measure) if measure.has_interval else "",
            "length": _length(measure.value, longest),
            "low": _length(measure.low, longest),
            "span": _length(measure.high - measure.low, longest),
        }
        for row, measure in rows
    ]


def funnel(inputs: Inputs) -> list[dict[str, Any]]:
    """From raw events to queries: a count a line, with what it counts."""
    raw, tested = inputs.preprocess, inputs.maml
    lines = [
        (raw.raw_events, "events in the raw files"),
        (raw.events_in_sessions, "events in sessions that were kept"),
        (raw.sessions, "sessions"),
        (raw.pairs, "pairs: the courses of a session so far, and the next one"),
        (raw.learners_with_pairs, "learners with pairs"),
        (tested.learners, "test learners with pairs enough"),
        (tested.queries, "queries that every model answered"),
    ]
    return [
        {"count": "n.a." if number is None else f"{number:,}", "words": words}
        for number, words in lines
    ]


def _length(value: float, longest: float) -> str:
    """Share of the longest bar in percent, as CSS wants it."""
    return f"{100 * value / longest:.2f}" if math.isfinite(value) else "0"
