"""What the mixture's figures say: what its adaptation is worth, and against what."""

from mooc_maml.evaluation.control_names import WITHOUT_STEPS, difference_name
from mooc_maml.evaluation.schema import Difference
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of, row_of
from mooc_maml.report.words import NOTHING, change, number, percent, signed_percent
from mooc_maml.settings.composites_section import ADAPTED

HEADLINE = "HR@1"


def mixture_findings(inputs: Inputs) -> list[Finding]:
    """One for each thing that the mixture is compared with; none where it was not trained."""
    measures = {row.name: row.measures for row in inputs.rows()}
    if not set(ADAPTED) <= set(measures):
        return []
    few, zero = (measures[name][HEADLINE].value for name in ADAPTED)
    best = inputs.maml.strongest_baseline
    texts = [
        "The mixture, told of the support pairs and adapted on them, goes from "
        f"{percent(zero)} {HEADLINE} (zero-shot) to {percent(few)} (few-shot): "
        f"{_change(inputs, ADAPTED[1])}.",
        *_parts_of_the_gain(inputs),
    ]
    gru = measures["gru"][HEADLINE].value if "gru" in measures else 0.0
    if gru:
        texts.append(
            f"Relative to the GRU that is {signed_percent(100 * (few / gru - 1))}: "
            f"{_change(inputs, 'gru')}."
        )
    if best in measures and best != "gru":
        texts.append(
            f"Against the strongest baseline, {label_of(best)}, it is at {_change(inputs, best)}."
        )
    if "pool" in measures:
        texts.append(
            "Against the same parts pooled without meta-learning and without steps, told of the "
            f"same pairs, it is at {_change(inputs, 'pool')}: that is what "
            "meta-learning is worth in it; the rest is owed to pooling and to being told."
        )
    share = row_of(inputs.maml.share_of_the_way_to_the_oracle.get(ADAPTED[0], []), "NDCG@10")
    if share is not None and share.share is not None:
        ends = (share.share, share.low, share.high)
        part, low, high = (percent(number(value), 0) for value in ends)
        sure = "" if share.low is None else f" ({low} to {high})"
        texts.append(
            f"Few-shot closes {part}{sure} of its way from zero-shot to the oracle in NDCG@10."
        )
    return [Finding("finding", "mixture", " ".join(texts))]


def _parts_of_the_gain(inputs: Inputs) -> list[str]:
    """What the parts that read the support pairs give, and what the gradient steps add."""
    metric, differences = inputs.controls.judged_by, inputs.controls.differences
    few, zero = ADAPTED
    pairs = ((WITHOUT_STEPS, zero), (few, WITHOUT_STEPS))
    rows = [row_of(differences.get(difference_name(a, b), []), metric) for a, b in pairs]
    if None in rows:
        return []
    told, steps = (_in_words(row) for row in rows)
    return [
        f"In {metric}, being told of the support pairs gives {told} over zero-shot, and the "
        f"gradient steps add {steps}."
    ]


def _change(inputs: Inputs, against: str) -> str:
    """The mixture's difference in the headline metric and its certainty, in words."""
    return _in_words(inputs.difference(ADAPTED[0], against, HEADLINE))


def _in_words(row: Difference | None) -> str:
    if row is None:
        return NOTHING
    return change(row.difference, row.low, row.high, f"p = {row.p_holm:.2g} after Holm")
