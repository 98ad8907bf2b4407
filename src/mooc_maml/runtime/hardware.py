"""What a run uses of the machine, set explicitly since it changes rounding."""

import ctypes
import os
import sys

import torch

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.processes import ALONE, World
from mooc_maml.settings.hardware import HardwareParams


def setup(hardware: HardwareParams, world: World = ALONE) -> torch.device:
    """Set threads, memory and deterministic algorithms of this process; give the device to run on.

    Several processes on one machine share its threads, and take a GPU each.

    Raises:
        UserError: device cuda is asked for and there is none.
    """
    torch.set_num_threads(max(1, hardware.threads // world.size))
    keep_freed_memory()
    # cuBLAS is deterministic only with a fixed workspace, read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    available = torch.cuda.is_available()
    if hardware.device == "cuda" and not available:
        raise UserError(
            "hardware.device: found 'cuda', but PyTorch sees no CUDA GPU on this machine; "
            "set it to auto or cpu"
        )
    name = hardware.device
    if name == "auto":
        name = "cuda" if available else "cpu"
    if name == "cuda" and world.size > 1:
        return torch.device(name, world.local_rank)
    return torch.device(name)


def keep_freed_memory() -> bool:
    """Have the C library keep the memory of freed tensors for the next ones; whether it will.

    By default glibc gives large blocks back to the system at once, and each new tensor is mapped in
    again, page by page: some 7,000 page faults in a meta-update of the reference benchmark, a fifth
    to a third of its time. Elsewhere than on Linux with glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    asked = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1, _TOP_PAD: 1 << 26}
    return all([mallopt(name, size) == 1 for name, size in asked.items()])


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h; sizes in bytes


def dtype(hardware: HardwareParams) -> torch.dtype:
    """The floating-point type of weights and scores."""
    return {"float32": torch.float32, "float64": torch.float64}[hardware.precision]
