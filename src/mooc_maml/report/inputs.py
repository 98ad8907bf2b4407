"""Everything the report is made from, read once and checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.results import read_result
from mooc_maml.composites.registry import MODELS
from mooc_maml.evaluation.analysis_schema import AnalysisResult
from mooc_maml.evaluation.control_names import difference_name
from mooc_maml.evaluation.curves_schema import AblationsResult, ColdStartResult
from mooc_maml.evaluation.schema import (
    METRICS,
    ControlsResult,
    Difference,
    Metrics,
    ShareOfTheWay,
    TestResult,
    TrainedResult,
)
from mooc_maml.evaluation.statistics import LEAST_LEARNERS
from mooc_maml.evaluation.test_reads import FILE as TEST_READS
from mooc_maml.evaluation.test_reads import count_reads
from mooc_maml.preprocess.account import PreprocessResult
from mooc_maml.settings.meta import RELIABILITY_STEPS
from mooc_maml.settings.params import Params

MODES = ("zero_shot", "few_shot")
_LOSSES = ("iteration", "train_loss")
_CURVES = tuple(f"{mode} {metric}" for mode in MODES for metric in METRICS)
LABELS = {name: model.label for name, model in MODELS.items()} | {
    "mixture_without_steps": "Mixture told, without steps",
    "zero_shot": "MAML zero-shot",
    "few_shot": "MAML few-shot",
    "tuned_start": "MAML tuned, before meta-training",
    "tuned_without_steps": "MAML tuned, told, without steps",
    "tuned_zero_shot": "MAML tuned, zero-shot",
    "tuned_few_shot": "MAML tuned, few-shot",
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
    "ridge": "{order} ridge regression of the head",
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
    `test_reads`: result file -> how many different ones of these test learners were written.
    `trained`: of the stages that train models. `tuned`: training and validation of the second
    meta-model, None where there is none. `analysis`: of the records, None in results from before
    there was that stage. `titles`: course id -> title, of courses that have one.
    """

    params: Params
    maml: TestResult
    trained: tuple[TrainedResult, ...]
    ablations: AblationsResult
    cold_start: ColdStartResult
    controls: ControlsResult
    preprocess: PreprocessResult
    training: pd.DataFrame
    validation: pd.DataFrame
    param_change: pd.DataFrame
    test_reads: dict[str, int]
    analysis: AnalysisResult | None = None
    tuned: tuple[pd.DataFrame, pd.DataFrame] | None = None
    titles: Mapping[str, str] = field(default_factory=dict)

    def of_tuned(self) -> "Inputs | None":
        """The same of the second meta-model, as far as settings and training go."""
        if self.tuned is None:
            return None
        training, validation = self.tuned
        own = self.params.of_tuned
        return replace(self, params=own, training=training, validation=validation, tuned=None)

    @property
    def synthetic(self) -> bool:
        """Whether the learners are synthetic."""
        return self.maml.synthetic

    @property
    def is_too_small(self) -> bool:
        """Whether there are so few test learners that nothing can be concluded."""
        return self.maml.learners < LEAST_LEARNERS

    @property
    def source_label(self) -> str:
        """The data source in words for titles: synthetic data always says that it is."""
        return "synthetic data" if self.synthetic else self.maml.data_source

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

    @property
    def validation_metrics(self) -> dict[str, Metrics]:
        """Model -> its figures on validation learners.

        Of a model that is trained on them, those of learners left out, where they were measured.
        """
        known: dict[str, Metrics] = {row.model: row for row in self.maml.validation}
        for trained in self.trained:
            known |= trained.left_out
        return known

    def rows(self) -> list[ModelRow]:
        """Models with figures, the best on validation first; then those without validation."""
        models, known = self.maml.models, self.validation_metrics
        metric = self.params.evaluation.validation_metric
        order = {name: known[name][metric] if name in known else math.nan for name in models}
        best_first = sorted(order, key=lambda n: -order[n] if math.isfinite(order[n]) else 1.0)
        return [self._row(name, models[name], order[name]) for name in best_first]

    def _row(self, name: str, metrics: Metrics, validation: float) -> ModelRow:
        measures = {
            metric: Measure(metrics[metric], *self._interval(name, metric)) for metric in METRICS
        }
        return ModelRow(name, label_of(name), measures, validation)

    def _interval(self, name: str, metric: str) -> tuple[float, float]:
        found = {str(m): ends for m, ends in self.maml.intervals_95.get(name, {}).items()}
        return found.get(metric, (math.nan, math.nan))

    def difference(self, first: str, second: str, metric: str) -> Difference | None:
        """The paired test of two models in one metric, if there is one."""
        return row_of(self.maml.differences.get(difference_name(first, second), []), metric)

    def gru_validation(self) -> Metrics | None:
        """The plain GRU's figures on the validation learners at the epoch that was kept."""
        entries = [x for trained in self.trained for x in trained.training.get("gru", [])]
        epochs = [entry.validation for entry in entries if entry.validation is not None]
        metric = self.params.evaluation.validation_metric
        return max(epochs, key=lambda values: values[metric], default=None)


Row = TypeVar("Row", Difference, ShareOfTheWay)


def row_of(rows: Sequence[Row], metric: str) -> Row | None:
    """The row of one metric, if there is one."""
    return next((row for row in rows if row.metric == metric), None)


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
        results / f"baselines_{name}.json": "train_baselines",
        results / f"ablations_{name}.json": "ablate",
        results / f"cold_start_{name}.json": "ablate",
        results / f"controls_{name}.json": "controls",
        results / "preprocess.json": "preprocess",
        plots / "training.csv": "meta_train",
        plots / "validation.csv": "meta_train",
        plots / "param_change.csv": "test",
    }
    for path, stage in made_by.items():
        if not path.is_file():
            raise UserError(f"{path}: no such file; stage {stage} makes it: run `dvc repro`")
    maml, baselines, ablations, cold_start, controls, preprocess, *tables = made_by
    training, validation, change = tables
    found = read_result(maml, TestResult)
    composites = results / f"composites_{name}.json"
    analysis = results / f"analysis_{name}.json"
    trained = [baselines, *([composites] if composites.is_file() else [])]
    return Inputs(
        params=params,
        maml=found,
        trained=tuple(read_result(path, TrainedResult) for path in trained),
        ablations=read_result(ablations, AblationsResult),
        cold_start=read_result(cold_start, ColdStartResult),
        controls=read_result(controls, ControlsResult),
        preprocess=read_result(preprocess, PreprocessResult),
        training=_table(training, _LOSSES),
        validation=_curves(_table(validation, ("iteration", *_CURVES))),
        param_change=_table(change, ("learner", "layer", "relative_change")),
        test_reads=count_reads(results / TEST_READS, found.test_set),
        analysis=read_result(analysis, AnalysisResult) if analysis.is_file() else None,
        tuned=_tuned(plots / "tuned"),
    )


def _tuned(plots: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The curves of the second meta-model, if there is one."""
    training, validation = (plots / f"{name}.csv" for name in ("training", "validation"))
    if not (training.is_file() and validation.is_file()):
        return None
    curves = _curves(_table(validation, ("iteration", *_CURVES)))
    return _table(training, _LOSSES), curves


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


def finite(values: NDArray[Any] | pd.Series) -> list[float]:
    """The numbers among `values` that are neither nan nor infinite."""
    return [float(value) for value in values if math.isfinite(value)]
