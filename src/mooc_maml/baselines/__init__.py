"""One file a baseline, all scored by the same ranking code."""

from pathlib import Path

import torch

from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.popularity import Popularity

# A new baseline is one file beside these and one line here: name -> (class, ending of its file).
BASELINES: dict[str, tuple[type[Baseline], str]] = {
    "popularity": (Popularity, ".npy"),
    "gru": (GRUBaseline, ".pth"),
}


def baseline_path(folder: Path, name: str) -> Path:
    """Where a trained baseline lies in the folder of baselines."""
    return folder / (name + BASELINES[name][1])


def read_baselines(folder: Path, num_courses: int, device: torch.device) -> dict[str, Baseline]:
    """Every trained baseline by name.

    Raises:
        UserError: one is missing, is damaged, or ranks another number of courses.
    """
    return {
        name: kind.read(baseline_path(folder, name), num_courses, device)
        for name, (kind, _) in BASELINES.items()
    }
