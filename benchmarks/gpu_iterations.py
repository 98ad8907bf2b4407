"""One meta-gradient of the reference setting on a device: time, memory, kernels, agreement."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.episodes import Setting, reference_setting
from mooc_maml.common.randomness import torch_generator
from mooc_maml.meta import outer_products
from mooc_maml.meta.gru.profile import profile_of
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.outer import MetaGradient, meta_gradient
from mooc_maml.meta.replay import CUDAGraph, Graph, Replays, tensors_of
from mooc_maml.models.gru import GRURecommender
from mooc_maml.report.measured import Row

HOW = {"steps": 5, "inner_lr": 0.01}
_RECORDED = {"cuda": "graph", "cpu": "called again"}  # by kind of device
AT_MOST = 30  # calls of one measurement


class CalledAgain:
    """Stands for a graph on the CPU: it calls the function again. Of no use but to try the rest."""

    def record(self, function: Callable[[], Any]) -> Any:
        """See `Graph`."""
        self.function, self.outputs = function, function()
        return self.outputs

    def replay(self) -> None:
        """See `Graph`."""
        for place, x in zip(tensors_of(self.outputs), tensors_of(self.function()), strict=True):
            place.copy_(x)


def new_graph(device: torch.device) -> Callable[[], Graph]:
    """What makes empty graphs on a device."""
    return partial(CUDAGraph, device) if device.type == "cuda" else CalledAgain


def finish(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], object], device: torch.device, enough: float) -> float:
    """The median of some calls, which take so many seconds together."""
    taken: list[float] = []
    while not taken or (sum(taken) < enough and len(taken) < AT_MOST):
        finish(device)
        start = time.perf_counter()
        call()
        finish(device)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Deterministic algorithms, or not, for a while."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def own_matrices(wanted: bool) -> Iterator[None]:
    """Several tasks have matrices of their own, or sums of outer products, for a while."""
    before = outer_products.wants_matrices
    outer_products.wants_matrices = lambda device: wanted
    try:
        yield
    finally:
        outer_products.wants_matrices = before


class Iteration:
    """The study's model (embedding 64, GRU 128) with fresh weights, and one meta-batch."""

    def __init__(self, tasks: int, device: torch.device) -> None:
        self.setting: Setting = reference_setting(0, tasks)
        drawn = torch_generator(0, "benchmark-weights")
        model = GRURecommender(self.setting.num_courses, 64, 128, generator=drawn)
        self.weights = {name: x.detach().to(device) for name, x in model.state_dict().items()}
        self.device, self.plain = device, GRUTaskModel(device, torch.float32)

    def recording(self) -> GRUTaskModel:
        """The task model that records, at the batch's own shape."""
        shapes = profile_of(self.setting.support), profile_of(self.setting.query)
        return self.plain.recording(Replays(new_graph(self.device)), shapes)

    def solve(self, model: GRUTaskModel, second_order: bool) -> MetaGradient:
        """One meta-gradient, from examples on the CPU on."""
        batch = self.setting.support, self.setting.query
        return meta_gradient(model, self.weights, *batch, second_order=second_order, **HOW)  # type: ignore[arg-type]

    def prepare(self) -> None:
        """What of it is packing examples and moving them to the device."""
        self.plain.prepare(self.setting.support)
        self.plain.prepare(self.setting.query, self.setting.support)


def iteration_rows(device: torch.device, tasks: list[int], enough: float) -> list[Row]:
    """A row for each size, order, form of the tasks' weights, and way; some not deterministic.

    `enough`: seconds that one measurement takes.
    """
    rows = []
    for number in tasks:
        own = Iteration(number, device)
        preparing = seconds_of(own.prepare, device, enough)
        for second_order, fixed in ((True, True), (True, False), (False, True)):
            with deterministic(fixed), own_matrices(False):
                expected = own.solve(own.plain, second_order)
            for matrices in (True, False):
                with deterministic(fixed), own_matrices(matrices):
                    facts = [
                        {"way": way} | _measured(own, way, second_order, expected, enough)
                        for way in ("eager", _RECORDED[device.type])
                    ]
                row: Row = {
                    "tasks": number,
                    "order": 2 if second_order else 1,
                    "matrices": matrices,
                }
                row |= {"deterministic": fixed, "prepare_ms": 1e3 * preparing}
                rows += [row | own_facts for own_facts in facts]
    return rows


def _measured(
    own: Iteration, way: str, second_order: bool, expected: MetaGradient, enough: float
) -> Row:
    forget_peak(own.device)
    try:
        model = own.plain if way == "eager" else own.recording()
        start = time.perf_counter()
        found = [own.solve(model, second_order) for _ in range(3)]  # plain, recorded, replayed
        finish(own.device)
        first = time.perf_counter() - start
        seconds = seconds_of(lambda: own.solve(model, second_order), own.device, enough)
    except RuntimeError as error:
        return {"fault": _first_line(error)}
    return {
        "ms": 1e3 * seconds,
        "us_a_task": 1e6 * seconds / own.setting.support.num_tasks,
        "first_three_ms": 1e3 * first,
        "peak_mb": peak_mb(own.device),
        "relative_error": _difference(found[-1].weights, expected.weights),
        "replay_same_bits": all(
            torch.equal(found[-1].weights[name], x) for name, x in found[0].weights.items()
        ),
        "fault": model.replays.fault if model.replays else "",
    }


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0][:200]


def _difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(
        float((found[name] - x).norm() / x.norm().clamp(min=1e-30)) for name, x in expected.items()
    )


def forget_peak(device: torch.device) -> None:
    """Let `peak_mb` begin again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> float | None:
    """The most memory of the GPU in use since it was forgotten, 10^6 bytes; None: no GPU."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None


def kernels(device: torch.device, tasks: int, *, fill: bool, matrices: bool) -> Row:
    """What one second-order meta-gradient, deterministic, launches; on the CPU, what it computes.

    Args:
        device: where.
        tasks: of the meta-batch.
        fill: whether new memory is filled first, as PyTorch does with deterministic algorithms
            unless it is told not to.
        matrices: the form of the tasks' weights.
    """
    own = Iteration(tasks, device)
    before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    try:
        with deterministic(True), own_matrices(matrices):
            own.solve(own.plain, True)
            with profile(activities=[activity]) as seen:
                own.solve(own.plain, True)
                finish(device)
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before  # type: ignore[attr-defined]
    row: Row = {"tasks": tasks, "memory_filled_first": fill, "matrices": matrices}
    return row | _counted(seen.events(), device)


def _counted(events: Any, device: torch.device) -> Row:
    if device.type == "cuda":
        on_gpu = [x for x in events if "CUDA" in str(x.device_type)]
        return {
            "kernels": len(on_gpu),
            "busy_ms": sum(x.time_range.elapsed_us() for x in on_gpu) / 1e3,
        }
    return {"operations": sum(_computes(x) for x in events)}


def _computes(event: Any) -> bool:
    """Whether an operation of PyTorch computes itself: it is no view, and calls none that does.

    That new memory is filled counts for itself, and not against the one that asked for it.
    """
    name = event.name.removeprefix("aten::")
    is_own = name != event.name and name not in _NO_KERNEL
    if name in ("fill_", "zero_"):
        return not event.cpu_children
    return is_own and not _calls(event)


def _calls(event: Any) -> bool:
    """Whether anything that an operation calls computes, but for filling memory."""
    others = [x for x in event.cpu_children if x.name not in ("aten::fill_", "aten::zero_")]
    return any(_computes(child) or _calls(child) for child in others)


_NO_KERNEL = {
    *("zeros", "zeros_like", "new_zeros", "full", "ones", "new_empty", "empty_like"),
    *("slice", "select", "t", "transpose", "permute", "unsqueeze", "expand", "split_with_sizes"),
    *("detach", "contiguous", "reshape", "flatten", "numpy_T", "mT", "narrow", "split", "chunk"),
    *("as_strided", "view", "_unsafe_view", "_reshape_alias", "resolve_conj", "resolve_neg"),
    *("empty", "empty_strided", "set_", "resize_", "as_strided_", "alias", "to"),
}
