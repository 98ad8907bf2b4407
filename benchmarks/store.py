"""How building and opening episodes grow with the number of pairs.

    python -m benchmarks.store --pairs 1000000,10000000 --folder /tmp/store

repeats synthetic sessions as those of further learners, runs `build_episodes` on them as the
pipeline does, and opens what it wrote, in a process of its own. Each size is deleted before the
next; one needs about 60 bytes of disk a pair.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.dumps import COURSES
from benchmarks.measure import in_own_process, peak_mb
from benchmarks.scale import run_stage
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import scratch_folder
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.activity import simulate

_LEARNERS = 14_000
_COLUMNS = (
    "pairs",
    "steps",
    "build_s",
    "build_peak_mb",
    "bytes_a_pair",
    "open_s",
    "open_peak_mb",
)


def write_pairs(folder: Path, pairs: int) -> Row:
    """Write what `preprocess` would write, with at least `pairs` pairs; tell how many of what."""
    settings = SyntheticParams(learners=_LEARNERS, courses=COURSES, taste_strength=1.0)
    activity = simulate(settings, 1)
    sessions = len(activity.session_learner)
    steps = np.diff(activity.session_step)
    session = np.repeat(np.arange(sessions, dtype=np.int32), steps)
    position = np.arange(len(session), dtype=np.int32) - activity.session_step[session]
    first = activity.step_event[activity.session_step]  # [sessions + 1], where their events begin
    part: dict[str, Any] = {
        "learner": activity.session_learner[session].astype(np.int32),
        "session": session,
        "position": position.astype(np.int32),
        "course": activity.step_course + 1,
        "time": activity.step_time * 1_000_000,
        "is_pair": position > 0,
        "events": (activity.step_event[:-1] - first[session] + 1).astype(np.int32),
        "kinds": np.minimum(position + 1, 6).astype(np.int16),
    }
    seconds = activity.event_time[first[1:] - 1] - activity.event_time[first[:-1]]
    whole = {"events": np.diff(first).astype(np.int32), "duration": seconds * 1_000_000}
    copies = -(-pairs // int(part["is_pair"].sum()))
    folder.mkdir(parents=True)
    schema = pa.schema([(name, pa.array(column).type) for name, column in part.items()])
    with pq.ParquetWriter(folder / "steps.parquet", schema, compression="zstd") as writer:
        for copy in range(copies):
            shift = {"learner": copy * _LEARNERS, "session": copy * sessions}
            columns = {name: column + shift[name] for name, column in part.items() if name in shift}
            writer.write_table(pa.table(part | columns, schema))
    sessions_table = {name: np.tile(column, copies) for name, column in whole.items()}
    pq.write_table(pa.table(sessions_table), folder / "sessions.parquet", compression="zstd")
    for name, count in (("learners", copies * _LEARNERS), ("courses", COURSES)):
        ids = pa.array(np.arange(count)).cast(pa.string())
        pq.write_table(pa.table({"id": ids}), folder / f"{name}.parquet")
    return {"pairs": copies * int(part["is_pair"].sum()), "steps": copies * len(session)}


def measure(folder: Path, pairs: int) -> Row:
    """Build and open; `folder` holds params.yaml."""
    row = write_pairs(folder / "pairs", pairs)
    used = run_stage("build_episodes", folder)
    stored = sum(path.stat().st_size for path in (folder / "episodes").iterdir())
    opened = in_own_process("benchmarks.store", ["--open", str(folder / "episodes")])
    return row | {
        "build_s": used["seconds"],
        "build_peak_mb": used["peak_mb"],
        "bytes_a_pair": stored / row["pairs"],
        **opened,
    }


def _open(folder: Path) -> Row:
    """Seconds and memory of opening a store with all its checks, above the imports alone."""
    before, start = peak_mb(), time.perf_counter()
    read_checked(folder)
    return {"open_s": time.perf_counter() - start, "open_peak_mb": peak_mb() - before}


def main() -> None:
    """Measure every size; print a table and the machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", default="1000000,10000000", help="sizes, with commas")
    parser.add_argument("--folder", type=Path, default=Path("store"), help="place to work in")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.open is not None:
        print(json.dumps(_open(arguments.open)))
        return
    rows = []
    for pairs in sorted(int(size) for size in arguments.pairs.split(",")):
        with scratch_folder(arguments.folder / str(pairs)) as folder:
            shutil.copy("params.yaml", folder)
            rows.append(measure(folder, pairs))
        facts = machine(torch.get_num_threads(), torch.device("cpu"))
        report(rows, _COLUMNS, facts, arguments.json)


if __name__ == "__main__":
    main_guard(main)
