"""Whether stated probabilities come true: the sentence, the table, and what can be read on."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from mooc_maml.evaluation.analysis_schema import Calibration, Gap
from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import NOTHING, between, change, percent, points
from mooc_maml.settings.composites_section import ADAPTED

_IN_WORDS = ("few_shot", TUNED[0], ADAPTED[0], "gru")
_VERDICTS = {1: "over-confident", 0: "no difference beyond chance", -1: "under-confident"}
_OPENING = (
    "Whether stated probabilities can be believed (in brackets 95 % intervals): of the course that "
    "it puts first, "
)
COLUMNS = (
    *("first course", "stated − right"),
    *("one of the first ten", "stated − right"),
    *("calibration error", "log loss, nats"),
)


def calibrations(inputs: Inputs) -> dict[str, Calibration]:
    """Model -> what was measured, of the models that state probabilities, as in the main table."""
    rows = inputs.analysis.calibration if inputs.analysis else []
    known = {row.model: row for row in rows}
    return {row.name: known[row.name] for row in inputs.rows() if row.name in known}


def calibration_words(inputs: Inputs, models: Iterable[str] = _IN_WORDS) -> str:
    """A sentence a model, by a rule from the gap of its first course; "" where none is known."""
    known = calibrations(inputs)
    told = [_sentence(known[name]) for name in models if name in known]
    return f"{_OPENING}{' '.join(told)}" if told else ""


def _sentence(row: Calibration) -> str:
    own = row.first
    verdict = "cannot be told" if own.low is None else _VERDICTS[own.sign]
    return (
        f"{label_of(row.model)} says {percent(own.stated)} and is right in {percent(own.right)}: "
        f"{verdict}, {change(own.difference, own.low, own.high)}{_within(row)}."
    )


def _within(row: Calibration) -> str:
    """What a mean of 0 hides: too sure of some courses and not sure enough of others."""
    if row.first.low is None or row.first.sign or not row.ece_low:  # 0: chance may have made it
        return ""
    error, by_chance = percent(row.ece), percent(row.ece_by_chance)
    return (
        ", on average; but too sure of some courses and not sure enough of others: calibration "
        f"error {error}, {by_chance} by chance"
    )


def calibration_findings(inputs: Inputs) -> list[Finding]:
    """The same for the list of findings."""
    text = calibration_words(inputs)
    return [Finding("finding", "calibration", text)] if text else []


def calibration_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """Model by column as lines of text, the first of a cell in full size."""
    return [
        {
            "name": name,
            "label": label_of(name),
            "cells": [*_gap(row.first), *_gap(row.first_ten), _error(row), _loss(row)],
        }
        for name, row in calibrations(inputs).items()
    ]


def _gap(own: Gap) -> list[list[str]]:
    difference = [points(own.difference, unit=False), between(own.low, own.high)]
    if own.sign:
        difference.append(_VERDICTS[own.sign])
    return [[f"stated {percent(own.stated)}", f"right {percent(own.right)}"], difference]


def _error(row: Calibration) -> list[str]:
    low, high = row.ece_low, row.ece_high
    ends = NOTHING if low is None or high is None else f"{100 * low:.1f}–{percent(high)}"
    return [percent(row.ece), ends, f"by chance {percent(row.ece_by_chance)}"]


def _loss(row: Calibration) -> list[str]:
    low, high = row.log_loss_low, row.log_loss_high
    ends = NOTHING if low is None or high is None else f"{low:.2f}–{high:.2f}"
    return [f"{row.log_loss:.2f}", ends]


def without_law(inputs: Inputs) -> str:
    """Models whose scores only order courses, as a list in words."""
    rows = inputs.analysis.beyond_accuracy if inputs.analysis else []
    known = calibrations(inputs)
    return ", ".join(label_of(row.model) for row in rows if row.model not in known)


def calibration_table(inputs: Inputs) -> pd.DataFrame:
    """A row a model: all measures but the bins."""
    rows = []
    for row in calibrations(inputs).values():
        content = row.model_dump(exclude={"bins", "first", "first_ten"})
        for name in ("first", "first_ten"):
            content |= {f"{name}_{key}": x for key, x in getattr(row, name).model_dump().items()}
        rows.append(content)
    return pd.DataFrame(rows)


def calibration_bins(inputs: Inputs) -> pd.DataFrame:
    """A row a bin: what the figure is drawn from, of every model."""
    return pd.DataFrame(
        [
            {"model": name, "bin": place, **own.model_dump()}
            for name, row in calibrations(inputs).items()
            for place, own in enumerate(row.bins, 1)
        ]
    )
