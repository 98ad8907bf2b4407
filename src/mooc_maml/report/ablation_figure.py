"""The figures of both meta-models by support pairs and by inner steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from mooc_maml.evaluation.schema import METRICS
from mooc_maml.report.ablations import Ablation, Row
from mooc_maml.report.inputs import label_of
from mooc_maml.report.style import (
    COLOURS,
    MARKERS,
    OTHER_COLOUR,
    new_figure,
    no_data,
    percent_axis,
)

_RING: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 14, "mfc": "none", "mec": "black"}


def draw_ablation(own: Ablation, source: str, path: Path) -> None:
    """One panel a metric over the values of one setting, a line a model.

    All panels span the same number of points, at least two, so that slopes can be compared and
    noise does not look like an effect. The value that the run uses elsewhere is ringed.
    """
    metrics = {metric: [row[metric] for row in own.rows] for metric in METRICS if own.rows}
    span = 1.3 * max([0.02, *(max(values) - min(values) for values in metrics.values())])
    title = f"Few-shot ranking by {own.title.lower()} · {source}"
    with new_figure(path, 9, 6.4, title) as figure:
        panels = figure.subplots(2, 3).flatten()
        for axes, metric in zip(panels, METRICS, strict=False):
            axes.set_title(metric)
            if metric not in metrics:
                no_data(axes)
                continue
            for model, rows in own.models().items():
                _draw_line(axes, rows, model, metric, own.chosen.get(model))
            middle = (max(metrics[metric]) + min(metrics[metric])) / 2
            axes.set_ylim(middle - span / 2, middle + span / 2)
            axes.set_xticks(sorted({row.value for row in own.rows}))
            axes.set_xlabel(own.unit[1])
            percent_axis(axes.yaxis, 6)
            axes.margins(x=0.1)
        _legend(panels[len(METRICS)], panels[0])


def _draw_line(
    axes: Axes, rows: Sequence[Row], model: str, metric: str, chosen: int | None
) -> None:
    line: dict[str, Any] = {
        "color": COLOURS.get(model, OTHER_COLOUR),
        "marker": MARKERS.get(model, "o"),
    }
    values = [row.value for row in rows]
    axes.plot(values, [row[metric] for row in rows], label=label_of(model), **line)
    ringed = [row for row in rows if row.value == chosen]
    xs, ys = [row.value for row in ringed], [row[metric] for row in ringed]
    axes.plot(xs, ys, mew=1.6, label="setting of this run", **_RING)


def _legend(empty: Axes, drawn: Axes) -> None:
    empty.axis("off")
    handles, labels = drawn.get_legend_handles_labels()
    own = dict(zip(labels, handles, strict=True))  # each label once, the ring last
    ring = {key: own.pop(key) for key in ("setting of this run",) if key in own}
    if own:
        empty.legend((own | ring).values(), (own | ring).keys(), loc="center")
