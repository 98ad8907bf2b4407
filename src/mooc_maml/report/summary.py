"""The result as a small table for the terminal, and as content of report.json."""

import math
from typing import Any

from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import METRICS, Inputs
from mooc_maml.report.words import percent


def terminal_table(inputs: Inputs) -> str:
    """Models by metrics in percent, as lines of plain text."""
    rows = inputs.rows()
    width = max(len(row.label) for row in rows)
    head = " " * width + "".join(f"{metric:>10}" for metric in METRICS)
    lines = [
        f"{row.label:<{width}}"
        + "".join(f"{percent(row.measures[metric].value):>10}" for metric in METRICS)
        for row in rows
    ]
    learners = inputs.maml.get("learners", "n.a.")
    title = f"{inputs.method}, {learners} test learners, {inputs.source_label}"
    return "\n".join([title, head, *lines])


def report(inputs: Inputs, findings: list[Finding]) -> dict[str, Any]:
    """Metrics (fractions) and findings, the content of report.json."""
    rows = inputs.rows()
    return {
        "data_source": inputs.maml["data_source"],
        "synthetic": inputs.synthetic,
        "method": inputs.method,
        "learners": inputs.maml.get("learners"),
        "queries": inputs.maml.get("queries"),
        "metrics": {
            row.name: {metric: row.measures[metric].value for metric in METRICS} for row in rows
        },
        "intervals_95": {
            row.name: {
                metric: [row.measures[metric].low, row.measures[metric].high] for metric in METRICS
            }
            for row in rows
            if any(measure.has_interval for measure in row.measures.values())
        },
        "improvement_over_gru_percent": inputs.maml.get("improvement_over_gru_percent"),
        "validation": {row.name: row.validation for row in rows if math.isfinite(row.validation)},
        "strongest_baseline": inputs.maml.get("strongest_baseline"),
        "significance": inputs.maml.get("significance"),
        "controls": inputs.controls["comparisons"],
        "test_set_readings": inputs.readings,
        "ablations": {key: inputs.ablations[key] for key in ("support_sizes", "inner_steps")},
        "findings": [
            {"kind": finding.kind, "name": finding.name, "text": finding.text}
            for finding in findings
        ],
    }
