"""What a reader sees first: three plain sentences, and the models that the answer is about."""

import math
from dataclasses import dataclass

from mooc_maml.evaluation.comparison import FINE_TUNED
from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.evaluation.schema import Difference, SeedsResult
from mooc_maml.report.inputs import Inputs, Measure, ModelRow
from mooc_maml.report.words import NOTHING, between, count, points

HEADLINE = "HR@1"
MOST_ROWS = 8
_BESIDE = ("mixture", "pool", "oracle", "zero_shot", "popularity")


@dataclass(frozen=True)
class Answer:
    """What was asked, what came out, and how sure it is: a sentence each."""

    asked: str
    found: str
    sure: str

    @property
    def sentences(self) -> tuple[str, str, str]:
        """All three, in the order that they are read."""
        return (self.asked, self.found, self.sure)


def is_sure(paired: Difference | None) -> bool:
    """Whether a paired difference is more than chance explains: its interval and Holm's p agree."""
    return paired is not None and paired.sign != 0


def answer(inputs: Inputs, seeds: SeedsResult | None = None) -> Answer:
    """The three sentences, by rules from the results.

    Args:
        inputs: the run's results.
        seeds: results of several seeds, if there are any.
    """
    support = count(inputs.params.episodes.support_size, "step", "steps")
    return Answer(
        asked=f"Asked: does a recommender that adapts to {support} of a new learner "
        f"({inputs.method}) predict the next course better than a plain GRU, which does not adapt?",
        found=_found(inputs),
        sure=_sure(inputs, seeds),
    )


def headline_rows(inputs: Inputs) -> list[ModelRow]:
    """At most eight models: what adapts, what it must beat, bounds; best on validation first."""
    rows = {row.name: row for row in inputs.rows()}
    adapted = [name for name in rows if name.endswith("few_shot")]
    wanted = [*adapted, "gru", FINE_TUNED, inputs.maml.strongest_baseline, *_BESIDE]
    chosen = [name for name in dict.fromkeys(wanted) if name in rows][:MOST_ROWS]
    return [row for name, row in rows.items() if name in chosen]


def _found(inputs: Inputs) -> str:
    rows = {row.name: row.measures[HEADLINE] for row in inputs.rows()}
    few, gru, tuned = rows.get("few_shot"), rows.get("gru"), rows.get(TUNED[0])
    if few is None:
        return "Found: nothing, since no adapted model was tested."
    own = f"after adapting it names the right course first in {_number(few)} of 100 cases"
    own += _by_adapting(inputs, rows, ("few_shot", "zero_shot"))
    if gru is None:
        return f"Found: {own}; there is no GRU to compare with."
    found = f"Found: {_verdict(inputs, 'few_shot')}, {own}, the GRU in {_number(gru)}"
    if tuned is None:
        return f"{found}."
    return (
        f"{found}; with tuned settings {_verdict(inputs, TUNED[0])}, in {_number(tuned)}"
        f"{_by_adapting(inputs, rows, TUNED)}."
    )


def _verdict(inputs: Inputs, model: str) -> str:
    """Whether a model is better than the GRU: yes, no, or not shown."""
    paired = inputs.difference(model, "gru", HEADLINE)
    if paired is None or not is_sure(paired):
        return "not shown"
    return "yes" if paired.difference > 0 else "no"


def _by_adapting(inputs: Inputs, rows: dict[str, Measure], names: tuple[str, str]) -> str:
    """What adapting itself changed, in brackets."""
    after, before = names
    zero = rows.get(before)
    if zero is None:
        return ""
    if not is_sure(inputs.difference(after, before, HEADLINE)):
        return f" ({_number(zero)} before; the change may be chance)"
    way = "up" if rows[after].value > zero.value else "down"
    return f" ({way} from {_number(zero)} before)"


def _sure(inputs: Inputs, seeds: SeedsResult | None) -> str:
    learners = count(inputs.maml.learners, "test learner", "test learners")
    runs = 1 if seeds is None else len(seeds.seeds)
    made = f"from {count(runs, 'run', 'runs')} on {learners}"
    if inputs.synthetic:
        made += ", who are synthetic, so that it says nothing about real ones"
    if inputs.difference("few_shot", "gru", HEADLINE) is None:
        return f"How sure: unknown, there is no paired test of the two; {made}."
    tuned = inputs.difference(TUNED[0], "gru", HEADLINE)
    more = "" if tuned is None else f"; with tuned settings {_certainty(tuned)}"
    paired = inputs.difference("few_shot", "gru", HEADLINE)
    return f"How sure: the difference to the GRU is {_certainty(paired)}{more}; {made}."


def _certainty(paired: Difference | None) -> str:
    if paired is None:
        return NOTHING
    ends = between(paired.low, paired.high)
    words = "more than chance explains" if is_sure(paired) else "chance is not ruled out"
    return f"{points(paired.difference)} (95 % interval {ends}), {words}"


def _number(measure: Measure) -> str:
    return f"{100 * measure.value:.1f}" if math.isfinite(measure.value) else "n.a."
