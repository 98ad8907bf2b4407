"""The report as one HTML page; every text is escaped by the template engine."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mooc_maml.common.files import atomic_path
from mooc_maml.evaluation.controls import CONTROLLED
from mooc_maml.report.figures import CAPTIONS
from mooc_maml.report.finding import Finding
from mooc_maml.report.findings import interval
from mooc_maml.report.inputs import LABELS, METRICS, Inputs, Measure, label_of
from mooc_maml.report.words import flatten, number, percent, points, signed_percent

_OF_CONTROLS = {"shuffled": "labels shuffled", "exchanged": "another's pairs"}


def write_page(
    path: Path,
    plots: Path,
    inputs: Inputs,
    findings: list[Finding],
    configuration: dict[str, Any],
    artefacts: list[dict[str, Any]],
    seeds: dict[str, Any] | None = None,
) -> None:
    """Write the page; it needs nothing from the network and only the figures beside it.

    Args:
        path: index.html; appears whole or not at all.
        plots: folder of the figures, linked relative to the page.
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
    html = environment.get_template("page.html.j2").render(
        **_results(inputs),
        # A figure and its sign stay on one line.
        findings=[replace(each, text=each.text.replace(" %", "\u00a0%")) for each in findings],
        figures=_figures(Path(os.path.relpath(plots, path.parent))),
        settings=flatten(configuration["settings"]),
        provenance=_provenance(configuration),
        artefacts=artefacts,
        seeds=None if seeds is None else _seeds(seeds),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


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
        "learners": _count(inputs.maml.get("learners")),
        "queries": _count(inputs.maml.get("queries")),
        "metrics": METRICS,
        "models": _models(inputs),
        "improvement": _improvement(inputs),
        "validation_metric": params.evaluation.validation_metric,
        "differences": _differences(inputs),
        "cold_start": _cold_start(inputs),
        "cold_start_learners": _count(inputs.cold_start.get("learners")),
        "controls": _rows(inputs.controls["comparisons"], _control_labels()),
        "control_repeats": _count(inputs.controls.get("repeats")),
        "ablations": _ablations(inputs),
        "ablation_learners": _count(inputs.ablations.get("learners")),
        "counts": flatten({k: v for k, v in inputs.preprocess.items() if "sha256" not in k}),
    }


def _control_labels() -> dict[str, str]:
    """Comparison -> what it is for people."""
    found = {}
    for own in CONTROLLED:
        names = {own.prefix + name: words for name, words in _OF_CONTROLS.items()}
        for a, b in own.comparisons():
            first = f"{label_of(own.few_shot)}, {names[a]}" if a in names else label_of(a)
            found[f"{a}_vs_{b}"] = f"{first} − {names.get(b, label_of(b))}"
    return found


def _count(value: Any) -> str:
    return "n.a." if value is None else f"{value:,}"


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


_VARIED = {
    "both": "the learner split, the initialisation and all sampling",
    "split": "the learner split alone",
    "training": "the initialisation and all sampling, on one learner split",
}
_MINUS = {
    "few_shot_minus_zero_shot": "few-shot − zero-shot, points",
    "few_shot_minus_gru": "few-shot − GRU, points",
}


def _seeds(found: dict[str, Any]) -> dict[str, Any]:
    """The table over seeds: models in percent, differences in points."""
    names = [name for name in LABELS if name in found["models"]]
    names = [name for name in found["models"] if name not in LABELS] + names
    rows = [
        {"label": label_of(name), "cells": _over_seeds(found["models"][name], percent)}
        for name in names
    ]
    rows += [
        {
            "label": label,
            "cells": _over_seeds(found["differences"][key], lambda x: points(x, unit=False)),
        }
        for key, label in _MINUS.items()
    ]
    number = len(found["seeds"])
    varied = _VARIED.get(found["varied"], found["varied"])
    return {"number": number, "varied": varied, "read": found["test_set_read"], "rows": rows}


def _over_seeds(of: dict[str, Any], told: Callable[[float], str]) -> list[dict[str, str]]:
    return [
        {
            "value": told(number(of[metric]["mean"])),
            "interval": f"{told(number(of[metric]['low']))} to {told(number(of[metric]['high']))}",
        }
        for metric in METRICS
    ]


def _improvement(inputs: Inputs) -> list[str]:
    found = inputs.maml.get("improvement_over_gru_percent") or {}
    return [signed_percent(number(found.get(metric))) for metric in METRICS]


def _differences(inputs: Inputs) -> list[dict[str, Any]]:
    """Rows of the paired comparisons; none where the test stage wrote none."""
    strongest = label_of(inputs.maml.get("strongest_baseline", "strongest baseline"))
    others = {"vs_zero": "its zero-shot", "vs_gru": "GRU", "vs_strongest": strongest}
    labels = {
        f"{key}_{against}": f"{name} − {other}"
        for key, name in (("few", "few-shot"), ("mixture", "mixture"))
        for against, other in others.items()
    }
    return _rows(inputs.maml.get("significance") or {}, labels)


def _rows(
    comparisons: dict[str, list[dict[str, Any]]], labels: dict[str, str]
) -> list[dict[str, Any]]:
    found = {key: {row["metric"]: row for row in comparisons.get(key, [])} for key in labels}
    return [
        {"label": label, "cells": [_difference(found[key].get(m) or {}) for m in METRICS]}
        for key, label in labels.items()
        if found[key]
    ]


def _difference(paired: dict[str, Any]) -> dict[str, str]:
    low, high = (points(number(paired.get(end)), unit=False) for end in ("low", "high"))
    p, d = number(paired.get("p_holm")), number(paired.get("cohens_d"))
    return {
        "value": points(number(paired.get("difference")), unit=False),
        "interval": f"{low} to {high}",
        "p": f"p = {p:.2g}" if math.isfinite(p) else "p n.a.",
        "d": f"d = {d:.2f}".replace("-", "−") if math.isfinite(d) else "d n.a.",
    }


def _cold_start(inputs: Inputs) -> list[dict[str, Any]]:
    """A table a metric: a row a model, a column a number of pairs; the best at the end first."""
    curves = inputs.cold_start["curves"]
    sizes = sorted({row["pairs"] for row in curves})
    tables = []
    for metric in dict.fromkeys(row["metric"] for row in curves):
        of_model: dict[str, dict[int, Measure]] = {}
        for row in curves:
            if row["metric"] == metric:
                measure = Measure(*(number(row[key]) for key in ("mean", "low", "high")))
                of_model.setdefault(row["model"], {})[row["pairs"]] = measure
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


def _ablations(inputs: Inputs) -> list[dict[str, Any]]:
    tables = {"support_size": ("support_sizes", "Support pairs")}
    tables["inner_steps"] = ("inner_steps", "Inner steps")
    return [
        {
            "title": title,
            "rows": [
                [str(row[column]), *(percent(number(row.get(metric))) for metric in METRICS)]
                for row in inputs.ablations[key]
            ],
        }
        for column, (key, title) in tables.items()
    ]


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"source": (folder / name).as_posix(), "caption": caption}
        for name, caption in CAPTIONS.items()
    ]
