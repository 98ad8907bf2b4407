"""Throughput of meta-training by number of processes, and what they send one another.

    python -m benchmarks.processes --processes 1 2 --json processes.json

One second-order meta-iteration of the reference setting, shared out as meta-training does, with
one thread a process. The message of a meta-update is counted as it is sent. In a ring all-reduce
each process sends, and receives, 2 (N - 1) / N times the message: N - 1 parts of 1/N to sum up, as
many to hand round (Patarasuk and Yuan, "Bandwidth Optimal All-reduce Algorithms", 2009).
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.episodes import reference_setting
from benchmarks.measure import median_and_spread, seconds_of
from benchmarks.ways import INNER_LR, INNER_STEPS, ours, problem
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import read_json, write_json
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.processes import ProcessGroup, join_process_group, launch

_COLUMNS = ("processes", "seconds", "spread", "speedup", "message_kb", "sent_kb", "all_reduce_ms")


class _Counting(ProcessGroup):
    """Counts the bytes of each message, for one meta-update at a time."""

    message = 0

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """See `ProcessGroup.sum`."""
        _Counting.message += sum(tensor.nbytes for tensor in tensors)
        return super().sum(*tensors)


def main() -> None:
    """Measure every number of processes; print a table and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=50, help="timed meta-iterations")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row is not None:
        _one_of_them(arguments.repeats, arguments.row)
        return
    rows = [_row(processes, arguments.repeats) for processes in arguments.processes]
    rows = [row | {"speedup": rows[0]["seconds"] / row["seconds"]} for row in rows]
    report(rows, _COLUMNS, machine(1, torch.device("cpu")), arguments.json)


def _row(processes: int, repeats: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        command = [sys.executable, "-m", "benchmarks.processes", f"--repeats={repeats}"]
        if launch(processes, [*command, f"--row={path}"]):
            raise RuntimeError(f"{processes} processes failed")
        row: Row = read_json(path)
    return row


def _one_of_them(repeats: int, path: Path) -> None:
    """Do this process's share as often as the others do theirs; the first writes the row."""
    torch.set_num_threads(1)
    chosen = problem(reference_setting(0), 0, torch.device("cpu"), INNER_STEPS)
    with join_process_group() as place:
        process_group = _Counting(place.rank, place.size, place.local_rank)
        step = partial(
            ours,
            chosen.weights,
            chosen.setting.support,
            chosen.setting.query,
            lr=INNER_LR,
            steps=INNER_STEPS,
            second_order=True,
            process_group=process_group,
        )
        step()
        message = _Counting.message
        seconds, spread = median_and_spread([seconds_of(step) for _ in range(repeats)])
        numbers = torch.zeros(message // 4)
        alone, _ = median_and_spread(
            [seconds_of(lambda: process_group.sum(numbers)) for _ in range(repeats)]
        )
    if place.rank == 0:
        sent = 2 * (place.size - 1) / place.size * message
        row = {"processes": place.size, "seconds": seconds, "spread": spread}
        sizes = {"message_kb": message / 1e3, "sent_kb": sent / 1e3}
        write_json(path, row | sizes | {"all_reduce_ms": alone * 1e3})


if __name__ == "__main__":
    main_guard(main)
