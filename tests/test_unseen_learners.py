"""What test learners do reaches no model: with other courses of theirs, the same is learned.

Vocabulary, counts, popularity, neighbours, weights and the choice of epochs and checkpoints alike.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from episode_helpers import params
from training_helpers import CPU, STORE, run, tiny_params

from mooc_maml.composites.registry import BASELINES, baseline_path, train_baselines
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.train import MetaTrainer

OWN = params().baselines
SETTINGS = tiny_params(
    num_meta_iterations=4,
    baselines={
        "models": list(BASELINES),
        "epochs": 1,
        "gru_tuned": {**OWN.gru_tuned.model_dump(), "hidden_dim": 8, "epochs": 1},
        "gru_fine_tuned": {"rates": (0.1,), "steps": (1,)},
        "sasrec": {**OWN.sasrec.model_dump(), "dim": 8, "epochs": 1},
    },
)
pytestmark = pytest.mark.usefixtures("one_thread")


def with_other_courses(split: str) -> EpisodeStore:
    """Sound, but each course of the learners of one split is the next in the catalogue."""
    courses = STORE.courses.copy()
    for session in set(STORE.pair_session[STORE.pairs_of(split)].tolist()):
        own = slice(*STORE.session_start[session : session + 2])
        courses[own] = courses[own] % STORE.num_courses + 1
    return replace(STORE, courses=courses)


def learned(store: EpisodeStore, folder: Path) -> dict[str, bytes]:
    """The file of every baseline, and the best meta-weights with all looks at validation."""
    folder.mkdir()
    for name, baseline in train_baselines(store, SETTINGS, CPU, lambda line: None):
        baseline.write(baseline_path(folder, name))
    trainer = run(MetaTrainer(store, SETTINGS, CPU))
    torch.save([trainer.best, trainer.progress.validation], folder / "maml")
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def test_nothing_is_learned_from_test_learners(tmp_path: Path) -> None:
    before = learned(STORE, tmp_path / "before")
    assert set(before) == {*BASELINES, "maml"}
    assert learned(with_other_courses("test"), tmp_path / "test") == before
    after = learned(with_other_courses("train"), tmp_path / "train")
    changed = {name for name, content in after.items() if content != before[name]}
    of_few_values = {"random", "repeat", "gru_fine_tuned", "blend"}  # a seed, or a choice
    assert changed >= {*BASELINES, "maml"} - of_few_values, "the control: it would be seen"
