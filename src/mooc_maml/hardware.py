"""What a run uses of the machine, set explicitly since it changes rounding."""

import os

import torch

from mooc_maml.errors import UserError
from mooc_maml.params import HardwareParams
from mooc_maml.world import ALONE, World


def setup(hardware: HardwareParams, world: World = ALONE) -> torch.device:
    """Set CPU threads and deterministic algorithms for this process; give the device to run on.

    Several processes on one machine share its threads, and take a GPU each.

    Raises:
        UserError: device cuda is asked for and there is none.
    """
    torch.set_num_threads(max(1, hardware.threads // world.size))
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


def dtype(hardware: HardwareParams) -> torch.dtype:
    """The floating-point type of weights and scores."""
    return {"float32": torch.float32, "float64": torch.float64}[hardware.precision]
