"""Calls of one shape recorded once and replayed: what a chain of small kernels needs on a GPU.

On a GPU a meta-gradient is some three thousand kernels of a few microseconds, and launching each
takes longer than running it. Recorded as one CUDA graph they are launched together. A graph reads
and writes fixed memory and does always the same, so it takes tensors of fixed shapes, which are
copied to where it reads, and a function that looks at no tensor's values to decide what to do.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mooc_maml.common.progress import say
from mooc_maml.runtime.tasks_at_once import is_out_of_gpu_memory

AT_MOST = 4  # graphs kept, each with memory of its own
_WARM_UPS = 3  # as PyTorch asks for before a capture
_REMEMBERED = 64  # shapes that were met once


class Graph(Protocol):
    """Something that can be done again without asking Python."""

    def record(self, function: Callable[[], Any]) -> Any:
        """Record what a function does to tensors; gives what it returns, in fixed memory."""

    def replay(self) -> None:
        """Do it again, on what lies now where the function read."""


class CUDAGraph:
    """The CUDA graph of a GPU; needs one."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.graph = device, torch.cuda.CUDAGraph()

    def record(self, function: Callable[[], Any]) -> Any:
        """See `Graph`; other threads may go on using CUDA, as NCCL's do."""
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            own = torch.cuda.current_stream()
            side.wait_stream(own)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    function()
            own.wait_stream(side)
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                return function()

    def replay(self) -> None:
        """See `Graph`."""
        with torch.cuda.device(self.device):
            self.graph.replay()


class _Recorded(NamedTuple):
    graph: Graph
    inputs: list[Tensor]
    outputs: Any


class Replays:
    """Recorded calls, one a key and shape; the ones used last are kept.

    A call is recorded when its shape is met for the second time, since recording takes longer than
    doing it once. Where recording fails, all is done without from then on, and said so once.

    Args:
        new_graph: makes an empty graph.
        at_most: recorded calls to keep.
    """

    def __init__(self, new_graph: Callable[[], Graph], at_most: int = AT_MOST) -> None:
        self.new_graph, self.at_most, self.fault = new_graph, at_most, ""
        self._recorded: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self._met: OrderedDict[Hashable, None] = OrderedDict()

    def run(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`; what is returned is the caller's own.

        Args:
            key: two functions with the same key do the same.
            function: of tensors in dictionaries, sequences and dataclasses; what else these hold
                counts as part of the key.
            arguments: its arguments.
        """
        if self.fault:
            return function(*arguments)
        whole = key, shape_of(arguments)
        recorded = self._recorded.get(whole)
        if recorded is None:
            if not self._is_met_again(whole):
                return function(*arguments)
            recorded = self._record(whole, function, arguments)
            if recorded is None:
                return function(*arguments)
        self._recorded.move_to_end(whole)
        with torch.inference_mode():
            torch._foreach_copy_(recorded.inputs, list(tensors_of(arguments)))
            recorded.graph.replay()
            return with_tensors(recorded.outputs, (x.clone() for x in tensors_of(recorded.outputs)))

    def _is_met_again(self, whole: Hashable) -> bool:
        is_known = whole in self._met
        self._met[whole] = None
        self._met.move_to_end(whole)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)
        return is_known

    def _record(
        self, whole: Hashable, function: Callable[..., Any], arguments: Sequence[Any]
    ) -> _Recorded | None:
        while len(self._recorded) >= self.at_most:
            self._recorded.popitem(last=False)
        with torch.inference_mode():
            inputs = [x.clone() for x in tensors_of(arguments)]
        own, graph = with_tensors(arguments, iter(inputs)), self.new_graph()
        try:
            outputs = graph.record(lambda: function(*own))
        except RuntimeError as error:
            self._give_up(error)
            return None
        self._recorded[whole] = _Recorded(graph, inputs, outputs)
        return self._recorded[whole]

    def _give_up(self, error: RuntimeError) -> None:
        self.fault = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        self._recorded.clear()
        say(f"hardware.cuda_graphs: not recorded ({self.fault}); without from now on", error=True)
        if is_out_of_gpu_memory(error) and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """All tensors in dictionaries, sequences and dataclasses, always in the same order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for part in _parts(tree):
            yield from tensors_of(part)


def shape_of(tree: Any) -> Hashable:
    """What two trees share that differ in the values of tensors only."""
    if isinstance(tree, Tensor):
        return tuple(tree.shape), tree.dtype, tree.device
    if isinstance(tree, dict):
        return tuple((name, shape_of(x)) for name, x in tree.items())
    if _is_inner(tree):
        return type(tree), tuple(shape_of(x) for x in _parts(tree))
    return tree  # type: ignore[no-any-return]


def with_tensors(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """The same tree, its tensors taken from elsewhere in the order of `tensors_of`."""
    if isinstance(tree, Tensor):
        return next(tensors)
    if isinstance(tree, dict):
        return {name: with_tensors(x, tensors) for name, x in tree.items()}
    if not _is_inner(tree):
        return tree
    parts = [with_tensors(x, tensors) for x in _parts(tree)]
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: x for f, x in zip(fields(tree), parts, strict=True)})
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _is_inner(tree: Any) -> bool:
    return isinstance(tree, list | tuple) or (is_dataclass(tree) and not isinstance(tree, type))


def _parts(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return list(tree.values())
    if isinstance(tree, list | tuple):
        return list(tree)
    if _is_inner(tree):
        return [getattr(tree, field.name) for field in fields(tree)]
    return []
