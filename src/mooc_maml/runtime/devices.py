"""Which CUDA GPUs can be used, and why there are none where one might be expected."""

import warnings
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class GPUs:
    """The GPUs that PyTorch can use.

    Attributes:
        count: how many.
        fault: why there are none, such as a driver too old for PyTorch; "": simply none.
    """

    count: int
    fault: str = ""


def usable_gpus() -> GPUs:
    """Count the GPUs; CUDA is started, but nothing of a GPU's memory is taken."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        is_available = torch.cuda.is_available()
    if not is_available:
        return GPUs(0, _first_line(told[0].message) if told else "")
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return GPUs(0, _first_line(error))
    return GPUs(torch.cuda.device_count())


def fault_of(device: torch.device) -> str:
    """Why a GPU that is there cannot compute, such as one too old for PyTorch; "": it can."""
    try:
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        return _first_line(error)
    return ""


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
