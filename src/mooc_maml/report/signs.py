"""Signs that the training went well or did not: the commissioning document's list."""

from mooc_maml.report.finding import Finding
from mooc_maml.report.findings import HEADLINE
from mooc_maml.report.inputs import Inputs, finite
from mooc_maml.report.words import percent

_LOSS_WITHIN = 2000  # iterations within which the loss should have fallen
_FLAT_BELOW = 0.30  # HR@1 on validation; a plateau below it is a bad sign
_FLAT_GAIN = 0.005  # less than half a point gained in the second half of training is a plateau


def training_signs(inputs: Inputs) -> list[Finding]:
    """How the training ended, and a warning for each bad sign."""
    found = [_ending(inputs), _loss(inputs), _broken(inputs), _flat(inputs)]
    return [finding for finding in found if finding is not None]


def _ending(inputs: Inputs) -> Finding | None:
    few = inputs.validation[inputs.validation["mode"] == "few_shot"]
    metric = inputs.params.evaluation.validation_metric
    few = few[few[metric].notna()]
    if inputs.training.empty or few.empty:
        return None
    last, most = int(inputs.training["iteration"].max()), inputs.params.num_meta_iterations
    best = few.iloc[int(few[metric].to_numpy().argmax())]
    early = f"stopped early, at iteration {last:,} of at most {most:,}"
    text = (
        f"Training {early if last < most else f'ran all {last:,} iterations'}; few-shot {metric} "
        f"on validation was highest ({percent(best[metric])}) at iteration "
        f"{int(best['iteration']):,}."
    )
    return Finding("finding", "training", text)


def _loss(inputs: Inputs) -> Finding | None:
    """Compare the first stretch with the last one before iteration 2,000."""
    table = inputs.training
    losses = finite(table.loc[table["iteration"] <= _LOSS_WITHIN, "train_loss"])
    stretch = len(losses) // 4
    if stretch == 0:
        return None
    first, last = sum(losses[:stretch]) / stretch, sum(losses[-stretch:]) / stretch
    until = min(_LOSS_WITHIN, int(table["iteration"].max()))
    if last < first:
        text = f"The training loss fell from {first:.2f} to {last:.2f} by iteration {until:,}."
        return Finding("finding", "loss", text)
    text = (
        f"The training loss did not fall by iteration {until:,} ({first:.2f} at first, "
        f"{last:.2f} then): lower inner_lr or outer_lr, or look at the data."
    )
    return Finding("warning", "loss", text)


def _broken(inputs: Inputs) -> Finding | None:
    broken = len(inputs.training) - len(finite(inputs.training["train_loss"]))
    if broken == 0:
        return None
    text = f"The training loss was no finite number in {broken:,} iterations: lower inner_lr."
    return Finding("warning", "loss_not_finite", text)


def _flat(inputs: Inputs) -> Finding | None:
    few = inputs.validation[inputs.validation["mode"] == "few_shot"].sort_values("iteration")
    values = finite(few[HEADLINE])
    if len(values) < 4:
        return None
    middle = len(values) // 2
    best, before = max(values), max(values[:middle])
    if best >= _FLAT_BELOW or max(values[middle:]) - before >= _FLAT_GAIN:
        return None
    text = (
        f"Few-shot {HEADLINE} on validation stays below {percent(_FLAT_BELOW, 0)} "
        f"(best {percent(best)}) and gains nothing in the second half of training. On XuetangX "
        "that is a sign of a fault; on other data the ceiling may lie there: compare with the GRU."
    )
    return Finding("warning", "validation_flat", text)
