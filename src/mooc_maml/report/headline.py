"""What a reader sees first: three plain sentences, and the models that the answer is about."""

import math
from dataclasses import dataclass

from mooc_maml.evaluation.schema import Difference, SeedsResult
from mooc_maml.report.inputs import Inputs, Measure, ModelRow
from mooc_maml.report.words import count, points

HEADLINE = "HR@1"
MOST_ROWS = 8
_WANTED = ("few_shot", "zero_shot", "gru", "mixture", "pool", "oracle", "popularity")


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
    return paired is not None and (paired.low > 0 or paired.high < 0) and paired.p_holm < 0.05


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
    wanted = [*adapted, _WANTED[1], "gru", inputs.maml.strongest_baseline, *_WANTED[3:]]
    chosen = [name for name in dict.fromkeys(wanted) if name in rows][:MOST_ROWS]
    return [row for name, row in rows.items() if name in chosen]


def _found(inputs: Inputs) -> str:
    rows = {row.name: row.measures[HEADLINE] for row in inputs.rows()}
    few, gru = rows.get("few_shot"), rows.get("gru")
    if few is None:
        return "Found: nothing, since no adapted model was tested."
    own = f"after adapting it names the right course first in {_number(few)} of 100 cases"
    own += _by_adapting(inputs, rows)
    if gru is None:
        return f"Found: {own}; there is no GRU to compare with."
    paired = inputs.difference("few_shot", "gru", HEADLINE)
    verdict = "not shown" if not is_sure(paired) else "yes" if few.value > gru.value else "no"
    return f"Found: {verdict}, {own}, the GRU in {_number(gru)}."


def _by_adapting(inputs: Inputs, rows: dict[str, Measure]) -> str:
    """What adapting itself changed, in brackets."""
    zero = rows.get("zero_shot")
    if zero is None:
        return ""
    if not is_sure(inputs.difference("few_shot", "zero_shot", HEADLINE)):
        return f" (no sure change from {_number(zero)} before)"
    way = "up" if rows["few_shot"].value > zero.value else "down"
    return f" ({way} from {_number(zero)} before)"


def _sure(inputs: Inputs, seeds: SeedsResult | None) -> str:
    learners = count(inputs.maml.learners, "test learner", "test learners")
    runs = 1 if seeds is None else len(seeds.seeds)
    made = f"from {count(runs, 'run', 'runs')} on {learners}"
    if inputs.synthetic:
        made += ", who are synthetic, so that it says nothing about real ones"
    paired = inputs.difference("few_shot", "gru", HEADLINE)
    if paired is None:
        return f"How sure: unknown, there is no paired test of the two; {made}."
    ends = f"{points(paired.low, unit=False)} to {points(paired.high, unit=False)}"
    words = "more than chance explains" if is_sure(paired) else "chance is not ruled out"
    return (
        f"How sure: the difference is {points(paired.difference)} (95 % interval {ends}), "
        f"{words}; {made}."
    )


def _number(measure: Measure) -> str:
    return f"{100 * measure.value:.1f}" if math.isfinite(measure.value) else "n.a."
