"""What adaptation, meta-learning and the steps are worth, in a sentence each, by a rule.

Two models that differ by one thing each: the GRU after gradient steps on the support pairs minus
the GRU is what adaptation is worth; the meta-model after its steps minus the same model after as
many, but not meta-trained, is what meta-learning is worth. For a meta-model that began with random
weights the fine-tuned GRU stands for the latter. Where the meta-model reads the support pairs as an
input too, a third sentence says what its steps add to that. A difference counts if its 95 %
interval over learners leaves out 0 and p is below 0.05 after Holm's correction.
"""

from mooc_maml.evaluation.comparison import FINE_TUNED
from mooc_maml.evaluation.control_names import (
    TOLD,
    TUNED,
    TUNED_START,
    difference_name,
)
from mooc_maml.evaluation.schema import Difference
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of, row_of
from mooc_maml.report.words import between, points, verdict
from mooc_maml.settings.evaluation import MetricName

METRIC: MetricName = "NDCG@10"


def worth(inputs: Inputs) -> str:
    """The sentences; nothing where the models were not compared."""
    few, without = ("few_shot", FINE_TUNED)
    if inputs.difference(TUNED[0], TUNED_START, METRIC) is not None:
        few, without = TUNED[0], TUNED_START
    adaptation = inputs.difference(FINE_TUNED, "gru", METRIC)
    meta_learning = inputs.difference(few, without, METRIC)
    if adaptation is None or meta_learning is None:
        return ""
    return (
        f"Adaptation without meta-learning ({label_of(FINE_TUNED)}, minus {label_of('gru')}) "
        f"{_verdict(adaptation)}. Meta-learning ({label_of(few)}, minus "
        f"{label_of(without)}) {_verdict(meta_learning)}.{_steps(inputs, few)}"
    )


def _steps(inputs: Inputs, few: str) -> str:
    """What the gradient steps add to being told of the support pairs, if the model is told."""
    told = TOLD.get(few)
    rows = inputs.controls.differences.get(difference_name(few, told), []) if told else []
    row = row_of(rows, METRIC)
    if told is None or row is None:
        return ""
    return f" What its gradient steps add to being told (minus {label_of(told)}) {_verdict(row)}."


def worth_finding(inputs: Inputs) -> list[Finding]:
    """The same for the report."""
    text = worth(inputs)
    return [Finding("finding", "worth", text)] if text else []


def _verdict(row: Difference) -> str:
    ends, p = between(row.low, row.high), row.p_holm
    figures = f"{points(row.difference)} {METRIC} ({ends}; p = {p:.2g} after Holm)"
    return verdict(row.sign, figures)
