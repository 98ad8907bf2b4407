"""Modules that are made without numbers, for what sets all of them itself."""

import torch
from torch import nn


def unset_embedding(rows: int, dim: int, padding: int | None = 0) -> nn.Embedding:
    """An embedding whose weights are not drawn, for a module that sets them itself.

    Left to itself, `nn.Embedding` draws from N(0, 1); on the device "meta" that loads PyTorch's
    compiler, which takes two seconds and is not needed for anything else.
    """
    return nn.Embedding(rows, dim, padding_idx=padding, _weight=torch.empty(rows, dim))


def make_room(module: nn.Module) -> None:
    """Put weights of a module that was made on the device "meta" on the CPU, not yet set.

    As `nn.Module.to_empty` does, which besides loads PyTorch's shapes of symbols, a third of a
    second of every start.
    """
    for owner in module.modules():
        for name, weight in list(owner.named_parameters(recurse=False)):
            room = torch.empty(weight.shape, dtype=weight.dtype)
            setattr(owner, name, nn.Parameter(room))
