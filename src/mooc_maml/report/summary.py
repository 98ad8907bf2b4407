"""The result as a small table for the terminal, and as content of report.json."""

import math
from typing import Literal

from mooc_maml.common.results import Result
from mooc_maml.evaluation.curves_schema import OfInnerSteps, OfSupportSize
from mooc_maml.evaluation.schema import METRICS, Differences, Metrics
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs
from mooc_maml.report.words import percent
from mooc_maml.settings.evaluation import MetricName


class ReportedAblations(Result):
    """Both meta-models by the number of support pairs and of inner steps."""

    judged_by: MetricName
    support_sizes: list[OfSupportSize]
    inner_steps: list[OfInnerSteps]


class ReportedFinding(Result):
    """One thing that the numbers say, in words."""

    kind: Literal["finding", "warning"]
    name: str
    text: str


class ReportResult(Result):
    """report.json: metrics as fractions, paired differences, and the findings in words.

    `validation`: what models are ordered by, of the metric that the settings choose by.
    """

    data_source: str
    synthetic: bool
    method: str
    learners: int
    queries: int
    metrics: dict[str, Metrics]
    intervals_95: dict[str, dict[MetricName, tuple[float, float]]]
    improvement_over_gru_percent: dict[MetricName, float | None]
    validation: dict[str, float]
    strongest_baseline: str
    differences: Differences
    controls: Differences
    test_reads: dict[str, int]
    ablations: ReportedAblations
    findings: list[ReportedFinding]


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
    title = f"{inputs.method}, {inputs.maml.learners} test learners, {inputs.source_label}"
    return "\n".join([title, head, *lines])


def report(inputs: Inputs, findings: list[Finding]) -> ReportResult:
    """The content of report.json."""
    maml, ablations = inputs.maml, inputs.ablations
    known = {row.name: row.validation for row in inputs.rows()}
    return ReportResult(
        data_source=maml.data_source,
        synthetic=maml.synthetic,
        method=inputs.method,
        learners=maml.learners,
        queries=maml.queries,
        metrics=maml.models,
        intervals_95=maml.intervals_95,
        improvement_over_gru_percent=maml.improvement_over_gru_percent,
        validation={name: value for name, value in known.items() if math.isfinite(value)},
        strongest_baseline=maml.strongest_baseline,
        differences=maml.differences,
        controls=inputs.controls.differences,
        test_reads=inputs.test_reads,
        ablations=ReportedAblations(
            judged_by=ablations.judged_by,
            support_sizes=ablations.support_sizes,
            inner_steps=ablations.inner_steps,
        ),
        findings=[
            ReportedFinding(kind=finding.kind, name=finding.name, text=finding.text)
            for finding in findings
        ],
    )
