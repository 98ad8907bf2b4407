"""The files that meta-training leaves: the model, its checkpoints, and its curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mooc_maml.common.files import atomic_path
from mooc_maml.meta.inner import Weights
from mooc_maml.meta.model import model_path
from mooc_maml.meta.train import MODES, MetaTrainer, Progress
from mooc_maml.meta.variant import model_weights
from mooc_maml.settings.meta import MAML_SETTINGS

_CURVE_POINTS = 2000


def keep_model(folder: Path, trainer: MetaTrainer) -> None:
    """Write the weights that were best on validation."""
    _write(model_path(folder, trainer.params), trainer, trainer.best)


def keep_checkpoint(folder: Path, trainer: MetaTrainer) -> None:
    """Write the weights as they are now, named by the number of meta-updates."""
    name = f"checkpoint_iter{trainer.progress.iteration}.pth"
    _write(folder / "checkpoints" / name, trainer, trainer.weights)


def _write(path: Path, trainer: MetaTrainer, weights: Weights) -> None:
    """With the backbone, the variant, and the settings that it is adapted with."""
    params, own = trainer.params, model_weights(weights)
    model = trainer.backbone.build(trainer.store.num_courses, params, None)
    model.to(trainer.task_model.dtype).load_state_dict(own)
    settings: dict[str, Any] = {name: getattr(params, name) for name in MAML_SETTINGS}
    settings["meta"] = params.meta.model_dump()
    learned = {name: x for name, x in weights.items() if name not in own}
    trainer.backbone.write(path, model, settings, learned)


def write_curves(folder: Path, progress: Progress) -> None:
    """Write training.csv (means of blocks if there are many updates) and validation.csv."""
    block = -(-len(progress.losses) // _CURVE_POINTS)
    starts = range(0, len(progress.losses), block)
    training = pd.DataFrame(
        {
            "iteration": [min(start + block, len(progress.losses)) for start in starts],
            "train_loss": [np.mean(progress.losses[start : start + block]) for start in starts],
        }
    )
    with atomic_path(folder / "training.csv") as temporary:
        training.to_csv(temporary, index=False)
    write_evaluations(folder / "validation.csv", progress)


def write_evaluations(path: Path, progress: Progress) -> None:
    """A row an evaluation, a column for each mode and metric ("few_shot HR@10")."""
    evaluations = [
        {
            "iteration": evaluation["iteration"],
            **{
                f"{mode} {name}": value
                for mode in MODES
                for name, value in evaluation[mode].items()
            },
        }
        for evaluation in progress.validation
    ]
    with atomic_path(path) as temporary:
        pd.DataFrame(evaluations).to_csv(temporary, index=False)
