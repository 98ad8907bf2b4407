"""What adaptation and what meta-learning are worth, in two sentences, by a rule.

The plain GRU, the same GRU after gradient steps on the support pairs, and the meta-trained model
after its steps differ by one thing each: the second minus the first is what adaptation is worth,
the third minus the second what meta-learning is. A difference counts if its 95 % interval over
learners leaves out 0 and p is below 0.05 after Holm's correction.
"""

from mooc_maml.evaluation.comparison import FINE_TUNED
from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.evaluation.schema import Difference
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import points
from mooc_maml.settings.evaluation import MetricName

METRIC: MetricName = "NDCG@10"


def worth(inputs: Inputs) -> str:
    """The two sentences; nothing where the models were not compared."""
    few = TUNED[0] if inputs.maml.tuned_few_shot is not None else "few_shot"
    adaptation = inputs.difference(FINE_TUNED, "gru", METRIC)
    meta_learning = inputs.difference(few, FINE_TUNED, METRIC)
    if adaptation is None or meta_learning is None:
        return ""
    return (
        f"Adaptation without meta-learning ({label_of(FINE_TUNED)}, minus {label_of('gru')}) is "
        f"worth {_verdict(adaptation)}. Meta-learning beyond that ({label_of(few)}, minus "
        f"{label_of(FINE_TUNED)}) is worth {_verdict(meta_learning)}."
    )


def worth_finding(inputs: Inputs) -> list[Finding]:
    """The same for the report."""
    text = worth(inputs)
    return [Finding("finding", "worth", text)] if text else []


def _verdict(row: Difference) -> str:
    ends = f"{points(row.low, unit=False)} to {points(row.high, unit=False)}"
    figures = f"{points(row.difference)} {METRIC} ({ends}; p = {row.p_holm:.2g} after Holm)"
    if row.low > 0 and row.p_holm < 0.05:
        return figures
    if row.high < 0 and row.p_holm < 0.05:
        return f"less than nothing: {figures}"
    return f"nothing that these learners show: {figures}"
