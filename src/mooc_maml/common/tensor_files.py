"""Files of tensors that anything can read and that run no code when read: safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path

ENDING = ".safetensors"
_KEY = "mooc_maml"  # of the header; one key alone, since the format keeps no order of several


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors by name, and plain values that JSON holds; the same content, the same bytes."""
    whole = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    header = {_KEY: json.dumps(about, sort_keys=True)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(whole, header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, on the CPU.

    Raises:
        UserError: the file is missing, is damaged, or was written by something else.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path}: not a model file, or damaged ({type(error).__name__}); "
            "delete it and run `dvc repro`"
        ) from None


def as_tensor(values: Any) -> Tensor:
    """Numbers of numpy as a tensor of the same type."""
    return torch.from_numpy(values)
