"""How many tasks a device takes together: halved once where the memory of a GPU is too small."""

from collections.abc import Callable
from typing import TypeVar

import torch

from mooc_maml.common.errors import UserError
from mooc_maml.common.progress import say

Result = TypeVar("Result")
_SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


class TasksAtOnce:
    """The bound `hardware.tasks_at_once`, as one process finds it to fit.

    Memory is a matter of this process alone, so nothing is told to the others: each goes on with
    its share of the tasks in parts of its own size, and their sums stay the same, to rounding.

    Attributes:
        number: tasks that may go together.
    """

    def __init__(self, number: int) -> None:
        self.number, self.is_halved = number, False

    @classmethod
    def of(cls, number: "int | TasksAtOnce") -> "TasksAtOnce":
        """A bound of its own for a number; one that others use too stays as it is."""
        return cls(number) if isinstance(number, int) else number

    def run(self, call: Callable[[int, int], Result], tasks: int) -> list[Result]:
        """`call(start, end)` on tasks start..end-1, part by part, until all are done.

        There is one part if they fit. What runs out of a GPU's memory is done again in parts of
        half the size, and so is all that comes later.

        Raises:
            UserError: the memory is too small for half as many, too; it says what to lower.
        """
        results: list[Result] = []
        start = 0
        while start < tasks:
            end = min(start + self.number, tasks)
            try:
                results.append(call(start, end))
                start = end
                continue
            except RuntimeError as error:
                if not is_out_of_gpu_memory(error):
                    raise
            self._halve(end - start)  # after the except clause, which held the frames' tensors
        return results

    def _halve(self, tasks: int) -> None:
        if tasks == 1:
            raise UserError(
                "out of GPU memory with one task alone; lower a size of the model, such as "
                "model.hidden_dim, or set hardware.device to cpu"
            )
        half = (tasks + 1) // 2
        if self.is_halved:
            raise UserError(
                f"out of GPU memory with {tasks} tasks together, after halving once; set "
                f"hardware.tasks_at_once to {half} or less (the results stay the same, to "
                "rounding), or hardware.device to cpu"
            )
        self.number, self.is_halved = half, True
        say(
            f"hardware.tasks_at_once: out of GPU memory with {tasks} tasks together; {half} from "
            "now on (the results stay the same, to rounding)",
            error=True,
        )
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


def is_out_of_gpu_memory(error: RuntimeError) -> bool:
    """Whether PyTorch, CUDA or one of its libraries says that a GPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(x in str(error) for x in _SIGNS)
