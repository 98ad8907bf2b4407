"""How time, memory and disk grow with the number of events, from raw dump to episodes.

    python -m benchmarks.scale --events 1000000,5000000,57000000 --folder /tmp/scale

writes made-up dumps in XuetangX's nesting, runs `preprocess` and `build_episodes` on each as the
pipeline does, and deletes it. The figures are of these two stages; making the dump is not in them.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import matplotlib
import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from benchmarks.measure import Row, held_mb, machine, report
from mooc_maml.params import SyntheticParams
from mooc_maml.randomness import generator
from mooc_maml.sources.synthetic import FIRST_SECOND, SyntheticActivity, simulate
from mooc_maml.sources.synthetic_dump import DROPPED_KINDS, KEPT_KINDS

LEARNERS = 7_000  # of one simulated part; parts have learners of their own
COURSES = 1_577
DROPPED_A_KEPT = 1.035  # of the real dump: 56,985,474 events, 28,002,537 of them kept
_DAY = 86_400
_IN = [level * "  " for level in range(7)]  # printed as the platform does: 90 bytes an event
_STAGES = {
    "preprocess": ("--raw", "raw", "--pairs", "pairs", "--report", "preprocess.json"),
    "build_episodes": ("--pairs", "pairs", "--episodes", "episodes", "--report", "episodes.json"),
}
_COLUMNS = (
    "events",
    "gigabytes",
    "pairs",
    "preprocess_s",
    "build_s",
    "cpu_s",
    "peak_mb",
    "disk_mb",
)


def write_dumps(folder: Path, events: int, seed: int = 1) -> int:
    """Write files of about 2.3 million events each, together at least `events`; tell how many."""
    folder.mkdir(parents=True)
    done = part = 0
    names: list[str] = []
    while events - done > events // 1000:
        settings = SyntheticParams(learners=LEARNERS, courses=COURSES, taste_strength=1.0)
        activity = simulate(settings, seed + part)
        rng = generator(seed, "scale", part)
        names = names or activity.tastes.course_ids.tolist()  # the same courses in all files
        with (folder / f"part-{part:04d}-raw_user_activity.json").open("wb") as file:
            done += _write(file, activity, names, part, events - done, rng)
        part += 1
    return done


def _write(
    file: BinaryIO,
    activity: SyntheticActivity,
    names: list[str],
    part: int,
    most: int,
    rng: np.random.Generator,
) -> int:
    """Write whole sessions of one part up to about `most` events; tell how many events."""
    session_event = activity.step_event[activity.session_step]
    sessions = int(np.searchsorted(session_event * (1 + DROPPED_A_KEPT), most, side="left"))
    sessions = min(max(sessions, 1), len(activity.session_learner))
    steps = int(activity.session_step[sessions])
    step = np.repeat(np.arange(steps), np.diff(activity.step_event[: steps + 1]))
    copies = 1 + rng.poisson(DROPPED_A_KEPT, len(step))  # each kept event, and dropped ones with it
    event = np.repeat(np.arange(len(step)), copies)
    kept = np.zeros(len(event), bool)
    kept[np.cumsum(copies) - 1] = True
    kind = np.where(
        kept,
        _draw(KEPT_KINDS, len(event), rng),
        len(KEPT_KINDS) + _draw(DROPPED_KINDS, len(event), rng),
    )
    step = step[event]
    session = np.repeat(np.arange(sessions), np.diff(activity.session_step[: sessions + 1]))[step]
    course, second = activity.step_course[step], activity.event_time[event]
    order = np.lexsort((second, session, course))  # sessions are in order of learners
    course, session = course[order], session[order]
    texts = _event_texts(kind[order], second[order])
    _write_rows(file, activity, names, part, course, session, texts)
    return len(order)


def _draw(
    weights: dict[str, int] | dict[str, float], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    share = np.cumsum(np.array(list(weights.values()), float))
    return np.searchsorted(share / share[-1], rng.random(count), side="right")


def _event_texts(
    kind: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[memoryview, NDArray[np.int64]]:
    """The text of all events, back to back, and where each begins [events + 1]."""
    opening = _table(
        [f'{_IN[5]}[\n{_IN[6]}"{name}",\n{_IN[6]}"' for name in (*KEPT_KINDS, *DROPPED_KINDS)]
    )
    days = np.datetime64(FIRST_SECOND, "s").astype("datetime64[D]") + np.arange(400)
    day = _table(np.datetime_as_string(days).tolist())
    clock = np.datetime64(0, "s") + np.arange(_DAY)
    clocks = _table([text[10:] for text in np.datetime_as_string(clock).tolist()])
    since = second - FIRST_SECOND // _DAY * _DAY
    closing = _table([f'"\n{_IN[5]}],\n'])[np.zeros(len(kind), int)]
    rows = np.hstack([opening[kind], day[since // _DAY], clocks[since % _DAY], closing])
    filled = rows != 0
    starts = np.concatenate([[0], np.cumsum(filled.sum(1))])
    return memoryview(rows[filled]), starts


def _table(texts: list[str]) -> NDArray[np.uint8]:
    """Texts as rows of bytes, filled up with zeros."""
    padded = np.array([text.encode() for text in texts])
    return padded.view(np.uint8).reshape(len(texts), -1)


def _write_rows(
    file: BinaryIO,
    activity: SyntheticActivity,
    names: list[str],
    part: int,
    course: NDArray[np.int32],
    session: NDArray[np.int64],
    texts: tuple[memoryview, NDArray[np.int64]],
) -> None:
    """Nest the events: a session closes and opens what lies between it and the one before."""
    text, starts = texts
    changed = (np.diff(course) != 0) | (np.diff(session) != 0)
    cuts = np.concatenate([[0], np.flatnonzero(changed) + 1, [len(course)]])
    close_session, close_learner = f"\n{_IN[4]}]", f"\n{_IN[3]}}}"
    close_course = f"\n{_IN[2]}}}\n{_IN[1]}]"
    before: tuple[int, int] | None = None
    file.write(b"[\n")
    for first, end in pairwise(cuts.tolist()):
        of_course, learner = int(course[first]), int(activity.session_learner[session[first]])
        between = "" if before is None else close_session
        if before is not None and before != (of_course, learner):
            between += close_learner
        if before is None or before[0] != of_course:
            between += "" if before is None else f"{close_course},\n"
            between += f'{_IN[1]}[\n{_IN[2]}"{names[of_course]}",\n{_IN[2]}{{\n'
        else:
            between += ",\n"
        if before != (of_course, learner):
            between += f'{_IN[3]}"{part * LEARNERS + learner + 100_000}": {{\n'
        between += f'{_IN[4]}"{part:016x}{session[first]:016x}": [\n'
        file.write(between.encode())
        file.write(text[starts[first] : starts[end] - 2])  # no comma behind the last
        before = of_course, learner
    file.write(f"{close_session}{close_learner}{close_course}\n]\n".encode())


def measure(folder: Path, settings: Path) -> Row:
    """Run both stages on `folder`/raw as the pipeline does; give their time and memory.

    Raises:
        RuntimeError: a stage failed.
    """
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    content["data"]["source"] = "xuetangx"
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    row: Row = {"gigabytes": sum(path.stat().st_size for path in (folder / "raw").iterdir()) / 1e9}
    for stage in _STAGES:
        row |= {f"{stage}_{name}": value for name, value in run_stage(stage, folder).items()}
    account = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    return {
        "events": account["raw_events"],
        "gigabytes": round(row["gigabytes"], 2),
        "pairs": account["pairs"],
        "preprocess_s": row["preprocess_seconds"],
        "build_s": row["build_episodes_seconds"],
        "cpu_s": row["preprocess_cpu_s"] + row["build_episodes_cpu_s"],
        "peak_mb": max(row["preprocess_peak_mb"], row["build_episodes_peak_mb"]),
        "disk_mb": row["preprocess_disk_mb"],
        "preprocess_peak_mb": row["preprocess_peak_mb"],
        "build_peak_mb": row["build_episodes_peak_mb"],
    }


def run_stage(stage: str, folder: Path) -> Row:
    """Run a stage on what lies in `folder`, with the params.yaml there.

    Returns:
        Seconds, CPU seconds, most memory held at once by the process with all that it started,
        most disk for tables in between.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", f"stages.{stage}", *_STAGES[stage]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start, cpu, peak, disk = time.perf_counter(), _children_cpu(), 0.0, 0
    with subprocess.Popen(command, cwd=folder, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, held_mb(process.pid))
            disk = max(disk, sum(path.stat().st_size for path in _files_between(folder)))
            time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    cpu = _children_cpu() - cpu
    return {"seconds": seconds, "cpu_s": cpu, "peak_mb": peak, "disk_mb": disk / 1e6}


def _children_cpu() -> float:
    """CPU seconds of all that this process started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _files_between(folder: Path) -> list[Path]:
    """Files of the tables in between, some of which may be gone when they are looked at."""
    found = (path for path in folder.glob(".preprocess.*/**/*"))
    return [path for path in found if path.is_file()]


def _picture(rows: list[Row], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (time_axes, memory_axes) = plt.subplots(1, 2, figsize=(9, 3.4))
    millions = [row["events"] / 1e6 for row in rows]
    seconds = [row["preprocess_s"] + row["build_s"] for row in rows]
    time_axes.plot(millions, seconds, "o-", label="measured")
    rate = seconds[-1] / millions[-1]
    time_axes.plot(millions, [rate * x for x in millions], ":", label="proportional to events")
    time_axes.set(xlabel="million events", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    time_axes.legend()
    memory_axes.plot(millions, [row["peak_mb"] / 1e3 for row in rows], "o-")
    memory_axes.set(xlabel="million events", ylabel="peak memory, GB", xlim=(0, None), ylim=(0, 3))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure every size; print a table and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", default="1000000,5000000,57000000", help="sizes, with commas")
    parser.add_argument("--folder", type=Path, required=True, help="place for the dumps")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--keep", action="store_true", help="do not delete the dumps")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    rows = []
    for events in sorted(int(size) for size in arguments.events.split(",")):
        folder = arguments.folder / str(events)
        if not (folder / "raw").exists():
            write_dumps(folder / "raw", events)
        rows.append(measure(folder, arguments.params.resolve()))
        print(rows[-1], flush=True)
        if not arguments.keep:
            shutil.rmtree(folder)
    report(rows, _COLUMNS, machine(torch.get_num_threads(), torch.device("cpu")), arguments.json)
    if arguments.picture is not None:
        _picture(rows, arguments.picture)


if __name__ == "__main__":
    main()
