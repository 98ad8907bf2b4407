"""A meta-training run as a process lives it: take up, train, save, show, and leave its files."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mooc_maml.common.errors import UserError
from mooc_maml.common.progress import following, part, say, step
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.diagnostics import Curves, diagnose
from mooc_maml.meta.files import keep_checkpoint, keep_model, write_curves, write_evaluations
from mooc_maml.meta.live import LiveCurves, live_curves
from mooc_maml.meta.model import MetaModel
from mooc_maml.meta.train import MODES, MetaTrainer, Progress, meta_train
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.runtime.hardware import dtype, setup
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.saved_state import SECONDS_BETWEEN_SAVES
from mooc_maml.runtime.signals import Stop
from mooc_maml.settings.params import Params


def check_settings(params: Params) -> None:
    """Stop before any work where backbone, variant and warm start do not go together.

    Raises:
        UserError: what is allowed instead.
    """
    variant_of(params)
    backbone_of(params).check(params)
    if params.meta.warm_start:
        backbone_of(params).baseline_to_begin_with()


def warm_start(params: Params, baseline: Path, num_courses: int) -> nn.Module | None:
    """The baseline to begin with; None: random weights.

    Raises:
        UserError: there is none for this backbone, or its file is missing or damaged.
    """
    if not params.meta.warm_start:
        return None
    backbone = backbone_of(params)
    backbone.baseline_to_begin_with()
    return backbone.begun_with(backbone.read(baseline, num_courses), params)


def read_start(
    baseline: Path, params: Params, num_courses: int, seen: SeenFilter
) -> MetaModel | None:
    """What a meta-model began with, ready to be adapted: the control for meta-training.

    None: it began with random weights, of which nothing is to be expected.

    Raises:
        UserError: see `warm_start`.
    """
    start = warm_start(params, baseline, num_courses)
    if start is None:
        return None
    own = setup(params.hardware), dtype(params.hardware)
    weights = weights_of(start.to(*own))
    learned = variant_of(params).learned(weights)
    task_model = backbone_of(params).task_model(start, *own, seen)
    return MetaModel(task_model, weights | learned, params)


def run_meta_training(
    trainer: MetaTrainer, run: RunState, model: Path, plots: Path, evaluations: Path | None = None
) -> None:
    """Go on from the saved state, train to the end, and leave model, checkpoints and curves.

    Args:
        trainer: of this process; the first process of several keeps the files, the others do
            their share of the work.
        run: where states are saved.
        model: folder of models.
        plots: folder of the curves.
        evaluations: table of the evaluations of the validation set, written at each; None: none.

    Raises:
        UserError: see `take_up` and `meta_train`.
    """
    if trainer.process_group.rank:
        take_up(trainer, run)
        for _ in meta_train(trainer, lambda evaluation: None):
            pass
        return
    updates = trainer.params.num_meta_iterations
    with run, live_curves(run.stage, updates) as curves:
        take_up(trainer, run)
        curves.show(trainer.progress)
        with following(run.stage):
            _train(trainer, run, evaluations, curves)
        _tell_end(trainer)
        keep_model(run.kept, trainer)
        write_curves(plots, trainer.progress)
        run.publish(model)


def take_up(trainer: MetaTrainer, run: RunState) -> None:
    """Go on from the saved state, if there is one; the first process opens it before the others.

    Raises:
        UserError: the states are damaged, or not the same for all processes.
    """
    process_group, turn = trainer.process_group, torch.zeros(1)
    if process_group.rank:
        process_group.sum(turn)  # returns once the first process has called it too
    saved = run.load()
    if not process_group.rank:
        process_group.sum(turn)
    if saved is not None:
        trainer.restore(saved)
    done = trainer.progress.iteration
    if int(process_group.sum(torch.tensor([done]))[0]) != done * process_group.size:
        raise UserError(
            f"{run.folder}: process {process_group.rank} of {process_group.size} would go on after "
            f"meta-update {done}, others would not; let all machines work in one shared folder"
        )
    if saved is not None and not process_group.rank:
        say(f"going on after meta-update {done}", error=True)


def _train(
    trainer: MetaTrainer, run: RunState, evaluations: Path | None, curves: LiveCurves
) -> None:
    params, saved_at = trainer.params, time.monotonic()
    total, done = params.num_meta_iterations, trainer.progress.iteration
    at_most = params.early_stopping_patience > 0
    with Stop() as stop, part("", total, "meta-updates", done=done, at_most=at_most):

        def on_evaluation(evaluation: dict[str, Any]) -> None:
            _show(trainer, evaluation)
            curves.show(trainer.progress)
            if evaluations is not None:
                write_evaluations(evaluations, trainer.progress)

        for loss in meta_train(trainer, on_evaluation):
            step(note=f"loss {loss:.3f}")
            curves.show(trainer.progress)
            checkpoint = trainer.progress.iteration % params.checkpoint_interval == 0
            if checkpoint:
                keep_checkpoint(run.kept, trainer)
            if stop or checkpoint or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                run.save(trainer.state())
                saved_at = time.monotonic()
            if stop:
                stop.end(f"meta-update {trainer.progress.iteration}")
        # with the last evaluation: what ends the run from here on loses nothing
        run.save(trainer.state())


def _show(trainer: MetaTrainer, evaluation: dict[str, Any]) -> None:
    params, metric = trainer.params, trainer.params.evaluation.validation_metric
    losses = trainer.progress.losses[-params.eval_interval :]
    loss = f"loss {sum(losses) / len(losses):.4f}, " if losses else ""
    shots = ", ".join(
        f"{mode.replace('_', '-')} {metric} {evaluation[mode][metric]:.4f} "
        f"HR@1 {evaluation[mode]['HR@1']:.4f}"
        for mode in MODES
    )
    total = params.num_meta_iterations
    say(f"meta-update {evaluation['iteration']}/{total}: {loss}validation {shots}")
    for warning in diagnose(curves_of(trainer.progress), ended=False):
        say(f"warning: {warning.text}", error=True)


def _tell_end(trainer: MetaTrainer) -> None:
    """What can only be said when a run is over; the rest has been said while it ran."""
    curves, metric = curves_of(trainer.progress), trainer.params.evaluation.validation_metric
    values = [evaluation["few_shot"][metric] for evaluation in trainer.progress.validation]
    said = {warning.key for warning in diagnose(curves, ended=False)}
    for warning in diagnose(curves._replace(few_shot=values), ended=True):
        if warning.key not in said:
            say(f"warning: {warning.text}", error=True)


def curves_of(progress: Progress) -> Curves:
    """The curves of a run, as far as it has come."""
    hr1 = [evaluation["few_shot"]["HR@1"] for evaluation in progress.validation]
    return Curves(range(1, len(progress.losses) + 1), progress.losses, hr1)
