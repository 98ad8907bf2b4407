"""The GRU as a backbone of meta-training."""

from typing import Any

import torch
from torch import nn

from mooc_maml.meta.backbone import OUTPUT_BIAS, Backbone
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.settings.meta import pointer_of
from mooc_maml.settings.params import Params


def _shape(params: Params) -> dict[str, Any]:
    return params.model.gru_shape() | pointer_of(params.meta)


def _task_model(
    module: nn.Module, device: torch.device, dtype: torch.dtype, seen: SeenFilter
) -> GRUTaskModel:
    points = None
    if hasattr(module, "pointer"):
        points = "mixed" if module.settings.get("pointer_mixes") else "added"  # type: ignore[union-attr, operator]
    return GRUTaskModel(device, dtype, seen, points=points)


GRU = Backbone(
    name="gru",
    kind=GRURecommender,
    shape=_shape,
    task_model=_task_model,
    # A vector that enters the state at every step is the bias of what enters the GRU.
    parts={"head": "head", "context": "gru.bias_ih", OUTPUT_BIAS: "head.bias"},
    warm_start="gru",
    drops_out=GRUTaskModel.thinned,
)
