"""The report as one HTML page; every text is escaped by the template engine."""

import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mooc_maml.common.files import atomic_path
from mooc_maml.common.results import plain
from mooc_maml.evaluation.comparison import FINE_TUNED
from mooc_maml.evaluation.control_names import CONTROLLED, TUNED, TUNED_START, difference_name
from mooc_maml.evaluation.schema import (
    METRICS,
    Difference,
    Differences,
    SeedsResult,
)
from mooc_maml.report.ablations import ablation_tables
from mooc_maml.report.bars import funnel, main_bars
from mooc_maml.report.beyond import COLUMNS as BEYOND_COLUMNS
from mooc_maml.report.beyond import beyond_rows
from mooc_maml.report.calibration import COLUMNS as CALIBRATION_COLUMNS
from mooc_maml.report.calibration import calibration_rows, calibration_words, without_law
from mooc_maml.report.example_figure import course_name
from mooc_maml.report.figures import CAPTIONS
from mooc_maml.report.finding import Finding
from mooc_maml.report.findings import interval
from mooc_maml.report.headline import HEADLINE, answer
from mooc_maml.report.inputs import Inputs, Measure, label_of, row_of
from mooc_maml.report.repeated import seeds_table
from mooc_maml.report.where_figure import where_tables
from mooc_maml.report.words import (
    NOTHING,
    between,
    flatten,
    number,
    percent,
    points,
    signed_percent,
)
from mooc_maml.settings.composites_section import ADAPTED

FIRST_FINDINGS = 3  # the others fold away
_OF_CONTROLS = {"shuffled": "labels shuffled", "exchanged": "another's pairs"}


def write_page(
    path: Path,
    figures: Path,
    inputs: Inputs,
    findings: list[Finding],
    configuration: dict[str, Any],
    artefacts: list[dict[str, Any]],
    seeds: SeedsResult | None = None,
) -> None:
    """Write the page; it needs nothing from the network and only the figures beside it.

    Args:
        path: index.html; appears whole or not at all.
        figures: folder of the figures, linked relative to the page.
        inputs: the run's results.
        findings: what they say.
        configuration: settings and versions.
        artefacts: path, bytes and sha256 of the files that the page was made from.
        seeds: results of several seeds, if there are any.
    """
    environment = Environment(
        loader=PackageLoader("mooc_maml.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["course_name"] = partial(course_name, titles=inputs.titles)
    html = environment.get_template("page.html.j2").render(
        **_results(inputs),
        sentences=[_unbroken(text) for text in answer(inputs, seeds).sentences],
        first_findings=_shown(findings[:FIRST_FINDINGS]),
        other_findings=_shown(findings[FIRST_FINDINGS:]),
        figures=_figures(Path(os.path.relpath(figures, path.parent))),
        settings=flatten(configuration["settings"]),
        provenance=_provenance(configuration),
        artefacts=artefacts,
        seeds=None if seeds is None else seeds_table(seeds),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _unbroken(text: str) -> str:
    """A figure and its sign stay on one line."""
    return text.replace(" %", "\u00a0%")


def _shown(findings: list[Finding]) -> list[Finding]:
    return [replace(each, text=_unbroken(each.text)) for each in findings]


def _provenance(configuration: dict[str, Any]) -> list[tuple[str, str]]:
    """What a result can be traced by, as (name, text)."""
    code, versions = configuration["code"], configuration["versions"]
    lines = [("seed", str(configuration["seed"])), ("threads", str(configuration["threads"]))]
    lines += [(f"code: git tree of {folder}/", name) for folder, name in code.items()]
    for kind in ("raw", "pairs"):
        hashes = configuration[f"{kind}_sha256"] or {}
        lines += [(f"{kind} file {name}", f"sha256 {digest}") for name, digest in hashes.items()]
    return lines + [(f"version of {name}", text) for name, text in versions.items()]


def _results(inputs: Inputs) -> dict[str, Any]:
    params = inputs.params
    return {
        "source": inputs.source_label,
        "synthetic": inputs.synthetic,
        "method": inputs.method,
        "support": params.episodes.support_size,
        "query": params.episodes.query_size,
        "steps": " or ".join(map(str, inputs.steps)),
        "inner_lr": params.inner_lr,
        "learners": f"{inputs.maml.learners:,}",
        "queries": f"{inputs.maml.queries:,}",
        "metrics": METRICS,
        "models": _models(inputs),
        "improvement": _improvement(inputs),
        "validation_metric": params.evaluation.validation_metric,
        "differences": _differences(inputs),
        "cold_start": _cold_start(inputs),
        "cold_start_learners": f"{inputs.cold_start.learners:,}",
        "controls": _rows(inputs.controls.differences, _control_labels()),
        "control_repeats": f"{inputs.controls.repeats:,}",
        "ablations": ablation_tables(inputs),
        "ablation_learners": f"{inputs.ablations.learners:,}",
        "ablations_judged_by": inputs.ablations.judged_by,
        "bars": main_bars(inputs),
        "headline": HEADLINE,
        "funnel": funnel(inputs),
        "examples": inputs.analysis.examples if inputs.analysis else [],
        "where": where_tables(inputs),
        "calibration": calibration_rows(inputs),
        "calibration_columns": CALIBRATION_COLUMNS,
        "calibration_words": _unbroken(calibration_words(inputs)),
        "without_law": without_law(inputs),
        "beyond": beyond_rows(inputs),
        "beyond_columns": BEYOND_COLUMNS,
        "counts": flatten({k: v for k, v in plain(inputs.preprocess).items() if "sha256" not in k}),
    }


def _control_labels() -> dict[str, str]:
    """Comparison -> what it is for people."""
    found = {}
    for own in CONTROLLED:
        names = {own.prefix + name: words for name, words in _OF_CONTROLS.items()}
        for a, b in own.comparisons():
            first = f"{label_of(own.few_shot)}, {names[a]}" if a in names else label_of(a)
            found[difference_name(a, b)] = f"{first} − {names.get(b, label_of(b))}"
    return found


def _models(inputs: Inputs) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "label": row.label,
            "validation": percent(row.validation),
            "cells": [
                {"value": percent(measure.value), "interval": interval(measure)}
                for measure in row.measures.values()
            ],
        }
        for row in inputs.rows()
    ]


def _improvement(inputs: Inputs) -> list[str]:
    found = {str(m): value for m, value in inputs.maml.improvement_over_gru_percent.items()}
    return [signed_percent(number(found.get(metric))) for metric in METRICS]


def _differences(inputs: Inputs) -> list[dict[str, Any]]:
    """Rows of the paired comparisons; none where the test stage wrote none."""
    strongest = inputs.maml.strongest_baseline
    others = {"gru": "GRU"} | ({} if strongest == "gru" else {strongest: label_of(strongest)})
    labels = {
        difference_name(few, other): f"{name} − {words}"
        for few, zero, name in (
            ("few_shot", "zero_shot", "few-shot"),
            (*TUNED, label_of(TUNED[0])),
            (*ADAPTED, "mixture"),
        )
        for other, words in ({zero: "its zero-shot"} | others).items()
    }
    worth = (*((few, FINE_TUNED) for few in ("few_shot", TUNED[0])), (FINE_TUNED, "gru"))
    for first, other in (*worth, (TUNED[0], TUNED_START)):
        labels[difference_name(first, other)] = f"{label_of(first)} − {label_of(other)}"
    return _rows(inputs.maml.differences, labels)


def _rows(differences: Differences, labels: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"label": label, "cells": [_difference(row_of(differences[key], m)) for m in METRICS]}
        for key, label in labels.items()
        if differences.get(key)
    ]


def _difference(paired: Difference | None) -> dict[str, str]:
    if paired is None:
        return dict.fromkeys(("value", "interval", "p", "d"), NOTHING)
    d = number(paired.cohens_d)
    return {
        "value": points(paired.difference, unit=False),
        "interval": between(paired.low, paired.high),
        "p": f"p = {paired.p_holm:.2g}",
        "d": f"d = {d:.2f}".replace("-", "−") if math.isfinite(d) else "d n.a.",
    }


def _cold_start(inputs: Inputs) -> list[dict[str, Any]]:
    """A table a metric: a row a model, a column a number of pairs; the best at the end first."""
    curves = inputs.cold_start.curves
    sizes = sorted({point.support_size for point in curves})
    tables = []
    for metric in dict.fromkeys(point.metric for point in curves):
        of_model: dict[str, dict[int, Measure]] = {}
        for point in curves:
            if point.metric == metric:
                measure = Measure(point.mean, number(point.low), number(point.high))
                of_model.setdefault(point.model, {})[point.support_size] = measure
        best_first = sorted(of_model, key=lambda name: -of_model[name][sizes[-1]].value)
        rows = [
            {
                "name": name,
                "label": label_of(name),
                "cells": [
                    {
                        "value": percent(of_model[name][size].value),
                        "interval": interval(of_model[name][size]),
                    }
                    for size in sizes
                ],
            }
            for name in best_first
        ]
        tables.append({"metric": metric, "sizes": sizes, "rows": rows})
    return tables


def _figures(folder: Path) -> dict[str, dict[str, str]]:
    """Name of the figure -> the start of its files' names, and its caption."""
    return {
        name.removesuffix(".png"): {
            "files": (folder / name).with_suffix("").as_posix(),
            "caption": caption,
        }
        for name, caption in CAPTIONS.items()
    }
