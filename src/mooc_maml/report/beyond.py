"""The report's table of measures beyond accuracy."""

from typing import Any

from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import NOTHING, percent

COLUMNS = {
    "coverage": "courses shown to anybody",
    "novelty": "novelty, bits",
    "diversity_between": "lists differ between learners",
    "diversity_within": "courses differ within a list",
    "popularity_ratio": "popularity, shown ÷ opened",
    "popularity_deviation": "deviation from the learner's own mix",
}
_AS_NUMBERS = ("novelty", "popularity_ratio", "popularity_deviation")


def beyond_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """Model by measure as text, in the order of the main table."""
    if inputs.analysis is None:
        return []
    known = {row.model: row for row in inputs.analysis.beyond_accuracy}
    return [
        {
            "name": row.name,
            "label": label_of(row.name),
            "cells": [_text(name, getattr(known[row.name], name)) for name in COLUMNS],
        }
        for row in inputs.rows()
        if row.name in known
    ]


def _text(name: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.2f}" if name in _AS_NUMBERS else percent(value)
