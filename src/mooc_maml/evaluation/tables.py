"""CSV files that `dvc plots` and the report draw from."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path
from mooc_maml.common.results import plain
from mooc_maml.evaluation.schema import AblationsResult, TestResult


def write_comparison(path: Path, result: TestResult) -> None:
    """comparison.csv: model, metric, value, low, high."""
    rows = [
        {"model": model, "metric": metric, "value": metrics[metric], "low": low, "high": high}
        for model, metrics in result.models.items()
        for metric, (low, high) in result.intervals_95[model].items()
    ]
    write_table(path, pd.DataFrame(rows))


def write_ablations(folder: Path, result: AblationsResult) -> None:
    """support_sizes.csv and inner_steps.csv: the setting, then a column a metric."""
    for name in ("support_sizes", "inner_steps"):
        rows = pd.DataFrame(plain(result)[name])
        column = rows.columns[-1]
        write_table(folder / f"{name}.csv", rows[[column, *rows.columns[:-1]]])


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
