"""A zero-shot GRU as an ONNX file, for programs without PyTorch.

Inputs: `courses`, int64 [learners, time], 0 = padding on the right, and `length`, int64 [learners].
Output: `scores`, float [learners, C], of the course after the last; column j is course j + 1. The
ids, in this order, are a JSON list in the file's metadata, under "courses".
"""

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path
from mooc_maml.models.gru import GRURecommender
from mooc_maml.models.model_file import read_module, read_settings
from mooc_maml.recommend.bundle import BundleInfo, ModelInfo, check_file, check_model

_NEEDS = ("onnx", "onnxscript")


class _Next(nn.Module):
    """Scores of the course that comes after the last of each row."""

    def __init__(self, model: GRURecommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, courses: Tensor, length: Tensor) -> Tensor:
        states = self.model.gru(self.model.embedding(courses))[0]  # [learners, time, H]
        found: Tensor = self.model.head(states[torch.arange(courses.shape[0]), length - 1])
        return found


def write_onnx(folder: Path, info: BundleInfo, name: str, path: Path) -> None:
    """Write a model of a bundle that is a GRU and looks at the last session alone.

    Raises:
        UserError: there is no such model, it is another kind, or a package is missing.
    """
    model = _gru(folder, info, check_model(folder, info, name))
    missing = [package for package in _NEEDS if find_spec(package) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; pip install 'mooc-maml[onnx]'")
    program = _program(model)
    program.model.metadata_props["courses"] = json.dumps(info.courses)
    with atomic_path(path) as temporary:
        program.save(temporary)


def _gru(folder: Path, info: BundleInfo, own: ModelInfo) -> GRURecommender:
    is_told = own.kind != "plain"
    path = check_file(folder, info, own.file)
    settings = {} if is_told or own.carries_learners else read_settings(path)
    if "hidden_dim" not in settings.get("model", {}):
        raise UserError(
            f"{own.name}: what it answers depends on more than the last session, or it is no GRU; "
            "allowed are zero_shot (backbone gru) and gru"
        )
    return read_module(path, GRURecommender, len(info.courses)).eval()


def _program(model: GRURecommender) -> Any:
    """Exported for any number of learners and any length."""
    dynamic = torch.export.Dim.DYNAMIC
    example = torch.ones(3, 7, dtype=torch.int64), torch.tensor([7, 3, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, about PyTorch
        return torch.onnx.export(
            _Next(model),
            example,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic}),
            input_names=["courses", "length"],
            output_names=["scores"],
        )
