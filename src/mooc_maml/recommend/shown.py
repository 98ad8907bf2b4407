"""What a bundle is, in words: `mooc-maml show`; loads no PyTorch."""

import csv
import sys
from pathlib import Path

import orjson

from mooc_maml.recommend.bundle import BundleInfo, ModelInfo, models_of
from mooc_maml.recommend.output import TOLD, worth


def write_bundle(folder: Path, info: BundleInfo, format: str) -> None:
    """To standard output; JSON leaves out the courses, CSV has a row a model."""
    if format == "json":
        content = info.model_dump(mode="json", exclude={"courses", "titles"})
        content["number_of_courses"] = len(info.courses)
        sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif format == "csv":
        _write_models(info)
    else:
        print("\n".join(_lines(folder, info)))


def _write_models(info: BundleInfo) -> None:
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(("model", "label", "kind", "carries_learners", "metric", "mean", "low", "high"))
    for own in info.models:
        for metric, x in own.metrics.items():
            about = (own.name, own.label, own.kind, own.carries_learners)
            lines.writerow((*about, metric, x.mean, x.low, x.high))


def _lines(folder: Path, info: BundleInfo) -> list[str]:
    data, rules = info.data, info.rules
    titles = sum(title is not None for title in info.titles or [])
    allowed, courses = models_of(folder, info), len(info.courses)
    answering = info.model(info.default_model)
    assert answering is not None
    return [
        f"{folder}: format {info.format}, made by {info.made_by}",
        f"Data: {'synthetic data' if data.synthetic else data.source}; {courses:,} courses, "
        f"{titles:,} with a title; pairs sha256 {data.pairs_sha256.get('steps.parquet', '')[:16]}",
        "Code: " + ", ".join(f"{name} {tree[:12]}" for name, tree in data.revision.items()),
        f"A model reads a learner's latest {rules.support_size} pairs and "
        f"{rules.max_prefix_length} courses of the last session; {_seen(info)}.",
        "",
        "Models, the best on validation first:",
        *(_model(info, own, own.name in allowed) for own in info.models),
        "",
        f"Unless told otherwise {answering.name} answers, the best on validation of those that "
        "hold nobody's data.",
        worth(info, answering),
    ]


def _seen(info: BundleInfo) -> str:
    rules = info.rules
    left_out = [
        words
        for words, is_so in (
            ("courses of the last session", rules.seen_prefix),
            ("courses of the latest pairs", rules.seen_support),
        )
        if is_so
    ]
    return f"left out are {' and '.join(left_out)}" if left_out else "seen courses may come again"


def _model(info: BundleInfo, own: ModelInfo, is_there: bool) -> str:
    metric = info.validation_metric
    on_test, on_validation = own.metrics[metric], own.validation[metric]
    notes = [TOLD[own.kind]]
    if own.carries_learners:
        notes.append("holds training learners' sessions")
    if not is_there:
        notes.append("not in this copy")
    return (
        f"  {own.name:24} {metric} {100 * on_validation:5.1f} % on validation, "
        f"{100 * on_test.mean:5.1f} % ({100 * on_test.low:.1f} to {100 * on_test.high:.1f}) in the "
        f"test; {'; '.join(notes)}"
    )
