"""Reliability diagrams: how often the first course is right, by the probability stated."""

from pathlib import Path

from matplotlib.axes import Axes

from mooc_maml.evaluation.analysis_schema import Calibration
from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.report.inputs import label_of
from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure, no_data, percent_axis
from mooc_maml.report.words import percent
from mooc_maml.settings.composites_section import ADAPTED

PANELS = 6
_WANTED = ("gru", "few_shot", *reversed(TUNED), ADAPTED[0], "oracle", "zero_shot")


def draw_calibration(known: dict[str, Calibration], source: str, path: Path) -> None:
    """A panel a model: a dot a bin, with its 95 % interval, and the line of what is stated.

    Args:
        known: what was measured, by model.
        source: the data source in words.
        path: the PNG; SVG and PDF lie beside it.
    """
    shown = [known[name] for name in _WANTED if name in known][:PANELS]
    title = f"Are stated probabilities right? The first course · {source}"
    with new_figure(path, 9, 6.6, title) as figure:
        panels = figure.subplots(2, PANELS // 2, sharex=True, sharey=True).flatten()
        if not shown:
            for axes in panels:
                no_data(axes)
            return
        for axes, row in zip(panels, shown, strict=False):
            _draw_panel(axes, row)
        for axes in panels[len(shown) :]:
            axes.axis("off")
        end = max(x for row in shown for b in row.bins for x in (b.stated, b.right, b.high or 0))
        panels[0].set(xlim=(0, 1.04 * end), ylim=(0, 1.04 * end))
        percent_axis(panels[0].xaxis, 5)
        percent_axis(panels[0].yaxis, 5)
        figure.supxlabel("stated: mean probability of the queries of a bin", fontsize="medium")
        figure.supylabel("right: share of these queries", fontsize="medium")


def _draw_panel(axes: Axes, row: Calibration) -> None:
    like = COLOURS.get(row.model.removeprefix("tuned_"), OTHER_COLOUR)
    colour = COLOURS.get(row.model, like)
    axes.axline((0, 0), slope=1, color="#666666", lw=1.2, ls="--")
    stated, right = ([getattr(own, name) for own in row.bins] for name in ("stated", "right"))
    axes.plot(stated, right, marker="o", ms=5.5, lw=0.9, color=colour)
    for own in row.bins:
        if own.low is not None and own.high is not None:
            axes.plot([own.stated] * 2, [own.low, own.high], color=colour, lw=1.8)
    axes.set_title(label_of(row.model), fontsize=11.5)
    words = f"says {percent(row.first.stated)}\nright {percent(row.first.right)}"
    axes.text(0.04, 0.96, words, transform=axes.transAxes, va="top", fontsize=11)
