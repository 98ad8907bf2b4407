import platform
import subprocess
import sys

import pytest
import torch

from mooc_maml.common.errors import UserError
from mooc_maml.runtime import hardware
from mooc_maml.runtime.processes import World
from mooc_maml.settings.hardware import HardwareParams


@pytest.fixture(autouse=True)
def _restore():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def params(**changes: object) -> HardwareParams:
    settings = {
        "device": "auto",
        "threads": 1,
        "processes": 1,
        "tasks_at_once": 32,
        "precision": "float32",
    }
    return HardwareParams.model_validate({**settings, **changes})


def test_threads_and_determinism_are_set():
    hardware.setup(params(threads=1))
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    hardware.setup(params(threads=2))
    assert torch.get_num_threads() == 2
    hardware.setup(params(threads=2), World(rank=1, size=2))
    assert torch.get_num_threads() == 1
    hardware.setup(params(threads=2), World(rank=1, size=3))
    assert torch.get_num_threads() == 1


_FAULTS_OF_A_LARGE_TENSOR = """
import resource, torch
from mooc_maml.runtime.hardware import keep_freed_memory
{call}
def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(1 << 24)
print(faults(1 << 23))
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory"
)
def test_freed_memory_is_kept_for_the_next_tensor():
    def faults(call: str) -> int:
        command = [sys.executable, "-c", _FAULTS_OF_A_LARGE_TENSOR.format(call=call)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert hardware.keep_freed_memory()
    assert faults("keep_freed_memory()") < 100 < faults("")


@pytest.mark.parametrize(("available", "name"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch, available, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert hardware.setup(params()) == torch.device(name)
    assert hardware.setup(params(device="cpu")) == torch.device("cpu")


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"hardware\.device: found 'cuda'.*auto or cpu"):
        hardware.setup(params(device="cuda"))


def test_dtype():
    assert hardware.dtype(params()) is torch.float32
    assert hardware.dtype(params(precision="float64")) is torch.float64
