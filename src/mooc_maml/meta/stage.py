"""What each process of a stage of meta-training does."""

from pathlib import Path

from mooc_maml.episodes.leakage import read_checked
from mooc_maml.meta.run import run_meta_training, warm_start
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.runtime.hardware import named, setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.processes import join_process_group
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import Params, settings_of

_UNUSED = {"data", "sessions", "baselines", "composites", "ablations", "tuned"}


def run_in_this_process(
    stage: str,
    params: Params,
    *,
    episodes: Path,
    gru: Path,
    model: Path,
    plots: Path,
    evaluations: Path | None = None,
) -> None:
    """Do this process's share of a stage, alone or with those that were started with it.

    Args:
        stage: its name, by which its code and its saved states are found.
        params: the settings that it trains with.
        episodes: folder of build_episodes.
        gru: baseline to begin with, if a warm start is asked for.
        model: folder of models to write.
        plots: folder of the curves to write.
        evaluations: see `run_meta_training`.

    Raises:
        UserError: an input is missing, damaged or leaks; see `run_meta_training`.
    """
    with join_process_group() as process_group:
        device, store = setup(params.hardware, process_group), read_checked(episodes)
        start = warm_start(params, gru, store.num_courses)
        trainer = MetaTrainer(store, params, device, process_group, start)
        inputs = [episodes, *([gru] if params.meta.warm_start else [])]
        code, hardware = stage_fingerprint(stage), named(device, process_group)
        run = RunState(stage, used_settings(params), code, *inputs, hardware=hardware)
        run_meta_training(trainer, run, model, plots, evaluations)


def used_settings(params: Params) -> str:
    """All that the result depends on, apart from the episodes, the device and the processes."""
    return settings_of(params, set(Params.model_fields) - _UNUSED, {})
