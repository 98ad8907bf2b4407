"""The figure of how good each model is after the first few pairs of a learner."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.style import (
    COLOURS,
    MARKERS,
    OTHER_COLOUR,
    new_figure,
    no_data,
    percent_axis,
    readable,
)

METRICS = ("HR@10", "NDCG@10")
_STRONGEST_COLOUR, _STRONGEST_MARKER = "#CC79A7", "^"
_MAIN = ("gru", "few_shot", "tuned_few_shot", "mixture")
_OTHER = OTHER_COLOUR, "o"
_APART = 0.06  # least distance of two labels, as a share of the axis


def draw_cold_start(inputs: Inputs, path: Path) -> None:
    """A curve a model over the number of pairs it is given; intervals as bands and bars.

    The meta-models, the mixture, the GRU and the strongest baseline have colours, markers and bands
    of their own. A label repeats its curve's marker; its letters are of a darker shade, since most
    of the colours are too pale to be read on white.
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
            _draw_panel(axes, table[table["metric"] == metric], _looks(inputs))


def _looks(inputs: Inputs) -> dict[str, tuple[str, str]]:
    """Colour and marker of the models that stand out; the last is drawn uppermost."""
    strongest = {inputs.maml.strongest_baseline: (_STRONGEST_COLOUR, _STRONGEST_MARKER)}
    return strongest | {name: (COLOURS[name], MARKERS.get(name, "o")) for name in _MAIN}


def _draw_panel(axes: Axes, table: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    models = [name for name in table["model"].unique() if name not in looks]
    ends = {}
    for name in [*models, *looks]:
        curve = table[table["model"] == name].sort_values("support_size")
        if curve.empty:
            continue
        (colour, marker), x = looks.get(name, _OTHER), curve["support_size"]
        if name in looks:
            axes.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, lw=0)
        else:
            error = [curve["mean"] - curve["low"], curve["high"] - curve["mean"]]
            axes.errorbar(x, curve["mean"], error, fmt="none", ecolor=colour, lw=0.8, alpha=0.6)
        width = 2.4 if name in looks else 1.2
        axes.plot(x, curve["mean"], marker=marker, ms=2.5 * width, lw=width, color=colour)
        ends[name] = float(curve["mean"].iloc[-1])
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted(table["support_size"].unique()))
    axes.set_xlabel("pairs of the learner that a model is given")
    percent_axis(axes.yaxis, 6)
    axes.margins(x=0.02)
    for (name, _), height in zip(_by_value(ends), _spread(axes, ends), strict=True):
        _label(axes, height, label_of(name), looks.get(name))


def _label(axes: Axes, height: float, words: str, look: tuple[str, str] | None) -> None:
    """Right of the axes, behind its curve's marker if the model stands out."""
    place = axes.get_yaxis_transform()
    colour = "#555555"
    if look is not None:
        colour, marker = readable(look[0]), look[1]
        axes.plot(1.025, height, marker, ms=6, color=look[0], transform=place, clip_on=False)
    axes.text(1.045, height, words, transform=place, va="center", color=colour)


def _by_value(ends: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(ends.items(), key=lambda end: end[1])


def _spread(axes: Axes, ends: dict[str, float]) -> list[float]:
    """Heights of the labels, lowest first: where the curves end, but not on top of each other."""
    gap, heights = _APART * axes.get_ylim()[1], list[float]()
    for _, value in _by_value(ends):
        heights.append(max(value, heights[-1] + gap) if heights else value)
    return heights
