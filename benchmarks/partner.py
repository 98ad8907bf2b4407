"""A second process that does half of every meta-iteration, as meta-training with two processes.

The benchmark that wants it starts itself again with `--partner FILE`; the two meet at that file.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from benchmarks.ways import Problem, ours
from mooc_maml.episodes.examples import Examples
from mooc_maml.runtime.processes import ProcessGroup

_STOP, _FIRST_ORDER, _SECOND_ORDER = 0, 1, 2


@dataclass(frozen=True)
class InTwoProcesses:
    """`ours`, with a partner who has the same problem; each of the two has half of the threads."""

    process_group: ProcessGroup
    threads: int

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        support: Examples,
        query: Examples,
        *,
        lr: float,
        steps: int,
        second_order: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Ask the partner for its half and do ours."""
        torch.set_num_threads(max(1, self.threads // 2))
        try:
            if self.process_group.rank == 0:
                self.process_group.sum(
                    torch.tensor(_SECOND_ORDER if second_order else _FIRST_ORDER)
                )
            how: dict[str, Any] = {"lr": lr, "steps": steps, "second_order": second_order}
            return ours(weights, support, query, **how, process_group=self.process_group)
        finally:
            torch.set_num_threads(self.threads)


@contextmanager
def partner(module: str, arguments: Sequence[str]) -> Iterator[ProcessGroup]:
    """Start `python -m module arguments --partner FILE`; our place beside it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "rendezvous"
        command = [sys.executable, "-m", module, *arguments, f"--partner={place}"]
        with subprocess.Popen(command) as other:
            process_group = _meet(place, 0)
            try:
                yield process_group
                process_group.sum(torch.tensor(_STOP))
                distributed.destroy_process_group()
            except BaseException:
                other.kill()
                raise


def be_partner(place: Path, problem: Problem, threads: int) -> None:
    """Do our half of what the other process asks for, until it says that it is done."""
    process_group = _meet(place, 1)
    half = InTwoProcesses(process_group, threads)
    while asked := int(process_group.sum(torch.tensor(0))[0]):
        setting, order = problem.setting, asked == _SECOND_ORDER
        half(
            problem.weights,
            setting.support,
            setting.query,
            lr=problem.lr,
            steps=problem.steps,
            second_order=order,
        )
    distributed.destroy_process_group()


def _meet(place: Path, rank: int) -> ProcessGroup:
    distributed.init_process_group("gloo", init_method=place.as_uri(), rank=rank, world_size=2)
    return ProcessGroup(rank, 2)
