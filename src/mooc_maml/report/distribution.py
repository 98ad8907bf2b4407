"""The figure of how far adaptation moves each layer."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from mooc_maml.report.style import COLOURS, new_figure, no_data


def draw_param_change(table: pd.DataFrame, source: str, path: Path) -> None:
    """Distribution over test learners of the relative parameter change, one row a layer.

    Args:
        table: learner, layer, relative_change (a fraction: the norm of the change over the norm).
        source: the data source in words.
        path: the PNG.
    """
    layers = list(dict.fromkeys(table["layer"]))
    learners = table["learner"].nunique()
    title = f"Parameter change by adaptation, {learners:,} test learners · {source}"
    with new_figure(path, 9, 1.9 + 0.56 * max(2, len(layers)), title) as figure:
        axes = figure.subplots()
        rows = [
            table.loc[table["layer"] == layer, "relative_change"].to_numpy() for layer in layers
        ]
        if not any((values > 0).any() for values in rows):
            no_data(axes, "no layer moved" if layers else "n.a.")
            return
        for place, values in enumerate(rows):
            _draw_row(axes, place, values)
        axes.set_yticks(range(len(layers)), layers)
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.grid(False, axis="y")
        _log_percent(axes)
        axes.set_xlabel("relative change ‖θ′ − θ‖ / ‖θ‖ of the layer's weights (log scale)")


def _draw_row(axes: Axes, place: int, values: NDArray[np.float64]) -> None:
    moved = values[np.isfinite(values) & (values > 0)]
    at_right = axes.get_yaxis_transform()
    if len(moved) == 0:
        axes.text(1.01, place, "unmoved", transform=at_right, va="center")
        return
    logs = np.log10(moved)
    if np.ptp(logs) > 0:
        before = len(axes.collections)
        axes.violinplot(logs, [place], orientation="horizontal", widths=0.85, showextrema=False)
        for body in axes.collections[before:]:
            body.set(facecolor=COLOURS["zero_shot"], alpha=0.55, edgecolor="none")
    low, middle, high = np.quantile(logs, [0.05, 0.5, 0.95])
    axes.plot([low, high], [place, place], color=COLOURS["gru"], lw=3, solid_capstyle="butt")
    axes.plot(middle, place, "o", ms=9, color=COLOURS["few_shot"], mec="white")
    axes.text(1.01, place, _words(moved, len(values)), transform=at_right, va="center")


def _words(moved: NDArray[np.float64], learners: int) -> str:
    text = f"median {100 * np.median(moved):.2g} %"
    still = learners - len(moved)
    return f"{text}\n({still:,} unmoved)" if still else text


def _log_percent(axes: Axes) -> None:
    """Label log10 of a fraction as percent; on a narrow range between powers of ten too."""
    low, high = axes.get_xlim()
    if high - low < 1.5:
        middle = (low + high) / 2
        axes.set_xlim(min(low, middle - 0.5), max(high, middle + 0.5))
        low, high = axes.get_xlim()
    if high - low < 3:
        marks = [d * 10.0**p for p in range(int(low) - 2, int(high) + 2) for d in (1, 2, 5)]
        axes.set_xticks([np.log10(mark) for mark in marks if low <= np.log10(mark) <= high])
    else:
        axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * 10**x:.3g} %"))
