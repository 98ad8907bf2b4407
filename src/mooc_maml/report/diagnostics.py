"""Signs that the training went well or did not: the commissioning document's list."""

from dataclasses import replace

from mooc_maml.evaluation.control_names import TUNED
from mooc_maml.meta.diagnostics import Curves, diagnose, loss_change
from mooc_maml.report.finding import Finding
from mooc_maml.report.findings import HEADLINE
from mooc_maml.report.inputs import Inputs, label_of
from mooc_maml.report.words import percent


def training_diagnostics(inputs: Inputs) -> list[Finding]:
    """How the training ended, and a warning for each bad sign; of both meta-models."""
    tuned = inputs.of_tuned()
    found = _of_one(inputs)
    if tuned is not None:
        label = label_of(TUNED[0]).split(",")[0]
        found += [
            replace(own, name=f"tuned_{own.name}", text=f"{label}: {own.text}")
            for own in _of_one(tuned)
        ]
    return found


def _of_one(inputs: Inputs) -> list[Finding]:
    curves = _curves(inputs)
    found = [_ending(inputs), _loss(curves)]
    warned = [Finding("warning", *warning) for warning in diagnose(curves, ended=True)]
    return [finding for finding in found if finding is not None] + warned


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


def _loss(curves: Curves) -> Finding | None:
    """That the loss fell; where it did not, a warning says so."""
    change = loss_change(curves)
    if change is None or change.last >= change.first:
        return None
    text = (
        f"The training loss fell from {change.first:.2f} to {change.last:.2f} by iteration "
        f"{change.until:,}."
    )
    return Finding("finding", "loss", text)


def _curves(inputs: Inputs) -> Curves:
    few = inputs.validation[inputs.validation["mode"] == "few_shot"].sort_values("iteration")
    table, metric = inputs.training, inputs.params.evaluation.validation_metric
    losses, hr1 = table["train_loss"].tolist(), few[HEADLINE].tolist()
    return Curves(table["iteration"].tolist(), losses, hr1, few[metric].tolist())
