"""What the figures say, in plain words made from the numbers of the run."""

import math

import pandas as pd

from mooc_maml.evaluation.schema import METRICS
from mooc_maml.evaluation.statistics import LEAST_LEARNERS
from mooc_maml.report.ablations import ablation_texts
from mooc_maml.report.calibration import calibration_findings
from mooc_maml.report.controls import control_findings
from mooc_maml.report.finding import Finding
from mooc_maml.report.inputs import Inputs, Measure, label_of
from mooc_maml.report.mixture import mixture_findings
from mooc_maml.report.words import between, count, number, percent, points, signed_percent
from mooc_maml.report.worth import worth_finding
from mooc_maml.settings.evaluation import MetricName

HEADLINE: MetricName = "HR@1"
# The commissioning document: few-shot HR@1 that it expected, and the GRU that was to be beaten.
EXPECTED_LOW, EXPECTED_HIGH, STUDY_GRU = 0.38, 0.43, 0.3373
# What the same study then published for few-shot second-order MAML (346 XuetangX learners, 2015).
STUDY_FEW_SHOT = 0.3052
TARGET_PERCENT = 100 * (EXPECTED_LOW / STUDY_GRU - 1)
_WIDE = 0.04  # an interval of this width hides every effect that the study reports for adaptation


def results(inputs: Inputs) -> list[Finding]:
    """Findings from the test, the ablations and the parameter change, most important first."""
    measures = {row.name: row.measures for row in inputs.rows()}
    zero, few = measures["zero_shot"], measures["few_shot"]
    gru = measures.get("gru", {metric: Measure(math.nan) for metric in METRICS})
    texts = {
        "adaptation": _adaptation(inputs, zero, few),
        "against_gru": _against_gru(inputs, few, gru),
        "against_strongest": _against_strongest(inputs, measures),
        "target": _target(inputs),
    }
    if "oracle" in measures:
        texts["oracle"] = _oracle(zero[HEADLINE], few[HEADLINE], measures["oracle"][HEADLINE])
    if "popularity" in measures:
        level = percent(measures["popularity"][HEADLINE].value)
        texts["popularity"] = (
            f"Recommending the most popular courses to everyone reaches {level} {HEADLINE}: "
            "the level of a model that knows nothing of the learner."
        )
    texts |= ablation_texts(inputs)
    texts["param_change"] = _param_change(inputs.param_change)
    texts["test_reads"] = _test_reads(inputs)
    found = [Finding("finding", name, text) for name, text in texts.items() if text]
    if inputs.is_too_small:
        facts = [each for each in found if each.name in ("adaptation", "against_gru", "test_reads")]
        return [_too_few_learners(inputs), *facts]
    found = worth_finding(inputs) + found
    found += mixture_findings(inputs) + control_findings(inputs) + calibration_findings(inputs)
    return found + _uncertainty(inputs, few[HEADLINE])


def _too_few_learners(inputs: Inputs) -> Finding:
    """That nothing can be concluded."""
    text = (
        f"Nothing can be concluded from this run: it has "
        f"{count(inputs.maml.learners, 'test learner', 'test learners')} with K + Q pairs, and "
        f"below {LEAST_LEARNERS} no test over learners can tell a difference from chance. There "
        "are no intervals, and what follows says only what these learners did. Use more data, or "
        "raise episodes.test_fraction."
    )
    return Finding("warning", "too_few_learners", text)


def _adaptation(inputs: Inputs, zero: dict[str, Measure], few: dict[str, Measure]) -> str:
    pairs = count(inputs.params.episodes.support_size, "pair", "pairs")
    change = points(few[HEADLINE].value - zero[HEADLINE].value)
    others = ", ".join(
        f"{metric} {points(few[metric].value - zero[metric].value, unit=False)}"
        for metric in METRICS
        if metric != HEADLINE
    )
    return (
        f"Adaptation on {pairs} changes {HEADLINE} by {change}, from "
        f"{percent(zero[HEADLINE].value)} (zero-shot) to {percent(few[HEADLINE].value)} "
        f"(few-shot). {_certainty(inputs, 'zero_shot', few[HEADLINE], zero[HEADLINE])} "
        f"The other metrics, in points: {others}."
    )


def _against_gru(inputs: Inputs, few: dict[str, Measure], gru: dict[str, Measure]) -> str:
    ahead = [metric for metric in METRICS if few[metric].value > gru[metric].value]
    where = f" ({', '.join(ahead)})" if ahead else ""
    improvement = _improvement(inputs)
    relative = (
        "" if math.isnan(improvement) else f", that is {signed_percent(improvement)} relative to it"
    )
    return (
        f"Against the plain GRU ({percent(gru[HEADLINE].value)} {HEADLINE}) few-shot is at "
        f"{points(few[HEADLINE].value - gru[HEADLINE].value)}{relative}. "
        f"{_certainty(inputs, 'gru', few[HEADLINE], gru[HEADLINE])} "
        f"Few-shot is ahead of the GRU on {len(ahead)} of {len(METRICS)} metrics{where}."
    )


def _against_strongest(inputs: Inputs, measures: dict[str, dict[str, Measure]]) -> str:
    best = inputs.maml.strongest_baseline
    if best not in measures or "few_shot" not in measures:
        return ""
    metric = inputs.params.evaluation.validation_metric
    chosen = f"The strongest baseline by validation {metric} is {label_of(best)}"
    if best == "gru":
        return f"{chosen}."
    ours, other = measures["few_shot"][HEADLINE], measures[best][HEADLINE]
    return (
        f"{chosen} ({percent(other.value)} {HEADLINE} on the test learners); few-shot is at "
        f"{points(ours.value - other.value)} of it. "
        f"{_certainty(inputs, best, ours, other)}"
    )


def _test_reads(inputs: Inputs) -> str:
    """How often these test learners were read, as far as it is known."""
    total = sum(inputs.test_reads.values())
    if not total:
        return ""
    files = ", ".join(f"{name} {number:,}" for name, number in inputs.test_reads.items())
    return (
        f"Figures of these test learners have been read {count(total, 'time', 'times')} so far "
        f"({files}): so many different result files about them were written. The count goes along "
        "with git; test reads in other clones that were not committed are not in it."
    )


def _target(inputs: Inputs) -> str:
    improvement = _improvement(inputs)
    reached = "reached" if improvement >= TARGET_PERCENT else "not reached"
    if math.isnan(improvement):
        reached = f"neither reached nor missed: {_why_no_improvement(inputs)}"
    study = 100 * (STUDY_FEW_SHOT / STUDY_GRU - 1)
    return (
        f"The study's target, few-shot {HEADLINE} of {percent(EXPECTED_LOW, 0)} to "
        f"{percent(EXPECTED_HIGH, 0)} against a GRU of {percent(STUDY_GRU, 2)}, means at least "
        f"{TARGET_PERCENT:.1f} % better than the GRU. This run: {signed_percent(improvement)}, "
        f"so the target is {reached}. The study itself published {percent(STUDY_FEW_SHOT, 2)} "
        f"({signed_percent(study)}). Its figures are of XuetangX learners of 2015, this run's of "
        f"{inputs.source_label}: only the distance to the GRU compares."
    )


def _why_no_improvement(inputs: Inputs) -> str:
    """Why there is no figure of how much better few-shot is than the GRU."""
    if "gru" in inputs.maml.models:
        return f"the GRU is at {percent(0)} {HEADLINE}, of which there is no share"
    return "there is no GRU to compare with"


def _improvement(inputs: Inputs) -> float:
    return number(inputs.maml.improvement_over_gru_percent.get(HEADLINE))


def _certainty(inputs: Inputs, against: str, ours: Measure, other: Measure) -> str:
    """Say whether few-shot differs by more than chance, from the paired test if there is one."""
    paired = inputs.difference("few_shot", against, HEADLINE)
    if paired is not None and paired.low is None:
        return _without_interval(inputs)
    if paired is not None and paired.low is not None and paired.high is not None:
        verdict = "more than chance explains" if paired.sign else "chance is not ruled out"
        return (
            f"The 95 % interval of the difference over the same learners is "
            f"{between(paired.low, paired.high)} points "
            f"(p = {paired.p_holm:.2g} after Holm's correction): {verdict}."
        )
    if not (ours.has_interval and other.has_interval):
        return "There is no interval to tell how sure this is."
    overlap = ours.low <= other.high and other.low <= ours.high
    verdict = "overlap, so that chance is not ruled out" if overlap else "do not overlap"
    return f"The two 95 % intervals ({interval(ours)} and {interval(other)}) {verdict}."


def _without_interval(inputs: Inputs) -> str:
    if inputs.is_too_small:
        return "Whether that is chance cannot be told from so few learners."
    return "It is the same for every learner, so that there is no interval."


def interval(measure: Measure) -> str:
    """The ends of a 95 % interval in percent, such as 29.1–33.6 %."""
    if not measure.has_interval:
        return "n.a."
    return f"{100 * measure.low:.1f}–{percent(measure.high)}"


def _oracle(zero: Measure, few: Measure, oracle: Measure) -> str:
    room = oracle.value - zero.value
    share = (few.value - zero.value) / room if room > 0 else math.nan
    return (
        f"Since these learners are synthetic, the best possible prediction is known: it reaches "
        f"{percent(oracle.value)} {HEADLINE}. Adaptation closes {percent(share, 0)} of the "
        "distance from zero-shot to it."
    )


def _param_change(table: pd.DataFrame) -> str:
    medians = table.groupby("layer", sort=False)["relative_change"].median().dropna()
    if medians.empty:
        return ""
    most = str(medians.idxmax())
    return (
        f"Of all layers, {most} moves most in adaptation: by {100 * medians[most]:.2g} % of its "
        f"norm for the median learner; {medians.idxmin()} moves least, "
        f"by {100 * medians.min():.2g} %."
    )


def _uncertainty(inputs: Inputs, few: Measure) -> list[Finding]:
    if not few.has_interval or few.high - few.low < _WIDE:
        return []
    text = (
        f"The test has {count(inputs.maml.learners, 'learner', 'learners')}, so the 95 % "
        f"interval of few-shot {HEADLINE} is wide ({interval(few)}): read differences of a few "
        "points between models with care, by the paired comparison where there is one."
    )
    return [Finding("warning", "wide_interval", text)]
