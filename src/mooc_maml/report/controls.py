"""What the controls say: whether adaptation helps where it must not, and where it must."""

from itertools import product

from mooc_maml.evaluation.control_names import CONTROLLED, Controlled, difference_name
from mooc_maml.evaluation.schema import ShareOfTheWay
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of, row_of
from mooc_maml.report.words import NOTHING, change, number, percent

# The least share of the way from zero-shot to the oracle that few-shot has to go on synthetic data.
MUST_CLOSE = 0.1
_CORRUPTED = {
    "shuffled": (
        "the next courses of a learner's support pairs shuffled among them",
        "a part of the gain needs only which courses the learner opens, not what follows what",
    ),
    "exchanged": (
        "the support pairs of another learner",
        "a part of the gain is no knowledge of the learner: any support pairs give it",
    ),
}
# Controls that say less than they seem to.
_EASY = {
    "mixture_exchanged": "The mixture takes what it is told for the learner's own history, so that "
    "a stranger's can hardly help it. ",
}


def control_findings(inputs: Inputs) -> list[Finding]:
    """One of each negative control, and of the positive one where there is an oracle."""
    found = [
        _negative(inputs, own, name)
        for own, name in product(CONTROLLED, _CORRUPTED)
        if own.prefix + name in inputs.controls.helps
    ]
    rows = inputs.controls.share_of_the_way_to_the_oracle.get("few_shot", [])
    share = row_of(rows, inputs.controls.judged_by)
    return [*found, _positive(share)] if share else found


def _negative(inputs: Inputs, own: Controlled, name: str) -> Finding:
    metric, (words, meaning) = inputs.controls.judged_by, _CORRUPTED[name]
    control, zero = own.prefix + name, own.zero_shot
    text = (
        f"Negative control: adapted on {words}, {label_of(own.few_shot)} is at "
        f"{_change(inputs, control, zero)} {metric} of its zero-shot; adapted on the "
        f"learner's own pairs, at {_change(inputs, own.few_shot, zero)}. "
    )
    if control in _EASY:
        text += _EASY[control]
    above = _above(inputs, control, zero)
    if inputs.controls.helps[control]:
        text += f"It must not help, and it does ({above}): {meaning}."
        return Finding("warning", f"control_{control}", text)
    text += f"It must not help, and it does not: the control holds (not {above})."
    return Finding("finding", f"control_{control}", text)


def _positive(row: ShareOfTheWay) -> Finding:
    share, low, high = number(row.share), number(row.low), number(row.high)
    sure = "no interval" if row.low is None else f"{percent(low, 0)} to {percent(high, 0)}"
    text = (
        f"Positive control: these learners have tastes that adaptation can find. Few-shot closes "
        f"{percent(share, 0)} of the way from zero-shot to the oracle in {row.metric} "
        f"({sure}); at least {percent(MUST_CLOSE, 0)}, and surely "
        "more than nothing, is asked of it: "
    )
    if share >= MUST_CLOSE and low > 0:
        return Finding("finding", "control_oracle", f"{text}the control holds.")
    return Finding("warning", "control_oracle", f"{text}the control fails.")


def _above(inputs: Inputs, control: str, zero: str) -> str:
    rows = inputs.controls.differences.get(difference_name(control, zero), [])
    row = row_of(rows, inputs.controls.judged_by)
    alike = row is not None and row.low is None
    return "better for every learner alike" if alike else "the interval is above 0"


def _change(inputs: Inputs, first: str, second: str) -> str:
    """The difference of two models in the metric that the controls are judged by, in words."""
    rows = inputs.controls.differences.get(difference_name(first, second), [])
    row = row_of(rows, inputs.controls.judged_by)
    return NOTHING if row is None else change(row.difference, row.low, row.high)
