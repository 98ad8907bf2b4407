"""A meta-training run so small that it takes a fraction of a second."""

import io
from typing import Any

import torch
from episode_helpers import merged, params, small_store

from mooc_maml.meta.train import MetaTrainer, meta_train
from mooc_maml.settings.params import Params

CPU = torch.device("cpu")
STORE = small_store()


def tiny_params(**changes: object) -> Params:
    """12 meta-updates of 4 learners with K = 2, Q = 3; a look every 4."""
    settings: dict[str, Any] = {
        "inner_lr": 0.1,
        "outer_lr": 0.01,
        "num_inner_steps": 2,
        "meta_batch_size": 4,
        "num_meta_iterations": 12,
        "eval_interval": 4,
        "early_stopping_patience": 0,
        "checkpoint_interval": 4,
        "episodes": {"support_size": 2, "query_size": 3, "max_prefix_length": 4},
        "ablations": {"support_sizes": [1, 2, 4]},
        "model": {"embedding_dim": 3, "hidden_dim": 4},
        "hardware": {"device": "cpu", "threads": 1, "processes": 1, "precision": "float64"},
    }
    return params(**merged(settings, changes))


def tiny_trainer(**changes: object) -> MetaTrainer:
    return MetaTrainer(STORE, tiny_params(**changes), CPU)


def run(trainer: MetaTrainer, updates: int | None = None) -> MetaTrainer:
    """Go on for so many meta-updates; None: to the end."""
    for number, _ in enumerate(meta_train(trainer, lambda _: None), 1):
        if number == updates:
            break
    return trainer


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
