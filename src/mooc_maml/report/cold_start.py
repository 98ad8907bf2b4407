"""The figure of how good each model is after the first few pairs of a learner."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure, no_data, percent_axis

METRICS = ("HR@10", "NDCG@10")
_STRONGEST_COLOUR = "#CC79A7"
_APART = 0.06  # least distance of two labels, as a share of the axis


def draw_cold_start(inputs: Inputs, path: Path) -> None:
    """A curve a model over the number of pairs it is given; intervals as bands and bars.

    The meta-models, the mixture, the GRU and the strongest baseline have colours and bands of
    their own.
    """
    table = pd.DataFrame([point.model_dump() for point in inputs.cold_start.curves])
    table = table.astype({end: float for end in ("low", "high") if end in table})  # None: nan
    who = f"{inputs.cold_start.learners:,} test learners"
    title = f"After the first pairs of a learner, {who} · {inputs.source_label}"
    with new_figure(path, 9, 8.5, title) as figure:
        panels = figure.subplots(2, 1)
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.set_title(metric)
            if table.empty:
                no_data(axes)
                continue
            _draw_panel(axes, table[table["metric"] == metric], _colours(inputs))


def _colours(inputs: Inputs) -> dict[str, str]:
    """Of the models that stand out; the last is drawn uppermost."""
    strongest = inputs.maml.strongest_baseline
    return {
        strongest: _STRONGEST_COLOUR,
        "gru": COLOURS["gru"],
        "few_shot": COLOURS["few_shot"],
        "tuned_few_shot": COLOURS["tuned_few_shot"],
        "mixture": COLOURS["mixture"],
    }


def _draw_panel(axes: Axes, table: pd.DataFrame, colours: dict[str, str]) -> None:
    models = [name for name in table["model"].unique() if name not in colours]
    ends = {}
    for name in [*models, *colours]:
        curve = table[table["model"] == name].sort_values("support_size")
        if curve.empty:
            continue
        colour, x = colours.get(name, OTHER_COLOUR), curve["support_size"]
        if name in colours:
            axes.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, lw=0)
        else:
            error = [curve["mean"] - curve["low"], curve["high"] - curve["mean"]]
            axes.errorbar(x, curve["mean"], error, fmt="none", ecolor=colour, lw=0.8, alpha=0.6)
        width = 2.4 if name in colours else 1.2
        axes.plot(x, curve["mean"], marker="o", ms=2.5 * width, lw=width, color=colour)
        ends[name] = float(curve["mean"].iloc[-1])
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted(table["support_size"].unique()))
    axes.set_xlabel("pairs of the learner that a model is given")
    percent_axis(axes.yaxis, 6)
    axes.margins(x=0.02)
    for (name, _), height in zip(_by_value(ends), _spread(axes, ends), strict=True):
        place = axes.get_yaxis_transform()
        colour = colours.get(name, "#555555")
        axes.text(1.01, height, label_of(name), transform=place, va="center", color=colour)


def _by_value(ends: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(ends.items(), key=lambda end: end[1])


def _spread(axes: Axes, ends: dict[str, float]) -> list[float]:
    """Heights of the labels, lowest first: where the curves end, but not on top of each other."""
    gap, heights = _APART * axes.get_ylim()[1], list[float]()
    for _, value in _by_value(ends):
        heights.append(max(value, heights[-1] + gap) if heights else value)
    return heights
