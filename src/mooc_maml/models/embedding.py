"""Embeddings that are made without numbers."""

import torch
from torch import nn


def unset_embedding(rows: int, dim: int, padding: int | None = 0) -> nn.Embedding:
    """An embedding whose weights are not drawn, for a module that sets them itself.

    Left to itself, `nn.Embedding` draws from N(0, 1); on the device "meta" that loads PyTorch's
    compiler, which takes two seconds and is not needed for anything else.
    """
    return nn.Embedding(rows, dim, padding_idx=padding, _weight=torch.empty(rows, dim))
