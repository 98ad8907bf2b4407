"""Raw files -> Parquet shards of events, a shard a file, files side by side in processes."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mooc_maml.errors import UserError
from mooc_maml.files import naming
from mooc_maml.params import DataParams
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

    Raises:
        UserError: a raw file cannot be read, or a process died.
    """
    shards = [folder / f"{number:06d}.parquet" for number in range(len(files))]
    processes = min(processes, len(files))
    if processes == 1 or sum(raw.stat().st_size for raw in files) < _WORTH_PROCESSES:
        for raw, shard in zip(files, shards, strict=True):
            write_shard(raw, shard, data, report)
        return
    context = multiprocessing.get_context("spawn")
    read, stop = context.Value("q", 0), context.Value("b", 0)
    with ProcessPoolExecutor(
        processes, context, initializer=_start_process, initargs=(read, stop)
    ) as pool:
        futures = [
            pool.submit(_in_process, raw, shard, data, report.folder)
            for raw, shard in zip(files, shards, strict=True)
        ]
        try:
            _wait(futures, lambda: int(read.value), report.on_bytes)
            for future in futures:
                report.add(future.result())
        except BrokenProcessPool:
            raise UserError(
                f"a process that read raw files into {folder.parent} died, killed or out of "
                "memory; nothing was written; run the same command again, with a smaller "
                "hardware.threads (files read at a time) if memory is short"
            ) from None
        finally:
            stop.value = 1
            pool.shutdown(cancel_futures=True)


def _wait(
    futures: list[Future[ReadReport]], read: Callable[[], int], on_bytes: Callable[[int], object]
) -> None:
    """Wait for all, or for the first that fails; pass on how many bytes were read."""
    told, waiting = 0, set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
        now = read()
        on_bytes(now - told)
        told = now
        if any(future.exception() for future in done):
            next(future for future in done if future.exception()).result()


_shared: dict[str, Any] = {}  # of a reading process: bytes read by all, and whether to stop


def _start_process(read: Any, stop: Any) -> None:
    _shared.update(read=read, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _StoppedError(Exception):
    """Another file could not be read."""


def _in_process(raw: Path, shard: Path, data: DataParams, folder: Path | None) -> ReadReport:
    def count(number: int) -> None:
        if _shared["stop"].value:
            raise _StoppedError
        with _shared["read"].get_lock():
            _shared["read"].value += number

    report = ReadReport(folder, on_bytes=count)
    write_shard(raw, shard, data, report)
    return report.without_listener()
