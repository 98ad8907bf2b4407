"""Every table of the report as CSV and as LaTeX, and the data of every figure as CSV."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from mooc_maml.common.files import atomic_path
from mooc_maml.evaluation.schema import METRICS, Differences
from mooc_maml.report.ablations import Ablation, ablations
from mooc_maml.report.calibration import calibration_bins, calibration_table
from mooc_maml.report.inputs import Inputs, label_of

_AS_THEY_ARE = (
    *("p", "p_holm", "cohens_d", "novelty", "popularity_ratio", "popularity_deviation"),
    *("log_loss", "log_loss_low", "log_loss_high"),
)
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


def tables(inputs: Inputs) -> dict[str, pd.DataFrame]:
    """Name -> table; shares as fractions."""
    found = {
        "models": _models(inputs),
        "differences": _differences(inputs.maml.differences),
        "controls": _differences(inputs.controls.differences),
        "cold_start": pd.DataFrame([point.model_dump() for point in inputs.cold_start.curves]),
    }
    for own in ablations(inputs).values():
        found[own.name] = _ablation(own)
    if inputs.analysis is not None:
        found["where_adaptation_helps"] = pd.DataFrame(
            [row.model_dump() for row in inputs.analysis.where]
        )
        found["beyond_accuracy"] = pd.DataFrame(
            [row.model_dump() for row in inputs.analysis.beyond_accuracy]
        )
        found["calibration"] = calibration_table(inputs)
    return found


def figure_data(inputs: Inputs, own: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Figure -> the numbers that it is drawn from; `own`: the `tables`."""
    found = {
        "comparison": own["models"],
        "cold_start": own["cold_start"],
        "training_curve": inputs.training,
        "training_curve_validation": inputs.validation,
        "ablation_support_size": own["support_sizes"],
        "ablation_inner_steps": own["inner_steps"],
        "param_change_distribution": inputs.param_change,
    }
    if inputs.tuned is not None:
        found["training_curve_tuned"], found["training_curve_validation_tuned"] = inputs.tuned
    found["where_adaptation_helps"] = own.get("where_adaptation_helps", pd.DataFrame())
    found["calibration"] = calibration_bins(inputs)
    found["example_learner"] = pd.DataFrame(
        [
            {**example.model_dump(), "support": [step.next for step in example.support]}
            for example in (inputs.analysis.examples if inputs.analysis else [])
        ]
    )
    return found


def write_exports(inputs: Inputs, tables_folder: Path, figures_folder: Path) -> None:
    """Write tables/NAME.csv and NAME.tex, and figures/NAME.csv; the same bytes each time."""
    own = tables(inputs)
    for name, table in own.items():
        _write(tables_folder / f"{name}.csv", _csv(table))
        _write(tables_folder / f"{name}.tex", latex(table))
    for name, table in figure_data(inputs, own).items():
        _write(figures_folder / f"{name}.csv", _csv(table))


def latex(table: pd.DataFrame) -> str:
    """A LaTeX tabular that needs no package; shares in percent with one decimal."""
    columns = [str(name) for name in table.columns]
    kinds = "".join("r" if is_numeric_dtype(table[name]) else "l" for name in table.columns)
    lines = [f"\\begin{{tabular}}{{{kinds or 'l'}}}", "\\hline"]
    lines += [f"{' & '.join(map(_escaped, columns))} \\\\", "\\hline"]
    cells = [
        [_cell(name)(value) for name, value in row.items()] for row in table.to_dict("records")
    ]
    lines += [f"{' & '.join(row)} \\\\" for row in cells]
    return "\n".join([*lines, "\\hline", "\\end{tabular}", ""])


def _cell(name: object) -> Callable[[object], str]:
    def text(value: object) -> str:
        if isinstance(value, float):
            if math.isnan(value):
                return "--"
            return f"{value:.3f}" if str(name) in _AS_THEY_ARE else f"{100 * value:.1f}"
        return "--" if value is None else _escaped(str(value))

    return text


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n", float_format="%.8g")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _ablation(own: Ablation) -> pd.DataFrame:
    """A row a model and value; `change` with its interval is over the row of 0."""
    rows: list[dict[str, object]] = []
    for row in own.rows:
        change = row.change.model_dump() if row.change else {}
        ends = {f"change {end}": change.get(end) for end in ("low", "high")}
        figures = {metric: row[metric] for metric in METRICS}
        named = {"model": label_of(row.model), own.column: row.value}
        rows.append({**named, **figures, "change": change.get("difference"), **ends})
    return pd.DataFrame(rows)


def _models(inputs: Inputs) -> pd.DataFrame:
    rows = []
    for row in inputs.rows():
        content: dict[str, object] = {"model": row.label, "validation": row.validation}
        for metric in METRICS:
            measure = row.measures[metric]
            own = {"": measure.value, " low": measure.low, " high": measure.high}
            content |= {f"{metric}{end}": value for end, value in own.items()}
        rows.append(content)
    return pd.DataFrame(rows)


def _differences(differences: Differences) -> pd.DataFrame:
    rows = []
    for key, of_pair in differences.items():
        first, _, second = key.partition("_minus_")
        names = {"first": label_of(first), "second": label_of(second)}
        rows += [{**names, **row.model_dump()} for row in of_pair]
    return pd.DataFrame(rows)
