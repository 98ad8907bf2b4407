"""Random generators derived from (seed, purpose, index); there is no global random state."""

import hashlib

import numpy as np
import torch


def _derived(seed: int, purpose: str, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A numpy generator of its own for one purpose; the same arguments give the same draws."""
    return np.random.default_rng(_derived(seed, purpose, index))


def torch_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU torch generator of its own for one purpose."""
    return torch.Generator().manual_seed(_derived(seed, purpose, index))
