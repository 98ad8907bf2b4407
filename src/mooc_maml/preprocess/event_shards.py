"""Raw files -> Parquet shards of events, a shard a file, files side by side in processes."""

import multiprocessing
import signal
import traceback
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import naming
from mooc_maml.settings.data import DataParams
from mooc_maml.sources import SOURCES
from mooc_maml.sources.events import ReadReport

SHARD_SCHEMA = pa.schema(
    [
        ("learner", pa.string()),
        ("course", pa.string()),
        ("event", pa.string()),
        ("time_us", pa.int64()),  # microseconds since 1970
        ("session", pa.string()),
        ("kind", pa.int16()),  # number, from 1, of the prefix that the event begins with; 0: none
    ]
)

_WORTH_PROCESSES = 1 << 24  # bytes; to start a process takes longer than to read less


def write_shard(raw: Path, shard: Path, data: DataParams, report: ReadReport) -> None:
    """Read one raw file in constant memory into one Parquet file of SHARD_SCHEMA.

    Raises:
        UserError: the raw file cannot be read.
    """
    with (
        naming(shard),
        shard.open("wb") as file,
        pq.ParquetWriter(file, SHARD_SCHEMA, compression="zstd") as writer,
    ):
        for batch in SOURCES[data.source].read_events([raw], data, report):
            found = [*batch.columns, _kinds(batch.column("event"), data.event_prefixes)]
            columns = [
                column.cast(kind) for column, kind in zip(found, SHARD_SCHEMA.types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SHARD_SCHEMA))


def _kinds(event: pa.Array, prefixes: Sequence[str]) -> pa.Array:
    """Number from 1 of the first prefix that each event begins with; 0 where there is none."""
    kinds = np.zeros(len(event), np.int16)
    for number in range(len(prefixes), 0, -1):
        begins = pc.fill_null(pc.starts_with(event, prefixes[number - 1]), False)
        kinds[begins.to_numpy(zero_copy_only=False)] = number
    return pa.array(kinds)


def write_shards(
    files: Sequence[Path], folder: Path, data: DataParams, report: ReadReport, processes: int
) -> None:
    """Write a shard for each raw file into `folder`, in at most `processes` at a time.

    Each process has a pipe of its own and shares nothing, so that one that is killed leaves no lock
    behind that another waits for: CPython's own pool of processes may wait for ever where one dies
    while the next is being started.

    Raises:
        UserError: a raw file cannot be read, or a process died.
    """
    shards = [folder / f"{number:06d}.parquet" for number in range(len(files))]
    processes = min(processes, len(files))
    if processes == 1 or sum(raw.stat().st_size for raw in files) < _WORTH_PROCESSES:
        for raw, shard in zip(files, shards, strict=True):
            write_shard(raw, shard, data, report)
        return
    running: dict[Connection, SpawnProcess] = {}
    try:
        _start(processes, running, data, report.folder)
        for own in _own_reports(list(running), list(zip(files, shards, strict=True)), report):
            report.add(own)
    except _DiedError:
        raise UserError(
            f"a process that read raw files into {folder.parent} died, killed or out of "
            "memory; nothing was written; run the same command again, with a smaller "
            "hardware.threads (files read at a time) if memory is short"
        ) from None
    finally:
        for process in running.values():
            process.kill()
        for pipe, process in running.items():
            process.join()
            pipe.close()


class _DiedError(Exception):
    """A process is gone, or what it says breaks off."""


def _start(
    processes: int, running: dict[Connection, SpawnProcess], data: DataParams, folder: Path | None
) -> None:
    """Start processes deaf to Ctrl-C, which asks all: the one that started them acts."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # would be started by the first, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(processes):
            pipe, far_end = context.Pipe()
            process = context.Process(target=_read_files, args=(far_end, data, folder), daemon=True)
            process.start()
            far_end.close()
            running[pipe] = process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_reports(
    idle: list[Connection], work: list[tuple[Path, Path]], report: ReadReport
) -> list[ReadReport]:
    """Give each process a file whenever it has none; what each file's report counted, in order.

    Raises:
        Exception: what a process met, such as the UserError of a file that cannot be read.
        _DiedError: a process died.
    """
    reports: dict[int, ReadReport] = {}
    busy: dict[Connection, int] = {}
    given = 0
    while len(reports) < len(work):
        while idle and given < len(work):
            pipe = idle.pop()
            try:
                pipe.send(work[given])
            except ConnectionError:
                raise _DiedError from None
            busy[pipe] = given
            given += 1
        ready = wait(list(busy))
        for pipe in [own for own in busy if own in ready]:
            try:
                said = pipe.recv()
            except (EOFError, OSError):
                raise _DiedError from None
            if isinstance(said, int):
                report.on_bytes(said)
            elif isinstance(said, ReadReport):
                reports[busy.pop(pipe)] = said
                idle.append(pipe)
            else:
                raise said
    return [reports[number] for number in range(len(work))]


def _read_files(pipe: Connection, data: DataParams, folder: Path | None) -> None:
    """In a process of its own: write shards until told to end, by a kill or a closed pipe."""
    try:
        while True:
            raw, shard = pipe.recv()
            report = ReadReport(folder, on_bytes=pipe.send)
            try:
                write_shard(raw, shard, data, report)
            except ConnectionError:
                raise
            except (UserError, OSError, MemoryError) as error:  # main_guard has words for these
                pipe.send(error)
            except Exception:
                pipe.send(RuntimeError(f"in a reading process:\n{traceback.format_exc()}"))
            else:
                pipe.send(report.without_listener())
    except (EOFError, ConnectionError):
        pass  # the one that started us is gone
