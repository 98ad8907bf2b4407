"""Which CUDA GPUs can be used, and why there are none where one might be expected."""

import re
import warnings
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class GPUs:
    """The GPUs that PyTorch can use.

    Attributes:
        count: how many, of those that stand first.
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
    faults = [_unfit(number) for number in range(torch.cuda.device_count())]
    fitting = next((number for number, fault in enumerate(faults) if fault), len(faults))
    return GPUs(fitting, faults[0] if faults and not fitting else "")


def _unfit(number: int) -> str:
    """Why this PyTorch has no code for a GPU, such as one too old or too new for it; "": it has.

    Code for a capability x.y runs on x.z with z >= y; as PTX ("compute_xy") on all that are newer.
    """
    capability = torch.cuda.get_device_capability(number)
    built_for = torch.cuda.get_arch_list()
    codes = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name) for name in built_for]
    known = [(code[1], (int(code[2]), int(code[3]))) for code in codes if code]
    if not known or any(
        least <= capability and (kind == "compute" or least[0] == capability[0])
        for kind, least in known
    ):
        return ""
    name, (major, minor) = torch.cuda.get_device_name(number), capability
    return (
        f"{name} has CUDA capability {major}.{minor}, and this PyTorch is built for "
        f"{', '.join(built_for)}"
    )[:200]


def fault_of(device: torch.device) -> str:
    """Why a GPU that is there cannot compute, such as one too old for PyTorch; "": it can."""
    try:
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        return _first_line(error)
    return ""


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
