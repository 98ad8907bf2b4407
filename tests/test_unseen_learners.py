"""What test learners do reaches no model: with other courses of theirs, the same is learned.

Vocabulary, counts, popularity, neighbours, weights and the choice of epochs and checkpoints alike.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_helpers import CPU, STORE, run, tiny_params

from mooc_maml.baselines.trained import model_path, train_models
from mooc_maml.composites.registry import COMPOSITES, MODELS
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.train import MetaTrainer

SETTINGS = tiny_params(
    num_meta_iterations=4,
    baselines={
        "models": [name for name in MODELS if name not in COMPOSITES],
        "gru": {"epochs": 1},
        "gru_tuned": {"hidden_dim": 8, "epochs": 1},
        "sasrec": {"dim": 8, "epochs": 1},
    },
    composites={
        "models": list(COMPOSITES),
        "gru_fine_tuned": {
            "rates": (0.1,),
            "steps": (1,),
            "bias_rates": (0.1,),
            "adapt_on": ("pairs",),
        },
        "gru_further": {"epochs": 1, "updates": 10},
        "mixture": {"updates": 10},
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
    """The file of every baseline, and the best meta-weights with all evaluations at validation."""
    folder.mkdir()
    for _, model in train_models(MODELS, MODELS, store, SETTINGS, CPU, lambda line: None):
        model.write(model_path(folder, type(model)))
    trainer = run(MetaTrainer(store, SETTINGS, CPU))
    torch.save([trainer.best, trainer.progress.validation], folder / "maml")
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def test_nothing_is_learned_from_test_learners(tmp_path: Path) -> None:
    before = learned(STORE, tmp_path / "before")
    assert set(before) == {*MODELS, "maml"}
    assert learned(with_other_courses("test"), tmp_path / "test") == before
    after = learned(with_other_courses("train"), tmp_path / "train")
    changed = {name for name, content in after.items() if content != before[name]}
    of_few_values = {"random", "repeat", "gru_fine_tuned", "blend"}  # a seed, or a choice
    assert changed >= {*MODELS, "maml"} - of_few_values, "the control: it would be seen"
