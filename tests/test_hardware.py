import os
import platform
import subprocess
import sys
import warnings

import pytest
import torch

from mooc_maml.common.errors import UserError
from mooc_maml.runtime import hardware
from mooc_maml.runtime.devices import GPUs, fault_of, usable_gpus
from mooc_maml.runtime.processes import ProcessGroup
from mooc_maml.settings.hardware import HardwareParams


@pytest.fixture(autouse=True)
def _restore():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


def params(**changes: object) -> HardwareParams:
    settings = {
        "device": "auto",
        "threads": 1,
        "processes": 1,
        "tasks_at_once": 32,
        "precision": "float32",
        "cuda_graphs": False,
    }
    return HardwareParams.model_validate({**settings, **changes})


def test_threads_and_determinism_are_set():
    hardware.setup(params(threads=1))
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    hardware.setup(params(threads=2))
    assert torch.get_num_threads() == 2
    hardware.setup(params(threads=2), ProcessGroup(rank=1, size=2, local_size=2))
    assert torch.get_num_threads() == 1
    hardware.setup(params(threads=2), ProcessGroup(rank=1, size=3, local_size=3))
    assert torch.get_num_threads() == 1


def test_the_threads_of_a_machine_are_shared_by_its_own_processes():
    hardware.setup(params(threads=8), ProcessGroup(rank=5, size=8, local_rank=1, local_size=4))
    assert torch.get_num_threads() == 2


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


@pytest.fixture
def with_gpus(monkeypatch):
    """Pretends that the machine has so many GPUs, all of which can be used."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: (9, 0))
        monkeypatch.setattr(hardware, "fault_of", lambda device: "")

    return pretend


@pytest.mark.parametrize(("gpus", "name"), [(2, "cuda"), (0, "cpu")])
def test_auto_takes_a_gpu_if_there_is_one(with_gpus, capsys, gpus, name):
    with_gpus(gpus)
    assert hardware.setup(params()) == torch.device(name)
    assert hardware.setup(params(device="cpu")) == torch.device("cpu")
    assert capsys.readouterr().err == ""


def test_cuda_without_a_gpu_is_refused(with_gpus):
    with_gpus(0)
    for function in (hardware.setup, hardware.process_count):
        with pytest.raises(UserError, match=r"hardware\.device: found 'cuda'.*auto or cpu"):
            function(params(device="cuda"))


@pytest.mark.parametrize(
    ("gpus", "device", "count"), [(0, "auto", 2), (4, "cpu", 2), (1, "auto", 1), (4, "cuda", 4)]
)
def test_auto_is_a_process_a_gpu_and_two_on_the_cpu(with_gpus, gpus, device, count):
    with_gpus(gpus)
    assert hardware.process_count(params(device=device, processes="auto")) == count
    assert hardware.process_count(params(device=device, processes=1)) == 1


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(with_gpus):
    with_gpus(2)
    process_group = ProcessGroup(rank=3, size=4, local_rank=1, local_size=2)
    assert hardware.setup(params(), process_group) == torch.device("cuda", 1)


def test_more_processes_than_gpus_stop_before_any_work(with_gpus):
    with_gpus(1)
    says = r"hardware\.processes: 2 processes, each of which takes a GPU, and 1 on this machine; .*"
    with pytest.raises(UserError, match=says):
        hardware.process_count(params(processes=2))
    with pytest.raises(UserError, match=says):  # of torchrun
        hardware.setup(params(), ProcessGroup(rank=1, size=2, local_rank=1, local_size=2))
    assert hardware.process_count(params(processes=2, device="cpu")) == 2


def too_old() -> None:
    raise RuntimeError("The NVIDIA driver on your system is too old\nand so on")


def warned() -> bool:
    warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old", stacklevel=1)
    return False


@pytest.mark.parametrize("broken", ["is_available", "init", "fault_of"])
def test_a_gpu_that_cannot_be_used_is_told_and_the_cpu_taken(
    with_gpus, monkeypatch, capsys, broken
):
    with_gpus(1)
    if broken == "fault_of":  # a kernel does not run: here since this PyTorch has no CUDA
        monkeypatch.setattr(hardware, "fault_of", lambda device: "driver on your system is too old")
    else:
        fault = {"is_available": warned, "init": too_old}[broken]
        monkeypatch.setattr(torch.cuda, broken, fault)
    assert hardware.setup(params()) == torch.device("cpu")
    (line,) = capsys.readouterr().err.splitlines()
    assert "no GPU can be used" in line
    assert "driver on your system is too old" in line
    with pytest.raises(UserError, match=r"hardware\.device: .*too old.* cpu"):
        hardware.setup(params(device="cuda"))


@pytest.fixture
def of_capability(with_gpus, monkeypatch):
    """Pretends that there are GPUs of these capabilities, and a PyTorch built for some."""

    def pretend(*capabilities: tuple[int, int], built_for: str) -> None:
        with_gpus(len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
        monkeypatch.setattr(torch.cuda, "get_arch_list", built_for.split)

    return pretend


BUILT_FOR = "sm_75 sm_80 sm_90a"


@pytest.mark.parametrize(
    ("capabilities", "built_for", "count"),
    [
        ([(7, 5), (8, 6), (9, 0)], BUILT_FOR, 3),  # 8.6 runs code for 8.0
        ([(9, 0), (5, 2)], BUILT_FOR, 1),  # such as one that only drives the screen
        ([(7, 0)], BUILT_FOR, 0),  # too old
        ([(10, 0)], BUILT_FOR, 0),  # too new
        ([(10, 0)], BUILT_FOR + " compute_90", 1),  # PTX is translated for newer ones
        ([(7, 0)], "", 1),  # PyTorch does not tell
    ],
)
def test_only_gpus_that_pytorch_has_code_for_count(of_capability, capabilities, built_for, count):
    of_capability(*capabilities, built_for=built_for)
    assert usable_gpus().count == count
    assert bool(usable_gpus().fault) == (count == 0)


def test_a_gpu_too_old_for_pytorch_leaves_all_to_the_cpu_with_a_word(of_capability, capsys):
    of_capability((6, 1), (6, 1), built_for=BUILT_FOR)
    assert hardware.process_count(params(processes="auto")) == 2  # as on a machine without
    assert hardware.process_count(params(processes=4)) == 4
    for rank in (0, 1):
        process_group = ProcessGroup(rank=rank, size=2, local_rank=rank, local_size=2)
        assert hardware.setup(params(), process_group) == torch.device("cpu")
    (line,) = capsys.readouterr().err.splitlines()
    assert "no GPU can be used (GPU 0 has CUDA capability 6.1, and this PyTorch is built" in line
    with pytest.raises(UserError, match=r"hardware\.device: .*capability 6\.1.* cpu"):
        hardware.process_count(params(device="cuda"))


def test_a_gpu_without_memory_for_one_number_is_told_and_the_cpu_taken(
    with_gpus, monkeypatch, capsys
):
    with_gpus(1)
    monkeypatch.setattr(hardware, "fault_of", fault_of)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA error: out of memory\nand so on")

    monkeypatch.setattr(torch, "ones", full)
    assert hardware.setup(params()) == torch.device("cpu")
    assert "no GPU can be used (CUDA error: out of memory)" in capsys.readouterr().err


def test_gpus_that_are_hidden_are_none():
    command = "from mooc_maml.runtime.devices import usable_gpus; print(usable_gpus())"
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == repr(GPUs(0))


@pytest.mark.parametrize("gpus", [1, 2])
def test_auto_never_asks_for_a_gpu_that_is_not_there(with_gpus, gpus):
    """The processes that `auto` starts take the GPUs 0, 1, ... of those there are."""
    with_gpus(gpus)
    size = hardware.process_count(params(processes="auto"))
    places = [ProcessGroup(rank, size, rank, size) for rank in range(size)]
    taken = [hardware.setup(params(), place) for place in places]
    assert [device.index or 0 for device in taken] == list(range(gpus))


def test_what_a_broken_device_says_is_one_line():
    assert fault_of(torch.device("cpu")) == ""
    if not torch.backends.cuda.is_built():
        assert fault_of(torch.device("cuda")) == "Torch not compiled with CUDA enabled"


def test_dtype():
    assert hardware.dtype(params()) is torch.float32
    assert hardware.dtype(params(precision="float64")) is torch.float64
