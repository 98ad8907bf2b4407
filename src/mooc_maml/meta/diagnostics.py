"""Whether a training goes wrong: the commissioning document's list, read off the two curves.

Meta-training asks while it runs, the report when it has ended.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

LOSS_WITHIN = 2000  # meta-updates within which the loss should have fallen
FLAT_BELOW = 0.30  # HR@1 on validation; a plateau below it is a bad sign
FLAT_GAIN = 0.005  # less than half a point gained in the second half of training is a plateau


class Curves(NamedTuple):
    """What training leaves.

    Attributes:
        iterations: number of the last meta-update that each loss stands for.
        losses: query loss of a meta-update, or the mean of a block of them.
        hr1: few-shot HR@1 of each evaluation of the validation set, first to last; a fraction.
        few_shot: the few-shot metric that chooses the weights, likewise.
    """

    iterations: Sequence[int]
    losses: Sequence[float]
    hr1: Sequence[float]
    few_shot: Sequence[float] = ()


class Warned(NamedTuple):
    """Something to worry about: a key for programs, a sentence for people."""

    key: str
    text: str


class LossChange(NamedTuple):
    """The training loss in the first and the last quarter of the meta-updates till `until`."""

    first: float
    last: float
    until: int


def diagnose(curves: Curves, *, ended: bool) -> list[Warned]:
    """The warnings that two curves give.

    Args:
        ended: whether the run is over; before that nothing is said of a loss or a metric until
            `LOSS_WITHIN` meta-updates are done, when it is too early to tell.
    """
    found = [_not_finite(curves)]
    if ended or (curves.iterations and curves.iterations[-1] >= LOSS_WITHIN):
        found += [_level(curves), _flat(curves)]
    if ended:
        found.append(_start_best(curves))
    return [warning for warning in found if warning is not None]


def loss_change(curves: Curves) -> LossChange | None:
    """How the loss went within `LOSS_WITHIN` meta-updates; None: fewer than four finite values."""
    early = [
        loss
        for iteration, loss in zip(curves.iterations, curves.losses, strict=True)
        if iteration <= LOSS_WITHIN and math.isfinite(loss)
    ]
    quarter = len(early) // 4
    if quarter == 0:
        return None
    until = min(LOSS_WITHIN, max(curves.iterations))
    return LossChange(sum(early[:quarter]) / quarter, sum(early[-quarter:]) / quarter, until)


def _level(curves: Curves) -> Warned | None:
    change = loss_change(curves)
    if change is None or change.last < change.first:
        return None
    return Warned(
        "loss",
        f"The training loss did not fall by iteration {change.until:,} ({change.first:.2f} at "
        f"first, {change.last:.2f} then): lower inner_lr or outer_lr, or look at the data.",
    )


def _start_best(curves: Curves) -> Warned | None:
    """Of two evaluations or more, the one before the first meta-update is not surpassed."""
    values = [value for value in curves.few_shot if math.isfinite(value)]
    if len(values) < 2 or max(values[1:]) > values[0]:
        return None
    return Warned(
        "start_best",
        "Meta-training has not improved on its start: no evaluation of validation was above the "
        f"one before the first meta-update ({100 * values[0]:.1f} %, then at most "
        f"{100 * max(values[1:]):.1f} %). What is kept is the start: lower outer_lr, or see "
        "meta.dropout, meta.weight_decay and meta.average.",
    )


def _not_finite(curves: Curves) -> Warned | None:
    broken = sum(not math.isfinite(loss) for loss in curves.losses)
    if broken == 0:
        return None
    return Warned(
        "loss_not_finite",
        f"The training loss was no finite number in {broken:,} iterations: lower inner_lr.",
    )


def _flat(curves: Curves) -> Warned | None:
    """Of four evaluations or more: low, and the second half no better than the first."""
    values = [value for value in curves.hr1 if math.isfinite(value)]
    if len(values) < 4:
        return None
    middle = len(values) // 2
    best, before = max(values), max(values[:middle])
    if best >= FLAT_BELOW or max(values[middle:]) - before >= FLAT_GAIN:
        return None
    return Warned(
        "validation_flat",
        f"Few-shot HR@1 on validation stays below {100 * FLAT_BELOW:.0f} % (best "
        f"{100 * best:.1f} %) and gains "
        "nothing in the second half of training. On XuetangX that is a sign of a fault; on other "
        "data the ceiling may lie there: compare with the GRU.",
    )
