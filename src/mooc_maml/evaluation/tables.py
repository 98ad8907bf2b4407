"""CSV files that `dvc plots` and the report draw from."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path
from mooc_maml.evaluation.curves_schema import AblationsResult
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.settings.evaluation import MetricName


def write_test_tables(
    folder: Path, result: TestResult, changes: dict[str, NDArray[np.float64]]
) -> None:
    """comparison.csv and param_change.csv, see `write_comparison` and `write_param_change`."""
    write_comparison(folder / "comparison.csv", result)
    write_param_change(folder / "param_change.csv", changes)


def write_comparison(path: Path, result: TestResult) -> None:
    """comparison.csv: model, metric, value, low, high; the last two empty without an interval."""
    rows = [
        {"model": model, "metric": metric, "value": metrics[metric], "low": low, "high": high}
        for model, metrics in result.models.items()
        for metric in get_args(MetricName)
        for low, high in [result.intervals_95[model].get(metric, (None, None))]
    ]
    write_table(path, pd.DataFrame(rows))


def write_ablations(folder: Path, result: AblationsResult) -> None:
    """support_sizes.csv and inner_steps.csv: the setting, then a column a model and metric.

    Such as `few_shot HR@10`, so that `dvc plots` draws a line a model.
    """
    for name, setting in (("support_sizes", "support_size"), ("inner_steps", "inner_steps")):
        table: dict[int, dict[str, float]] = {}
        for row in getattr(result, name):
            own = {f"{row.model} {metric}": row[metric] for metric in get_args(MetricName)}
            table.setdefault(row.value, {setting: row.value}).update(own)
        write_table(folder / f"{name}.csv", pd.DataFrame(table.values()))


def write_param_change(path: Path, changes: dict[str, NDArray[np.float64]]) -> None:
    """param_change.csv: learner, layer, relative_change.

    Args:
        path: the file.
        changes: layer -> float [learners], norm of the change over the norm.
    """
    table = pd.DataFrame(changes).rename_axis("learner").reset_index()
    write_table(path, table.melt("learner", var_name="layer", value_name="relative_change"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A CSV that appears whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
