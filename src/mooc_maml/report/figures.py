"""The report's figures, each drawn from the numbers of one run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mooc_maml.report.ablation_figure import draw_ablation
from mooc_maml.report.ablations import ablations
from mooc_maml.report.calibration import calibrations
from mooc_maml.report.calibration_figure import draw_calibration
from mooc_maml.report.cold_start import draw_cold_start
from mooc_maml.report.distribution import draw_param_change
from mooc_maml.report.example_figure import draw_example
from mooc_maml.report.inputs import Inputs, ModelRow, finite
from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure, no_data, percent_axis
from mooc_maml.report.where_figure import draw_where

CAPTIONS = {
    "example_learner.png": "The test learner whom adaptation helps most, so no typical one: the "
    "courses of the steps told of, the first five of the list before and after; green: the course "
    "that was opened.",
    "comparison.png": "Every model on the same queries of the same test learners, ranked among all "
    "courses; the best on validation uppermost. Dot: mean over learners; line: 95 % interval.",
    "cold_start.png": "Every model given exactly so many pairs of the learner, on the same queries "
    "of the same learners; a model that makes no use of them stays flat. Bands and bars: 95 % "
    "intervals.",
    "where_adaptation_helps.png": "What adaptation changes, by group of queries: blue where it "
    "helps beyond chance, red where it hurts, grey where it cannot be told. Line: 95 % interval.",
    "calibration.png": "How often the course ranked first is the right one, by the probability "
    "that the model states; a dot is a tenth of its queries. On the dashed line a model is "
    "calibrated, below it over-confident. Upright line: 95 % interval over learners.",
    "training_curve.png": "Above: loss on the queries of the training tasks. Below: the whole "
    "validation set before (zero-shot) and after (few-shot) adaptation; dashed: the plain GRU. "
    "Where both the loss and validation fall, training has begun to overfit.",
    "ablation_support_size.png": "Both meta-models by the number of pairs that they are given and "
    "adapt on; the same learners and queries at each size. 0: zero-shot. All panels span the same "
    "number of points.",
    "ablation_inner_steps.png": "Both meta-models by the number of gradient steps; at each number, "
    "also at 0, told of the same support pairs. All panels span the same number of points.",
    "param_change_distribution.png": "How far adaptation moves each layer, ‖θ′ − θ‖ / ‖θ‖, over "
    "the test learners (log scale). Dot: median; bar: the middle 90 % of learners.",
}

_COMPARED = ("HR@1", "HR@10", "NDCG@10")


def draw_figures(inputs: Inputs, plots: Path) -> list[Path]:
    """Draw all figures into the folder `plots`; return their paths in the order of `CAPTIONS`."""
    paths = {name: plots / name for name in CAPTIONS}
    source = inputs.source_label
    draw_comparison(inputs.rows(), inputs.maml.learners, source, paths["comparison.png"])
    draw_cold_start(inputs, paths["cold_start.png"])
    analysis = inputs.analysis
    examples = analysis.examples if analysis else []
    example = examples[0] if examples else None
    draw_example(example, source, paths["example_learner.png"], inputs.titles)
    draw_where(analysis.where if analysis else [], source, paths["where_adaptation_helps.png"])
    draw_calibration(calibrations(inputs), source, paths["calibration.png"])
    draw_training(inputs, paths["training_curve.png"])
    for name, own in ablations(inputs).items():
        draw_ablation(own, source, paths[f"{name}.png"])
    draw_param_change(inputs.param_change, source, paths["param_change_distribution.png"])
    return list(paths.values())


def draw_comparison(rows: list[ModelRow], learners: int, source: str, path: Path) -> None:
    """A line a model, a panel a metric: means and 95 % intervals; fractions shown as percent."""
    who = f"{learners:,} test learners"
    height = 1.6 + 0.34 * len(rows)
    with new_figure(path, 9, height, f"Next-course ranking, {who} · {source}") as figure:
        panels = figure.subplots(1, len(_COMPARED), sharey=True)
        for axes, metric in zip(panels, _COMPARED, strict=True):
            for place, row in enumerate(rows):
                measure, colour = row.measures[metric], COLOURS.get(row.name, OTHER_COLOUR)
                if measure.has_interval:
                    axes.plot([measure.low, measure.high], [place] * 2, color=colour, lw=2.5)
                axes.plot(measure.value, place, "o", color=colour, ms=7)
            axes.set_title(metric, loc="left")
            axes.set_yticks(range(len(rows)), [row.label for row in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.set_xlim(left=0)
            percent_axis(axes.xaxis, 3)
        figure.supxlabel("mean over learners; line: 95 % interval", fontsize="medium")


def draw_training(inputs: Inputs, path: Path) -> None:
    """Training loss, and below it HR@1 and NDCG@10 on validation, by meta-iteration.

    A second meta-model, if there is one, has the same beside it.
    """
    second, metrics = inputs.of_tuned(), ("HR@1", "NDCG@10")
    if second is None:
        title = f"Meta-training, {inputs.method} · {inputs.source_label}"
        with new_figure(path, 9, 7.4, title) as figure:
            _draw_run(figure.subplot_mosaic([["loss", "loss"], list(metrics)]), inputs)
            _legend_of_validation(figure, figure.axes)
        return
    title = f"Meta-training, first and tuned settings · {inputs.source_label}"
    with new_figure(path, 9, 10, title) as figure:
        columns = figure.subplots(1 + len(metrics), 2, sharey="row").T
        for column, own in zip(columns, (inputs, second), strict=True):
            _draw_run(dict(zip(("loss", *metrics), column, strict=True)), own)
            column[0].set_title(f"{own.method}: training loss")
        _legend_of_validation(figure, figure.axes)


def _draw_run(panels: dict[str, Axes], inputs: Inputs) -> None:
    """The curves of one meta-training: the panel "loss", and one a metric."""
    gru = inputs.gru_validation()
    for name, axes in panels.items():
        if name == "loss":
            _draw_loss(axes, inputs.training)
        else:
            _draw_validation(axes, inputs.validation, name, gru[name] if gru else None)


def _legend_of_validation(figure: Figure, panels: Sequence[Axes]) -> None:
    handles, labels = panels[-1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _draw_loss(axes: Axes, training: pd.DataFrame) -> None:
    axes.set(title="Training loss", xlabel="meta-iteration", ylabel="query cross-entropy (nats)")
    if not finite(training["train_loss"]):
        no_data(axes)
        return
    window = max(1, len(training) // 50)
    colour = COLOURS["few_shot"]
    faint: dict[str, Any] = {"color": "#C9C9C9", "lw": 0.8}
    if window == 1:
        faint = {"color": colour, "marker": "o"}
    axes.plot(training["iteration"], training["train_loss"], label="each update", **faint)
    if window > 1:
        smooth = training["train_loss"].rolling(window, center=True, min_periods=1).mean()
        axes.plot(training["iteration"], smooth, color=colour, label=f"mean of {window:,} updates")
    axes.legend(loc="best")
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))


def _draw_validation(axes: Axes, validation: pd.DataFrame, metric: str, gru: float | None) -> None:
    axes.set(title=f"Validation {metric}", xlabel="meta-iteration")
    percent_axis(axes.yaxis, 7)
    if not finite(validation[metric]):
        no_data(axes)
        return
    marks = {"zero_shot": ("s", "zero-shot"), "few_shot": ("o", "few-shot")}
    for mode, (marker, label) in marks.items():
        curve = validation[validation["mode"] == mode]
        size = 6.5 if len(curve) <= 25 else 3
        axes.plot(
            curve["iteration"],
            curve[metric],
            marker=marker,
            ms=size,
            color=COLOURS[mode],
            label=label,
        )
    if gru is not None and math.isfinite(gru):
        axes.axhline(gru, color=COLOURS["gru"], ls="--", lw=1.8, label="plain GRU")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
