"""Tables of what experiments/variants measured: one a data set and backbone, and the curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.variant_run import NAMES, TUNED
from mooc_maml.report.inputs import label_of
from mooc_maml.report.measured import Row
from mooc_maml.report.words import between, percent, points

SHOWN = ("HR@10", "NDCG@10")
CURVES = ("maml", TUNED)  # what is shown at each size


def at_length(content: Mapping[str, Any]) -> str:
    """Test metrics, cost and memory of every way to adapt; then which are left out or missing."""
    rows = [row for row in content["rows"] if "test" in row]
    lines = [
        ["", "α, β", "updates, best at", "CPU s an update", "peak MB"]
        + [f"validation few-shot {SHOWN[-1]}, before and best"]
        + [f"{mode} {' / '.join(SHOWN)}" for mode in ("zero-shot", "few-shot")]
        + ["few-shot − zero-shot", "few-shot − baseline"]
    ]
    baseline = label_of(content["baseline_name"])
    lines.append([f"{baseline}, not adapted", *[""] * 5, _pair(content["baseline"]), "", "", ""])
    lines += [_line(row) for row in rows]
    return f"{_about(content, baseline)}\n\n{markdown(lines)}{_without(content)}"


def _line(row: Row) -> list[str]:
    """One way to adapt."""
    few = [evaluation["few_shot"][SHOWN[-1]] for evaluation in row["evaluations"]]
    return [
        row["variant"],
        f"{row['alpha']:g}, {row['beta']:g}",
        _updates(row),
        f"{row['seconds_an_update']:.2f}",
        "" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
        f"{percent(few[0])}, {percent(max(few))}",
        *(_pair(row["test"][mode]) for mode in ("zero_shot", "few_shot")),
        *(_ahead(row[f"few_shot_vs_{other}"]) for other in ("zero_shot", "baseline")),
    ]


def _about(content: Mapping[str, Any], baseline: str) -> str:
    """What was done to each, in words."""
    own, learners = content["budget"], content["learners"]
    start = "random weights" if content["start"] == "random" else f"the trained {baseline}"
    alphas, betas = (", ".join(f"{x:g}" for x in own[key]) for key in ("alphas", "betas"))
    return (
        f"{learners['test']:,} test and {learners['validation']:,} validation learners, "
        f"{learners['training_with_episodes']:,} training learners with episodes, one seed; all "
        f"begin with {start}. Budget of each: α of {alphas} and β of {betas} tried for "
        f"{own['tries']} meta-updates each, then at most {own['updates']}, evaluated every "
        f"{own['interval']}, ended after {own['patience']} without a new best. In brackets 95 % "
        f"intervals over learners; differences are of {SHOWN[-1]}, in points."
    )


def _without(content: Mapping[str, Any]) -> str:
    """Which rows there are not, and why."""
    left_out = [row["variant"] for row in content["rows"] if "left_out" in row]
    there = {row["variant"] for row in content["rows"]}
    missing = [name for name in NAMES if name not in there]
    found = ""
    if left_out:
        backbone = content["backbone"]
        found += (
            f"\nLeft out, since the backbone {backbone} has not the part of the weights, or the "
            f"dropout and pointer, that they are made of: {', '.join(left_out)}.\n"
        )
    if missing:
        found += f"\nNot run: {', '.join(missing)}.\n"
    return found


def curve(points: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Few-shot and the baseline at each size, by the test learners' NDCG@10.

    Args:
        points: what the size is, in words, and the content of its file.
    """
    rows = [
        {row["variant"]: row for row in content["rows"] if "test" in row} for _, content in points
    ]
    names = [name for name in CURVES if sum(name in own for own in rows) > 1]
    lines = [["", "baseline", *(f"{name}: {x}" for name in names for x in _OF_CURVE)]]
    for (words, content), own in zip(points, rows, strict=True):
        cells = [_point(own.get(name)) for name in names]
        lines.append([words, _mean(content["baseline"]), *(x for of in cells for x in of)])
    return markdown(lines)


_OF_CURVE = ("updates, best at", "zero-shot", "few-shot", "few-shot − baseline")


def _point(row: Row | None) -> list[str]:
    if row is None:
        return ["not run", *[""] * (len(_OF_CURVE) - 1)]
    shots = (_mean(row["test"][mode]) for mode in ("zero_shot", "few_shot"))
    return [_updates(row), *shots, _ahead(row["few_shot_vs_baseline"])]


def _updates(row: Row) -> str:
    bound = "" if row["stopped_early"] else ", bound"
    return f"{row['updates']}{bound}, {row['best_at']}"


def _pair(metrics: Mapping[str, Any]) -> str:
    """HR@10 / NDCG@10 with the interval of the second."""
    return f"{percent(metrics[SHOWN[0]]['mean'])} / {_mean(metrics)}"


def _mean(metrics: Mapping[str, Any]) -> str:
    own = metrics[SHOWN[-1]]
    if own["low"] is None:
        return percent(own["mean"])
    return f"{percent(own['mean'])} ({100 * own['low']:.1f}–{100 * own['high']:.1f})"


def _ahead(rows: Sequence[Row]) -> str:
    """A difference in points with its interval."""
    own = next(row for row in rows if row["metric"] == SHOWN[-1])
    words = points(own["difference"], unit=False)
    return words if own["low"] is None else f"{words} ({between(own['low'], own['high'])})"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the head first, as a Markdown table."""
    head, *body = lines
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
