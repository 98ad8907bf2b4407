"""The ways that are compared, by name. A new way is one line here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.episodes import Setting
from benchmarks.rivals import MetaGradient, study_loop, with_higher, with_vmap
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.meta.train import shared_meta_gradient
from mooc_maml.models.gru import GRURecommender
from mooc_maml.runtime.processes import ALONE, ProcessGroup

INNER_LR = 0.01
INNER_STEPS = 5


@dataclass(frozen=True)
class Way:
    """A way to the meta-gradient, with or without its second-order term."""

    run: MetaGradient
    second_order: bool = True


def ours(
    weights: Mapping[str, Tensor],
    support: Examples,
    query: Examples,
    *,
    lr: float,
    steps: int,
    second_order: bool,
    process_group: ProcessGroup = ALONE,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The engine of this project, as meta-training runs it, in one process or several."""
    any_weight = weights["head.bias"]
    learner = GRUTaskModel(any_weight.device, any_weight.dtype)

    def way(*batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        found = meta_gradient(learner, *batch, steps=steps, inner_lr=lr, second_order=second_order)
        return found.losses, found.weights

    return shared_meta_gradient(
        way, dict(weights), support, query, process_group, support.num_tasks
    )


WAYS: dict[str, Way] = {
    "ours_in_1_process": Way(ours),
    "ours_first_order_in_1_process": Way(ours, second_order=False),
    "study_loop": Way(study_loop),
    "higher": Way(with_higher),
    "vmap": Way(with_vmap),
    "study_loop_first_order": Way(study_loop, second_order=False),
}


@dataclass(frozen=True)
class Problem:
    """One meta-iteration to do: from `weights`, on a setting, with `steps` inner steps."""

    setting: Setting
    weights: dict[str, Tensor]
    steps: int = INNER_STEPS
    lr: float = INNER_LR

    def solve(self, way: Way) -> tuple[Tensor, dict[str, Tensor]]:
        """Meta-loss and meta-gradient by one way."""
        return way.run(
            self.weights,
            self.setting.support,
            self.setting.query,
            lr=self.lr,
            steps=self.steps,
            second_order=way.second_order,
        )


def problem(setting: Setting, seed: int, device: torch.device, steps: int = INNER_STEPS) -> Problem:
    """The study's model (embedding 64, GRU 128) with fresh weights, on a device."""
    drawn = torch_generator(seed, "benchmark-weights")
    model = GRURecommender(setting.num_courses, 64, 128, generator=drawn)
    moved = Setting(
        setting.name, setting.support.to(device), setting.query.to(device), setting.num_courses
    )
    weights = {name: x.detach().to(device) for name, x in model.state_dict().items()}
    return Problem(moved, weights, steps)


def relative_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest ||g - g_ref|| / ||g_ref|| over parameters; where g_ref is 0, ||g|| itself.

    Raises:
        ValueError: a parameter has no gradient, or there is one too many.
    """
    if found.keys() != expected.keys():
        raise ValueError(f"gradients of {sorted(found)}, expected of {sorted(expected)}")
    norms = {name: g.norm() for name, g in expected.items()}
    errors = [
        (found[name] - g).norm() / (norms[name] if norms[name] > 0 else 1.0)
        for name, g in expected.items()
    ]
    return float(torch.stack(errors).max())
