"""Two runs side by side: what changed in settings, metrics and pictures.

    python -m mooc_maml.report.compare RUN_A RUN_B

RUN: a git revision, the name of a DVC experiment, or `workspace`. What changes is always B - A.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from pydantic import ValidationError

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path
from mooc_maml.common.randomness import generator
from mooc_maml.evaluation.records import read_ranks
from mooc_maml.evaluation.schema import METRICS, TestResult, sign_of
from mooc_maml.evaluation.statistics import bootstrap_mean
from mooc_maml.ranking.query_ranks import learner_metrics
from mooc_maml.report.figures import CAPTIONS
from mooc_maml.report.inputs import label_of
from mooc_maml.report.run_files import RunFiles, open_run
from mooc_maml.report.words import between, percent, points

FOLDER = Path("compare")
_ABSENT = "not there"


@dataclass(frozen=True)
class Change:
    """One metric of a model in both runs, fractions.

    `low` and `high`: 95 % interval of the paired difference; None: not paired, or there is none.
    """

    model: str
    metric: str
    first: float
    second: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool:
        """Whether the interval of the paired difference leaves out 0."""
        return sign_of(self.low, self.high) != 0

    @property
    def interval(self) -> str:
        """Its ends in points; "" where there is none."""
        return "" if self.low is None else between(self.low, self.high)


def changed_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(key, value in A, value in B) of every setting that differs or that one run lacks."""
    keys = dict.fromkeys([*first, *second])
    return [
        (key, str(first.get(key, _ABSENT)), str(second.get(key, _ABSENT)))
        for key in keys
        if first.get(key, _ABSENT) != second.get(key, _ABSENT)
    ]


def changes(first: RunFiles, second: RunFiles) -> tuple[list[Change], str]:
    """What changed in every metric of every model that both have, and how it was compared.

    Paired by learner, with intervals, if both ranked the same queries and the records of both are
    at hand.
    """
    results = [_result(run) for run in (first, second)]
    if results[0].test_set != results[1].test_set:
        why = "The two runs ranked different queries, so that there is no pairing and no interval."
        return _unpaired(results[0], results[1]), why
    with first.records() as a, second.records() as b:
        if a is None or b is None:
            lacking = first.name if a is None else second.name
            why = (
                f"The records of {lacking} are not in DVC's cache, so that there is no interval; "
                "`dvc pull` or `dvc repro` brings them."
            )
            return _unpaired(results[0], results[1]), why
        found = _paired(a, b)
    learners = f"{results[0].learners:,} test learners"
    return found, f"Paired over the same {learners}; 95 % intervals by drawing learners again."


def _result(run: RunFiles) -> TestResult:
    try:
        return TestResult.model_validate_json(run.result())
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{run.name}: its test result has other keys than this code reads ({key}); compare it "
            "with the code of that time"
        ) from None


def _unpaired(first: TestResult, second: TestResult) -> list[Change]:
    return [
        Change(name, metric, first.models[name][metric], second.models[name][metric], None, None)
        for name in first.models
        if name in second.models
        for metric in METRICS
    ]


def _paired(first: Path, second: Path) -> list[Change]:
    found = []
    for path in sorted(first.glob("*.parquet")):
        if not (second / path.name).is_file():
            continue
        a, b = (learner_metrics(read_ranks(folder / path.name)) for folder in (first, second))
        for metric in METRICS:
            found.append(_change(path.stem, metric, a[metric], b[metric]))
    return found


def _change(
    model: str, metric: str, first: NDArray[np.float64], second: NDArray[np.float64]
) -> Change:
    rng = generator(0, f"compare {model} {metric}")
    low, high = bootstrap_mean(second - first, rng).ends
    return Change(model, metric, float(first.mean()), float(second.mean()), low, high)


def table(found: list[Change], metric: str) -> str:
    """One metric as lines for the terminal; a star where the interval leaves out 0."""
    lines = []
    for each in (change for change in found if change.metric == metric):
        ends = each.interval and f" ({each.interval})"
        change = points(each.second - each.first, unit=False)
        values = f"{percent(each.first):>8} {percent(each.second):>8} {change:>7}"
        lines.append(f"{label_of(each.model):<32}{values}{ends}{' *' if each.sure else ''}")
    return "\n".join(lines)


def main(run_a: str, run_b: str, root: Path = Path(), folder: Path = FOLDER) -> str:
    """Compare two runs; write a page with what changed.

    Args:
        run_a: git revision, name of a DVC experiment, or `workspace`.
        run_b: the same of the other.
        root: the repository.
        folder: gets index.html and the pictures of both.

    Returns:
        The table for the terminal.

    Raises:
        UserError: there is no such run, or it has no results.
    """
    first, second = (open_run(name, root) for name in (run_a, run_b))
    settings = changed_settings(first.settings(), second.settings())
    found, how = changes(first, second)
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        pictures = _pictures(temporary, first, second)
        html = _page(first, second, settings, found, how, pictures)
        (temporary / "index.html").write_text(html, encoding="utf-8")
    lines = [f"{key}: {a} -> {b}" for key, a, b in settings] or ["no setting differs"]
    parts = [*lines, "", f"HR@1: {run_a}, {run_b}, B - A in points", table(found, "HR@1"), "", how]
    return "\n".join([*parts, f"page: {folder / 'index.html'}"])


def _pictures(folder: Path, first: RunFiles, second: RunFiles) -> list[dict[str, str]]:
    """Write the pictures that differ; name, caption and the paths of both."""
    found = []
    for name, caption in CAPTIONS.items():
        both = [run.read(f"results/report/figures/{name}") for run in (first, second)]
        if None in both or both[0] == both[1]:
            continue
        paths = [f"{side}_{name}" for side in "ab"]
        for path, content in zip(paths, both, strict=True):
            (folder / path).write_bytes(content or b"")
        found.append({"caption": caption, "a": paths[0], "b": paths[1]})
    return found


def _page(
    first: RunFiles,
    second: RunFiles,
    settings: list[tuple[str, ...]],
    found: list[Change],
    how: str,
    pictures: list[dict[str, str]],
) -> str:
    loader = PackageLoader("mooc_maml.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    rows: dict[str, list[dict[str, str]]] = {}
    for each in found:
        rows.setdefault(label_of(each.model), []).append(_cell(each))
    return environment.get_template("compare.html.j2").render(
        names=(first.name, second.name),
        settings=settings,
        metrics=METRICS,
        rows=rows,
        how=how,
        pictures=pictures,
    )


def _cell(each: Change) -> dict[str, str]:
    return {
        "both": f"{percent(each.first)} → {percent(each.second)}",
        "change": points(each.second - each.first, unit=False),
        "interval": each.interval,
        "sure": "yes" if each.sure else "",
    }


def _command_line() -> None:
    parser = argparse.ArgumentParser(description="Two runs side by side.")
    for name in ("run_a", "run_b"):
        parser.add_argument(name, help="git revision, name of a DVC experiment, or workspace")
    print(main(**vars(parser.parse_args())))


if __name__ == "__main__":
    main_guard(_command_line)
