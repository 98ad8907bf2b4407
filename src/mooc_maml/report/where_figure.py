"""The figure and the tables of where adaptation helps and where it hurts."""

from pathlib import Path
from typing import Any

from mooc_maml.evaluation.analysis_schema import InGroup
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.style import COLOURS, OTHER_COLOUR, new_figure, no_data, percent_axis
from mooc_maml.report.words import between, percent, points

METRIC = "NDCG@10"
_COLOURS = {1: COLOURS["mixture"], 0: OTHER_COLOUR, -1: COLOURS["few_shot"]}  # by sign


def draw_where(rows: list[InGroup], source: str, path: Path) -> None:
    """A line a group: what adaptation changes in it, with its 95 % interval; a panel a pair.

    Args:
        rows: differences of every group.
        source: the data source in words.
        path: the PNG; SVG and PDF lie beside it.
    """
    shown = [row for row in rows if row.metric == METRIC]
    pairs = list(dict.fromkeys((row.first, row.second) for row in shown))
    places = _places(shown)
    height = 2.0 + 0.36 * max(4, len(places))
    title = f"What adaptation changes in {METRIC}, by group of queries · {source}"
    with new_figure(path, 9, height, title) as figure:
        panels = figure.subplots(1, max(1, len(pairs)), sharey=True, squeeze=False)[0]
        if not shown:
            no_data(panels[0])
            return
        for axes, pair in zip(panels, pairs, strict=True):
            axes.axvline(0, color="#666666", lw=1)
            for row in shown:
                if (row.first, row.second) != pair:
                    continue
                y = places[row.split, row.group]
                colour = _COLOURS[row.sign]
                if row.low is not None and row.high is not None:
                    axes.plot([row.low, row.high], [y, y], color=colour, lw=2.5)
                axes.plot(row.difference, y, "o", color=colour)
            axes.set_title(f"{label_of(pair[0])}\n− {label_of(pair[1])}", fontsize=10)
            axes.set_yticks(list(places.values()), [group for _, group in places], fontsize=11)
            axes.set_ylim(max(places.values()) + 0.7, -1.4)
            percent_axis(axes.xaxis, 5)
        for split, y in _headings(places).items():
            panels[0].annotate(
                split,
                (0, y),
                xycoords=panels[0].get_yaxis_transform(),
                xytext=(-8, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontweight="bold",
                fontsize=11,
                annotation_clip=False,
            )
        figure.supxlabel(
            "difference in points; line: 95 % interval over learners", fontsize="medium"
        )


def _places(rows: list[InGroup]) -> dict[tuple[str, str], float]:
    """Height of each group, with room for a heading above each split."""
    places: dict[tuple[str, str], float] = {}
    last, y = None, -1.0
    for key in dict.fromkeys((row.split, row.group) for row in rows):
        y += 1.0 if key[0] == last or last is None else 2.2
        last = key[0]
        places[key] = y
    return places


def _headings(places: dict[tuple[str, str], float]) -> dict[str, float]:
    first: dict[str, float] = {}
    for (split, _), y in places.items():
        first.setdefault(split, y - 1.0)
    return first


def where_tables(inputs: Inputs) -> list[dict[str, Any]]:
    """A table a pair of models: a row a group, under its split's name."""
    rows = inputs.analysis.where if inputs.analysis else []
    tables = []
    for first, second in dict.fromkeys((row.first, row.second) for row in rows):
        of_pair = [r for r in rows if (r.first, r.second, r.metric) == (first, second, METRIC)]
        tables.append(
            {
                "title": f"{label_of(first)} against {label_of(second)}, {METRIC}",
                "rows": [_row(row) for row in of_pair],
            }
        )
    return tables


def _row(row: InGroup) -> dict[str, str]:
    sure = {1: "helps", 0: "", -1: "hurts"}[row.sign]
    return {
        "split": row.split,
        "group": row.group,
        "queries": f"{row.queries:,}",
        "learners": f"{row.learners:,}",
        "second": percent(row.second_mean),
        "first": percent(row.first_mean),
        "difference": points(row.difference, unit=False),
        "interval": between(row.low, row.high),
        "sure": sure,
    }
