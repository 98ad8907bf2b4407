"""What the ablations say of both meta-models: fewer and more support pairs and inner steps.

The sentences follow from a rule: the largest value asked for against 0, in the metric that the
settings choose by. It counts if its paired 95 % interval over learners leaves out 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.evaluation.curves_schema import OfInnerSteps, OfSupportSize
from mooc_maml.evaluation.schema import METRICS
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import between, change, count, percent, points, verdict

Row = OfSupportSize | OfInnerSteps


@dataclass(frozen=True)
class Ablation:
    """One setting's part of the ablations.

    Attributes:
        name: of the table.
        column: the setting's in it.
        title: its name for people.
        chosen: model -> the value that the run uses elsewhere, where it is one for all learners.
        rows: by model, then by value from 0 up.
        words: what the largest value is against 0, with {count} for the number and its unit.
        unit: of the values, one and many.
    """

    name: str
    column: str
    title: str
    chosen: dict[str, int]
    rows: tuple[Row, ...]
    words: str
    unit: tuple[str, str]

    def models(self) -> dict[str, list[Row]]:
        """Model -> its rows."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.model, []).append(row)
        return found


def ablations(inputs: Inputs) -> dict[str, Ablation]:
    """Name of the figure -> the ablation."""
    found, pairs = inputs.ablations, inputs.params.episodes.support_size
    steps = {"few_shot": inputs.steps}
    if (second := inputs.of_tuned()) is not None:
        steps[TUNED[0]] = second.steps
    return {
        "ablation_support_size": Ablation(
            name="support_sizes",
            column="support_size",
            title="Support pairs",
            chosen=dict.fromkeys(("few_shot", TUNED[0]), pairs),
            rows=_sorted(found.support_sizes),
            words="being given {count} rather than none",
            unit=("support pair", "support pairs"),
        ),
        "ablation_inner_steps": Ablation(
            name="inner_steps",
            column="inner_steps",
            title="Inner steps",
            chosen={model: own[0] for model, own in steps.items() if len(own) == 1},
            rows=_sorted(found.inner_steps),
            words="taking {count} rather than none, told of the same "
            f"{count(pairs, 'pair', 'pairs')} either way,",
            unit=("gradient step", "gradient steps"),
        ),
    }


def _sorted(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Models in the order of the file, each by its values."""
    order = list(dict.fromkeys(row.model for row in rows))
    return tuple(sorted(rows, key=lambda row: (order.index(row.model), row.value)))


def ablation_tables(inputs: Inputs) -> list[dict[str, Any]]:
    """For the page: a table a setting, a group of rows a model, a row a value."""
    return [
        {
            "title": own.title,
            "figure": figure,
            "models": {
                label_of(model): [_cells(row) for row in rows]
                for model, rows in own.models().items()
            },
        }
        for figure, own in ablations(inputs).items()
    ]


def _cells(row: Row) -> dict[str, Any]:
    gain = row.change
    return {
        "value": row.value,
        "cells": [percent(row[metric]) for metric in METRICS],
        "change": points(gain.difference, unit=False) if gain else "",
        "interval": between(gain.low, gain.high) if gain else "",
    }


def ablation_texts(inputs: Inputs) -> dict[str, str]:
    """Name of the figure -> what it says, a sentence a model."""
    metric = inputs.ablations.judged_by
    return {
        name: " ".join(
            _sentence(own, label_of(model), rows, metric) for model, rows in own.models().items()
        ).strip()
        for name, own in ablations(inputs).items()
    }


def _sentence(own: Ablation, label: str, rows: Sequence[Row], metric: str) -> str:
    first, last = rows[0], rows[-1]
    if (gain := last.change) is None:  # nothing but 0
        return ""
    words = own.words.format(count=count(last.value, *own.unit))
    worth = verdict(gain.sign, change(gain.difference, gain.low, gain.high))
    return (
        f"{label}: {words} {worth}; {metric} goes from {percent(first[metric])} to "
        f"{percent(last[metric])}."
    )
