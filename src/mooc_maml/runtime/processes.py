"""The processes that train one model together: each works on its share, and sums are shared.

torch.distributed carries the sums: gloo on the CPU, NCCL on CUDA. The processes come from `launch`
or from torchrun, which may span machines (see `mooc_maml.runtime.place`).
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.devices import usable_gpus
from mooc_maml.runtime.place import RENDEZVOUS, given_place, tell_leftovers
from mooc_maml.runtime.signals import end_with_starter, passing_signals

SECONDS_TO_MEET = 120  # that all processes may take to load, on all machines
SECONDS_FOR_A_SUM = 1800  # that a process may take over its share before the others give it up


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among `size` processes; rank 0 alone writes files.

    Attributes:
        rank: 0 to size - 1.
        size: processes on all machines.
        local_rank: place among the processes of this machine.
        local_size: processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    def share(self, costs: Sequence[float]) -> list[int]:
        """Which of some pieces of work are this process's, so that all have about as much to do.

        The dearest first, each to the process that has least so far (Graham, "Bounds on
        Multiprocessing Timing Anomalies", 1969). Every process finds the same shares.
        """
        shares: list[list[int]] = [[] for _ in range(self.size)]
        loads = [0.0] * self.size
        for piece in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
            least = loads.index(min(loads))
            shares[least].append(piece)
            loads[least] += costs[piece]
        return sorted(shares[self.rank])

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors of one dtype and device, each summed over all processes: one message.

        Raises:
            UserError: another process is gone.
        """
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([x.flatten() for x in tensors])
        try:
            distributed.all_reduce(flat)
        except RuntimeError as error:
            raise self._lost(error) from None
        parts = torch.split(flat, [x.numel() for x in tensors])
        return [part.view(x.shape) for part, x in zip(parts, tensors, strict=True)]

    def gather(self, own: Any) -> list[Any]:
        """Plain values (as JSON has them) of every process, in the order of ranks; all get all.

        Each waits for the slowest, however long that takes: of work that is not cut into sums.
        Signals mean what they do elsewhere, since nothing but a sleep is interrupted. The first one
        waits until all have read, since what they meet by may end with it.

        Raises:
            UserError: another process is gone.
        """
        if self.size == 1:
            return [own]
        store, number, ranks = _meeting_place[0], next(_gathered), range(self.size)
        told, read = ([f"{what}/{number}/{rank}" for rank in ranks] for what in ("told", "read"))
        try:
            store.set(told[self.rank], json.dumps(own))
            _wait_for(store, told)
            found = [json.loads(store.get(key)) for key in told]
            store.set(read[self.rank], "")
            if not self.rank:
                _wait_for(store, read)
        except RuntimeError as error:
            raise self._lost(error) from None
        return found

    def _lost(self, error: RuntimeError) -> UserError:
        return UserError(
            f"process {self.rank} of {self.size} {_LOST} ({_first_line(error)}); run "
            "the same command again to go on from the last saved state"
        )


def _wait_for(store: Any, keys: list[str]) -> None:
    while not store.check(keys):
        time.sleep(_SECONDS_BETWEEN_LOOKS)


_meeting_place: list[Any] = []  # the store of `_meet`
_gathered = count()  # all processes gather in the same order
_SECONDS_BETWEEN_LOOKS = 0.05
ALONE = ProcessGroup()
_WANT_OF_MEMORY = " (often for want of memory: lower hardware.processes or hardware.tasks_at_once)"
_LOST = "lost the others"  # what those say that another one's end has ended


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def is_distributed() -> bool:
    """Whether `launch` or torchrun has started this process."""
    return given_place() is not None


def this_process() -> ProcessGroup:
    """This process's place among those that were started with it.

    Raises:
        UserError: what the environment says of them makes no sense.
    """
    place = given_place()
    return ProcessGroup(*place) if place else ALONE


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Take this process's place among those that were started with it; alone: do nothing.

    Raises:
        UserError: not all of them come, or what the environment says of them makes no sense.
    """
    if not is_distributed():
        tell_leftovers()
    process_group = this_process()
    if process_group.size == 1:
        yield process_group
        return
    if RENDEZVOUS in os.environ:
        end_with_starter()
    if process_group.rank:  # the first process alone decides to stop; torchrun asks all of them
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
    _meet(process_group)
    try:
        yield process_group
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        code = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else code
        atexit.register(_leave, code if isinstance(code, int) else 1)
        raise
    distributed.destroy_process_group()  # waits for the others, so not after an error


def _leave(status: int) -> None:
    """End now: taking down gloo's threads while others are gone may abort, or wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _meet(process_group: ProcessGroup) -> None:
    backend = "cuda:nccl,cpu:gloo" if usable_gpus().count else "gloo"
    patience = timedelta(seconds=SECONDS_TO_MEET)
    try:
        store = _store(process_group, patience)
        _meeting_place[:] = [store]
        store.set(f"here/{process_group.rank}", "yes")
        store.wait([f"here/{rank}" for rank in range(process_group.size)], patience)
    except (distributed.DistError, RuntimeError) as error:
        raise UserError(
            f"process {process_group.rank} of {process_group.size} has not met the others within "
            f"{SECONDS_TO_MEET} s ({_first_line(error)}); start all of them at about the same "
            "time, with an address and a port that each can reach, or unset RANK and WORLD_SIZE "
            "if another program has left them"
        ) from None
    try:
        distributed.init_process_group(
            backend,
            store=store,
            rank=process_group.rank,
            world_size=process_group.size,
            timeout=timedelta(seconds=SECONDS_FOR_A_SUM),
        )
    except RuntimeError as error:
        raise UserError(
            f"process {process_group.rank} of {process_group.size} cannot reach the others "
            f"({_first_line(error)}); look after the network and the variables that name its "
            f"interface ({_interfaces() or 'none is set'}), or set hardware.processes to 1"
        ) from None


def _interfaces() -> str:
    """GLOO_SOCKET_IFNAME='eth7'."""
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
    return ", ".join(f"{name}={os.environ[name]!r}" for name in names if name in os.environ)


def _store(process_group: ProcessGroup, patience: timedelta) -> Any:
    """Where the processes leave word for each other: a file of `launch`, or torchrun's server."""
    if RENDEZVOUS not in os.environ:
        store, _, _ = next(
            rendezvous("env://", process_group.rank, process_group.size, timeout=patience)
        )
        return store
    # not by a file:// address, of which PyTorch would not decode the blanks and letters
    path = os.fsencode(os.environ[RENDEZVOUS])
    store = distributed.FileStore(path, process_group.size)  # type: ignore[attr-defined, arg-type]
    store.set_timeout(patience)
    return store


def launch(processes: int, command: Sequence[str], lines_of_all: bool = False) -> int:
    """Run a command once a process, on this machine, until all have ended or one has failed.

    Only the first one's output is shown, and what another that failed said last. A signal that asks
    to stop goes to the first, which saves its state; the others end with it, and all with us.

    Args:
        processes: how many.
        command: of each.
        lines_of_all: whether what the others print on standard output is shown, too, as it comes.

    Returns:
        Exit status: 0, or that of the first process to fail.

    Raises:
        UserError: a process was killed.
        KeyboardInterrupt: by the signal of Ctrl-C.
    """
    tell_leftovers()
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / f"said_by_{rank}" for rank in range(processes)]
        place = str(Path(folder) / "rendezvous")
        running = [
            _start(rank, processes, command, place, said[rank], lines_of_all)
            for rank in range(processes)
        ]
        try:
            with passing_signals(running[0]):
                failed = _wait(running)
        finally:
            for process in running:
                process.kill()
                process.wait()
        if failed is None:
            return 0
        sys.stderr.write(_reason(running, said, failed))
        status = running[failed].returncode
        if status == -signal.SIGINT:  # before it could handle it
            raise KeyboardInterrupt
        if status < 0:
            reason = _WANT_OF_MEMORY if status == -signal.SIGKILL else ""
            raise UserError(
                f"process {failed} of {processes} was killed by signal {-status}{reason}; run the "
                "same command again to go on from the last saved state"
            )
        return status


def _reason(running: Sequence["subprocess.Popen[bytes]"], said: Sequence[Path], failed: int) -> str:
    """The last words of one that failed for a reason of its own, which are not shown yet.

    Where there is none, those of `failed`. What the first process says is shown as it comes.
    """
    words = {
        rank: said[rank].read_text(encoding="utf-8", errors="replace")[-2000:]
        for rank, process in enumerate(running)
        if rank and process.poll()
    }
    own = [text for text in words.values() if text and _LOST not in text]
    return own[0] if own else words.get(failed, "")


def _start(
    rank: int, size: int, command: Sequence[str], place: str, said: Path, lines_shown: bool
) -> "subprocess.Popen[bytes]":
    ranks = dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
    sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(size))
    with ExitStack() as stack:
        output = stack.enter_context(said.open("wb")) if rank else None
        # a session of its own, so that Ctrl-C reaches only us; the pipe closes when we end
        return subprocess.Popen(
            command,
            env={**os.environ, **ranks, **sizes, RENDEZVOUS: place},
            stdin=subprocess.PIPE,
            stdout=None if lines_shown else output,
            stderr=output,
            start_new_session=True,
        )


def _wait(running: Sequence["subprocess.Popen[bytes]"]) -> int | None:
    """The rank of the first process to fail, a killed one before others; None: all went well."""
    while None in (status := [process.poll() for process in running]):
        if any(status):
            time.sleep(0.5)  # one that was killed takes others with it, who may be seen first
            break
        time.sleep(0.05)
    failed = [rank for rank, process in enumerate(running) if process.poll()]
    return min(failed, key=lambda rank: (running[rank].returncode > 0, rank), default=None)
