"""Everything the report is made from, read once and checked."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_json
from mooc_maml.evaluation.test_reads import FILE as READINGS
from mooc_maml.evaluation.test_reads import count_readings
from mooc_maml.settings.params import RELIABILITY_STEPS, MetricName, Params

METRICS: tuple[str, ...] = get_args(MetricName)
MODES = ("zero_shot", "few_shot")
_CURVES = tuple(f"{mode} {metric}" for mode in MODES for metric in METRICS)
_MAML_KEYS = (
    *("data_source", "synthetic", "test_set"),
    *("zero_shot", "few_shot", "baselines", "validation"),
)
LABELS = {
    "random": "Random",
    "popularity": "Popularity",
    "repeat": "Repeat own courses",
    "markov": "Markov chain",
    "item_knn": "Item-kNN",
    "v_sknn": "V-SKNN",
    "gru": "GRU",
    "gru_tuned": "GRU, tuned",
    "gru_with_history": "GRU, with history",
    "gru_tuned_with_history": "GRU, tuned, with history",
    "gru_fine_tuned": "GRU, fine-tuned",
    "gru_further": "GRU, trained further",
    "sasrec": "SASRec",
    "sasrec_with_history": "SASRec, with history",
    "blend": "Blend",
    "pool": "Pool, not meta-learned",
    "mixture": "Mixture few-shot",
    "mixture_zero_shot": "Mixture zero-shot",
    "mixture_without_steps": "Mixture told, without steps",
    "zero_shot": "MAML zero-shot",
    "few_shot": "MAML few-shot",
    "oracle": "Oracle (best possible)",
}


_METHODS = {  # by meta.variant
    "maml": "{order} MAML",
    "anil": "{order} ANIL",
    "context": "{order} context adaptation",
    "meta_sgd": "{order} Meta-SGD",
    "maml_plus_plus": "MAML++",
    "reptile": "Reptile",
    "proximal": "{order} proximal MAML",
    "reliability": "{order} MAML with steps by session reliability",
}


def label_of(model: str) -> str:
    """The name for people of a model, which is its name in the files if it has no other."""
    return LABELS.get(model, model)


@dataclass(frozen=True)
class Measure:
    """A value with its 95 % interval; fractions, nan where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class ModelRow:
    """One model of the comparison: its name in the files, its name for people, its measures.

    `validation`: the figure that it is ordered by, nan where there is none.
    """

    name: str
    label: str
    measures: dict[str, Measure]
    validation: float


@dataclass(frozen=True)
class Inputs:
    """The result files of one run.

    `training`: iteration, train_loss. `validation`: iteration, mode (zero_shot | few_shot),
    metrics as fractions. `param_change`: learner, layer, relative_change as a fraction.
    `readings`: result file -> how many different ones of these test learners were written.
    """

    params: Params
    maml: dict[str, Any]
    baselines: dict[str, Any]
    ablations: dict[str, Any]
    cold_start: dict[str, Any]
    controls: dict[str, Any]
    preprocess: dict[str, Any]
    training: pd.DataFrame
    validation: pd.DataFrame
    comparison: pd.DataFrame
    param_change: pd.DataFrame
    readings: dict[str, int]
    files: tuple[Path, ...]

    @property
    def synthetic(self) -> bool:
        """Whether the learners are made up."""
        return bool(self.maml["synthetic"])

    @property
    def source_label(self) -> str:
        """The data source in words for titles: made-up data always says that it is."""
        return "synthetic data" if self.synthetic else str(self.maml["data_source"])

    @property
    def method(self) -> str:
        """Name of the meta-learner that this run trained."""
        order = "second-order" if self.params.use_second_order else "first-order"
        start = ", warm start" if self.params.meta.warm_start else ""
        backbone = self.params.model.backbone
        of = "" if backbone == "gru" else f" of the {backbone}"
        return _METHODS[self.params.meta.variant].format(order=order) + of + start

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of gradient steps that few-shot takes, one or the other."""
        own = (self.params.num_inner_steps,)
        return RELIABILITY_STEPS if self.params.meta.variant == "reliability" else own

    def rows(self) -> list[ModelRow]:
        """Models with figures, the best on validation first; then those without validation."""
        ours = {name: self.maml.get(name) for name in ("zero_shot", "few_shot", "oracle")}
        models = {name: found for name, found in (self.maml["baselines"] | ours).items() if found}
        metric = self.params.evaluation.validation_metric
        known = {row["model"]: _number(row.get(metric)) for row in self.maml["validation"]}
        order = {name: known.get(name, math.nan) for name in models}
        best_first = sorted(order, key=lambda n: -order[n] if math.isfinite(order[n]) else 1.0)
        return [self._row(name, models[name], order[name]) for name in best_first]

    def _row(self, name: str, metrics: dict[str, Any], validation: float) -> ModelRow:
        measures = {
            metric: Measure(_number(metrics.get(metric)), *self._interval(name, metric))
            for metric in METRICS
        }
        return ModelRow(name, label_of(name), measures, validation)

    def _interval(self, name: str, metric: str) -> tuple[float, float]:
        interval = self.maml.get("intervals_95", {}).get(name, {}).get(metric)
        if interval is not None:
            return _number(interval[0]), _number(interval[1])
        table = self.comparison
        found = table[(table["model"] == name) & (table["metric"] == metric)]
        if len(found) == 0:
            return math.nan, math.nan
        return float(found["low"].iloc[0]), float(found["high"].iloc[0])

    def paired(self, comparison: str) -> dict[str, dict[str, Any]]:
        """Metric -> paired test of two models (few_vs_zero, few_vs_gru, ...), if there is one."""
        rows = (self.maml.get("significance") or {}).get(comparison, [])
        return {row["metric"]: row for row in rows}

    def gru_validation(self) -> dict[str, float]:
        """The plain GRU's figures on the validation learners at the epoch that was kept."""
        epochs = [epoch["validation"] for epoch in self.baselines.get("gru_training", [])]
        metric = self.params.evaluation.validation_metric
        best: dict[str, Any] = max(
            epochs, key=lambda values: _number(values.get(metric), -1.0), default={}
        )
        return {name: float(value) for name, value in best.items()}


def tag(params: Params) -> str:
    """The part of file names that says the size of an episode, such as K5_Q10."""
    return f"K{params.episodes.support_size}_Q{params.episodes.query_size}"


def read_inputs(results: Path, params: Params) -> Inputs:
    """Read the result files of a run.

    Args:
        results: folder with the JSON files and, below it, plots/ with the CSV files.
        params: the settings; support_size and query_size are part of the file names.

    Raises:
        UserError: a file is missing or unreadable, or lacks a key or column; the message says
            which, and which stage makes the file.
    """
    name, plots = tag(params), results / "plots"
    made_by = {
        results / f"maml_{name}.json": "test",
        results / f"baselines_{name}.json": "test or train_baselines",
        results / f"ablations_{name}.json": "ablate",
        results / f"cold_start_{name}.json": "cold_start",
        results / f"controls_{name}.json": "controls",
        results / "preprocess.json": "preprocess",
        plots / "training.csv": "meta_train",
        plots / "validation.csv": "meta_train",
        plots / "comparison.csv": "test",
        plots / "param_change.csv": "test",
    }
    for path, stage in made_by.items():
        if not path.is_file():
            raise UserError(f"{path}: no such file; stage {stage} makes it: run `dvc repro`")
    maml, baselines, ablations, cold_start, controls, preprocess, *tables = made_by
    training, validation, comparison, change = tables
    found = _json(maml, _MAML_KEYS)
    return Inputs(
        params=params,
        maml=found,
        baselines=_json(baselines, ("baselines",)),
        ablations=_json(ablations, ("support_sizes", "inner_steps")),
        cold_start=_json(cold_start, ("curves",)),
        controls=_json(controls, ("judged_by", "comparisons", "helps")),
        preprocess=_json(preprocess, ()),
        training=_table(training, ("iteration", "train_loss")),
        validation=_curves(_table(validation, ("iteration", *_CURVES))),
        comparison=_table(comparison, ("model", "metric", "value", "low", "high")),
        param_change=_table(change, ("learner", "layer", "relative_change")),
        readings=count_readings(results / READINGS, found["test_set"]),
        files=tuple(made_by),
    )


def _json(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object, found {type(content).__name__}")
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(
            f"{path}: key {missing[0]} is missing; run `dvc repro --force` to remake it"
        )
    return content


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV ({error}); run `dvc repro --force`") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise UserError(f"{path}: expected a column {missing[0]}, found {found}")
    return table


def _curves(validation: pd.DataFrame) -> pd.DataFrame:
    """One column a mode and metric -> one row an iteration and mode."""
    parts = []
    for mode in MODES:
        part = validation[["iteration"]].assign(mode=mode)
        parts.append(part.assign(**{m: validation[f"{mode} {m}"] for m in METRICS}))
    return pd.concat(parts).sort_values(["iteration", "mode"], kind="stable", ignore_index=True)


def _number(value: Any, missing: float = math.nan) -> float:
    return missing if value is None else float(value)


def finite(values: NDArray[Any] | pd.Series) -> list[float]:
    """The numbers among `values` that are neither nan nor infinite."""
    return [float(value) for value in values if math.isfinite(value)]
