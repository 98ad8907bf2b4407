"""Stage: meta-train the recommender with MAML; keep the best of validation."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.meta.files import keep_checkpoint, keep_model, write_curves, write_looks
from mooc_maml.meta.train import MetaTrainer, meta_train, warning_signs
from mooc_maml.models.gru import read_model
from mooc_maml.runtime.hardware import setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.processes import end_with_starter, in_a_world, join_world, launch
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.saved_state import SECONDS_BETWEEN_SAVES
from mooc_maml.runtime.signals import Stop
from mooc_maml.settings.params import Params, load_params


def main(episodes: Path, gru: Path, model: Path, plots: Path, looks: Path | None = None) -> None:
    """Read episodes; write the meta-model, its checkpoints, its curves, and looks as they come.

    `gru` is the baseline to begin with, if a warm start is asked for.
    """
    params = load_params("params.yaml")
    processes = params.hardware.processes
    if processes > 1 and not in_a_world():
        sys.exit(launch(processes, [sys.executable, "-m", "stages.meta_train", *sys.argv[1:]]))
    with join_world() as world:
        device, store = setup(params.hardware, world), read_checked(episodes)
        start = read_model(gru, store.num_courses) if params.meta.warm_start else None
        trainer = MetaTrainer(store, params, device, world, start)
        settings = f"{_settings(params)} on {device.type} by {world.size}"
        inputs = [episodes, *([gru] if params.meta.warm_start else [])]
        run = RunState("meta_train", settings, stage_fingerprint("meta_train"), *inputs)
        if world.rank:
            _follow(trainer, run)
            return
        with run:
            _take_up(trainer, run)
            _train(trainer, run, looks)
            keep_model(run.kept, trainer)
            write_curves(plots, trainer.progress)
            run.publish(model)


def _settings(params: Params) -> str:
    """All that the result depends on, apart from the episodes."""
    unused = {"data", "sessions", "baselines", "composites", "ablations"}
    return params.model_dump_json(exclude=unused)


def _follow(trainer: MetaTrainer, run: RunState) -> None:
    """Do this process's share of the work; the first process keeps the files."""
    _take_up(trainer, run)
    for _ in meta_train(trainer, lambda look: None):
        pass


def _take_up(trainer: MetaTrainer, run: RunState) -> None:
    """Go on from the saved state, if there is one; the first process opens it before the others.

    Raises:
        UserError: the states are damaged, or not the same for all processes.
    """
    world, turn = trainer.world, torch.zeros(1)
    if world.rank:
        world.sum(turn)  # returns once the first process has called it too
    saved = run.load()
    if not world.rank:
        world.sum(turn)
    if saved is not None:
        trainer.restore(saved)
    done = trainer.progress.iteration
    if int(world.sum(torch.tensor([done]))[0]) != done * world.size:
        raise UserError(
            f"{run.folder}: process {world.rank} of {world.size} would go on after meta-update "
            f"{done}, others would not; let all machines work in one shared folder"
        )
    if saved is not None and not world.rank:
        print(f"going on after meta-update {done}", file=sys.stderr)


def _train(trainer: MetaTrainer, run: RunState, looks: Path | None) -> None:
    params, saved_at = trainer.params, time.monotonic()
    total, done = params.num_meta_iterations, trainer.progress.iteration
    # disable=None: no bar where standard error is no terminal
    with Stop() as stop, tqdm(total=total, initial=done, desc="meta-training", disable=None) as bar:

        def on_look(look: dict[str, Any]) -> None:
            _show(trainer, look, bar)
            if looks is not None:
                write_looks(looks, trainer.progress)

        for loss in meta_train(trainer, on_look):
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            checkpoint = trainer.progress.iteration % params.checkpoint_interval == 0
            if checkpoint:
                keep_checkpoint(run.kept, trainer)
            if stop or checkpoint or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                run.save(trainer.state())
                saved_at = time.monotonic()
            if stop:
                stop.end(f"meta-update {trainer.progress.iteration}")
        run.save(
            trainer.state()
        )  # with the last look: what ends the run from here on loses nothing


def _show(trainer: MetaTrainer, look: dict[str, Any], bar: "tqdm[Any]") -> None:
    params, metric = trainer.params, trainer.params.evaluation.validation_metric
    losses = trainer.progress.losses[-params.eval_interval :]
    loss = f"loss {sum(losses) / len(losses):.4f}, " if losses else ""
    shots = ", ".join(
        f"{mode.replace('_', '-')} {metric} {look[mode][metric]:.4f} HR@1 {look[mode]['HR@1']:.4f}"
        for mode in ("zero_shot", "few_shot")
    )
    tqdm.write(f"meta-update {look['iteration']}/{bar.total}: {loss}validation {shots}")
    sys.stdout.flush()
    for sign in warning_signs(trainer.progress):
        tqdm.write(f"warning: {sign}", file=sys.stderr)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--gru", type=Path, required=True, help="baseline for a warm start")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the curves")
    parser.add_argument(
        "--looks",
        type=Path,
        help="CSV of the looks at validation, written at each for a program that started this one "
        "and watches it: when its standard input ends, so does the run",
    )
    arguments = parser.parse_args()
    if arguments.looks is not None and not in_a_world():
        end_with_starter()
    main(arguments.episodes, arguments.gru, arguments.model, arguments.plots, arguments.looks)


if __name__ == "__main__":
    main_guard(_from_command_line)
