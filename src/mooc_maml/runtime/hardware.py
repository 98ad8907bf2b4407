"""What a run uses of the machine, set explicitly since it changes rounding."""

import ctypes
import os
import sys

import torch

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.devices import GPUs, fault_of, usable_gpus
from mooc_maml.runtime.processes import ALONE, ProcessGroup, this_process
from mooc_maml.settings.hardware import HardwareParams


def setup(hardware: HardwareParams, process_group: ProcessGroup | None = None) -> torch.device:
    """Set threads, memory and deterministic algorithms of this process; give the device to run on.

    The processes of one machine share its threads, and take a GPU each. `device: auto` falls back
    on the CPU, and says why, where there is a GPU that PyTorch cannot use.

    Raises:
        UserError: device cuda is asked for and there is none, or there are more processes than
            GPUs.
    """
    process_group = process_group or this_process()
    torch.set_num_threads(max(1, hardware.threads // process_group.local_size))
    keep_freed_memory()
    # cuBLAS is deterministic only with a fixed workspace, read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # What is made empty is written before it is read, so filling it first only takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    gpus, fault = _gpus(hardware), ""
    if gpus.count:
        _enough(gpus, process_group.local_size)
        device = (
            torch.device("cuda", process_group.local_rank)
            if process_group.size > 1
            else torch.device("cuda")
        )
        fault = fault_of(device)
        if not fault:
            return device
        if hardware.device == "cuda" or process_group.size > 1:
            raise UserError(f"hardware.device: {device} cannot be used ({fault}); set it to cpu")
    fault = fault or gpus.fault
    if fault and not process_group.rank:
        print(f"hardware.device: no GPU can be used ({fault}); on the CPU then", file=sys.stderr)
    return torch.device("cpu")


def process_count(hardware: HardwareParams) -> int:
    """How many processes of this machine share meta-training.

    Raises:
        UserError: device cuda is asked for and there is none, or there are more processes than
            GPUs.
    """
    gpus = _gpus(hardware)
    if hardware.processes == "auto":
        return gpus.count or _PROCESSES_ON_CPU
    if gpus.count:
        _enough(gpus, hardware.processes)
    return hardware.processes


def most_that_rank(hardware: HardwareParams) -> int | None:
    """Processes that can share what is to be ranked: one with a GPU, else any number (None).

    A GPU takes all learners together.

    Raises:
        UserError: device cuda is asked for and there is none.
    """
    return 1 if _gpus(hardware).count else None


_PROCESSES_ON_CPU = 2  # whatever the number of cores, since results depend on it, to rounding


def named(device: torch.device, process_group: ProcessGroup = ALONE) -> str:
    """Device and number of processes, in words."""
    return f"{device.type} by {process_group.size} process{'es' if process_group.size > 1 else ''}"


def _gpus(hardware: HardwareParams) -> GPUs:
    """The GPUs that the chosen device may use; none for the CPU."""
    if hardware.device == "cpu":
        return GPUs(0)
    gpus = usable_gpus()
    if hardware.device == "cuda" and not gpus.count:
        reason = f" ({gpus.fault})" if gpus.fault else ""
        raise UserError(
            f"hardware.device: found 'cuda', but PyTorch sees no CUDA GPU on this machine{reason}; "
            "set it to auto or cpu"
        )
    return gpus


def _enough(gpus: GPUs, processes: int) -> None:
    if processes > gpus.count:
        raise UserError(
            f"hardware.processes: {processes} processes, each of which takes a GPU, and "
            f"{gpus.count} on this machine; set it to auto, or hardware.device to cpu"
        )


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
