"""What the mixture's figures say: what its adaptation is worth, and against what."""

from typing import Any

from mooc_maml.evaluation.controls import WITHOUT_STEPS
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import number, percent, points, signed_percent
from mooc_maml.settings.composites_section import ADAPTED

HEADLINE = "HR@1"


def mixture_findings(inputs: Inputs) -> list[Finding]:
    """One for each thing that the mixture is compared with; none where it was not trained."""
    measures = {row.name: row.measures for row in inputs.rows()}
    if not set(ADAPTED) <= set(measures):
        return []
    few, zero = (measures[name][HEADLINE].value for name in ADAPTED)
    best = str(inputs.maml.get("strongest_baseline", "gru"))
    texts = [
        "The mixture, told of the support pairs and adapted on them, goes from "
        f"{percent(zero)} {HEADLINE} (zero-shot) to {percent(few)} (few-shot): "
        f"{_change(inputs, 'mixture_vs_zero')}.",
        *_parts_of_the_gain(inputs),
    ]
    gru = measures["gru"][HEADLINE].value if "gru" in measures else 0.0
    if gru:
        texts.append(
            f"Relative to the GRU that is {signed_percent(100 * (few / gru - 1))}: "
            f"{_change(inputs, 'mixture_vs_gru')}."
        )
    if best in measures and best != "gru":
        texts.append(
            f"Against the strongest baseline, {label_of(best)}, it is at "
            f"{_change(inputs, 'mixture_vs_strongest')}."
        )
    if "pool" in measures:
        texts.append(
            "Against the same parts pooled without meta-learning and without steps, told of the "
            f"same pairs, it is at {_change(inputs, 'mixture_vs_pool')}: that is what "
            "meta-learning is worth in it; the rest is owed to pooling and to being told."
        )
    share = _row(inputs.maml.get("mixture_share_of_the_way_to_the_oracle"), "NDCG@10")
    if share and share["share"] is not None:
        part, low, high = (percent(number(share[key]), 0) for key in ("share", "low", "high"))
        texts.append(
            f"Few-shot closes {part} ({low} to {high}) of its way from zero-shot to the oracle in "
            "NDCG@10."
        )
    return [Finding("finding", "mixture", " ".join(texts))]


def _parts_of_the_gain(inputs: Inputs) -> list[str]:
    """What the parts that read the support pairs give, and what the gradient steps add."""
    metric, comparisons = inputs.controls["judged_by"], inputs.controls["comparisons"]
    few, zero = ADAPTED
    pairs = ((WITHOUT_STEPS, zero), (few, WITHOUT_STEPS))
    rows = [_row(comparisons.get(f"{a}_vs_{b}"), metric) for a, b in pairs]
    if not all(rows):
        return []
    told, steps = (_in_words(row) for row in rows)
    return [
        f"In {metric}, being told of the support pairs gives {told} over zero-shot, and the "
        f"gradient steps add {steps}."
    ]


def _change(inputs: Inputs, comparison: str) -> str:
    """The difference of the headline metric and its certainty, in words."""
    return _in_words(_row((inputs.maml.get("significance") or {}).get(comparison), HEADLINE))


def _in_words(row: dict[str, Any]) -> str:
    low, high = (points(number(row.get(end)), unit=False) for end in ("low", "high"))
    p = number(row.get("p_holm"))
    return f"{points(number(row.get('difference')))} ({low} to {high}; p = {p:.2g} after Holm)"


def _row(rows: Any, metric: str) -> dict[str, Any]:
    return next((row for row in rows or [] if row["metric"] == metric), {})
