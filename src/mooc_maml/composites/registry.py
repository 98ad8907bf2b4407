"""One file a baseline, all scored by the same ranking code."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import torch

from mooc_maml.baselines.base import Baseline, Log, Resumable
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.gru_tuned import TunedGRU
from mooc_maml.baselines.gru_tuned_with_history import TunedGRUWithHistory
from mooc_maml.baselines.gru_with_history import GRUWithHistory
from mooc_maml.baselines.item_knn import ItemKNN
from mooc_maml.baselines.markov import Markov
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.random_scores import RandomScores
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.baselines.sasrec import SASRecBaseline
from mooc_maml.baselines.sasrec_with_history import SASRecWithHistory
from mooc_maml.baselines.v_sknn import VSKNN
from mooc_maml.composites.blend import Blend
from mooc_maml.composites.gru_fine_tuned import FineTunedGRU
from mooc_maml.composites.gru_further import FurtherGRU
from mooc_maml.composites.mixture import Mixture, MixtureZeroShot
from mooc_maml.composites.pool import Pool
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.settings.params import Params

# A new baseline is one file beside these, its name in `BaselineName`, and one line here: name ->
# (class, ending of its file). One that is made of others stands after them.
BASELINES: dict[str, tuple[type[Baseline], str]] = {
    "random": (RandomScores, ".npz"),
    "popularity": (Popularity, ".npy"),
    "repeat": (Repeat, ".npz"),
    "markov": (Markov, ".npz"),
    "item_knn": (ItemKNN, ".npz"),
    "v_sknn": (VSKNN, ".npz"),
    "gru": (GRUBaseline, ".pth"),
    "gru_tuned": (TunedGRU, ".pth"),
    "gru_with_history": (GRUWithHistory, ".pth"),
    "gru_tuned_with_history": (TunedGRUWithHistory, ".pth"),
    "gru_fine_tuned": (FineTunedGRU, ".npz"),
    "gru_further": (FurtherGRU, ".pth"),
    "sasrec": (SASRecBaseline, ".pth"),
    "sasrec_with_history": (SASRecWithHistory, ".pth"),
    "blend": (Blend, ".npz"),
    "pool": (Pool, ".npz"),
    "mixture": (Mixture, ".npz"),
    "mixture_zero_shot": (MixtureZeroShot, ".npz"),
}


def baseline_path(folder: Path, name: str) -> Path:
    """Where a trained baseline lies in the folder of baselines."""
    return folder / (name + BASELINES[name][1])


def train_baselines(
    store: EpisodeStore,
    params: Params,
    device: torch.device,
    log: Log,
    state_of: Callable[[str], SavedState] | None = None,
) -> Iterator[tuple[str, Baseline]]:
    """Train those of `baselines.models`, in the order of the table; yields each when it is ready.

    Args:
        store: the episodes.
        params: the settings.
        device: where they are trained.
        log: takes lines of progress.
        state_of: name -> where a long training is kept, to go on from; None: it is not kept.

    Raises:
        UserError: a loss is no longer finite, or saved states are damaged.
    """
    trained: dict[str, Baseline] = {}
    for name, (kind, _) in BASELINES.items():
        if name not in params.baselines.models:
            continue
        if state_of is not None and issubclass(kind, Resumable):
            trained[name] = kind.resume(store, params, device, log, state_of(name), trained)
        else:
            trained[name] = kind.train(store, params, device, log, trained)
        yield name, trained[name]


def read_baselines(
    folder: Path, names: Collection[str], num_courses: int, device: torch.device
) -> dict[str, Baseline]:
    """The trained baselines of these names, in the order of the table.

    Raises:
        UserError: one is missing, is damaged, or ranks another number of courses.
    """
    found: dict[str, Baseline] = {}
    for name, (kind, _) in BASELINES.items():
        if name in names:
            found[name] = kind.read(baseline_path(folder, name), num_courses, device, found)
    return found
