"""Raw dumps of extreme shapes in constant memory.

MOOC_MAML_EVENTS=10000000 MOOC_MAML_ENTRY_MB=1000 pytest tests/test_memory.py -s --timeout 0
"""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import committed
import pytest
import yaml

EVENTS = int(os.environ.get("MOOC_MAML_EVENTS", "200000"))
ENTRY_MB = int(os.environ.get("MOOC_MAML_ENTRY_MB", "30"))
LIMIT_MB = 400 if max(EVENTS // 10_000, ENTRY_MB) > 100 else 100  # data.memory_limit
GROWTH_MB = 1.5 * LIMIT_MB + 50  # DuckDB holds up to half as much again beside its limit

WORK = """
import json, sys
from pathlib import Path
from mooc_maml.settings.params import load_params
from mooc_maml.preprocess.sessions import preprocess

account = preprocess(Path("raw"), Path("pairs"), load_params("params.yaml"))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(account | {"peak_mb": int(peak.split()[1]) / 1024}))
"""

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not Path("/proc/self/status").is_file(), reason="only Linux tells a process's peak memory"
    ),
]


def preprocessed(folder: Path) -> dict[str, Any]:
    """The account of `preprocess` in a process of its own, and the peak of its memory in MB."""
    content = committed.settings()
    content["data"] |= {"source": "xuetangx", "memory_limit": f"{LIMIT_MB}MB"}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    started = time.monotonic()
    command = [sys.executable, "-c", WORK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # after DuckDB's progress
    size = sum(path.stat().st_size for path in (folder / "raw").iterdir()) / 1e6
    print(
        f"\n{size:,.0f} MB raw, {account['raw_events']:,} events: "
        f"{time.monotonic() - started:.0f} s, peak {account['peak_mb']:.0f} MB"
    )
    return account


def write_one_learner(folder: Path, events: int) -> Path:
    """One learner's events, one a second, in turn in 100 courses, each with one session."""
    (folder / "raw").mkdir(parents=True)
    first = datetime(2017, 1, 1)
    with (folder / "raw" / "log.json").open("w", encoding="utf-8") as file:
        for course in range(100):
            file.write("[" if course == 0 else "]}}],")
            file.write(f'["c{course}", {{"7": {{"s{course}": [')
            for number in range(course, events, 100):
                moment = first + timedelta(seconds=number)
                file.write(f'{"," * (number >= 100)}["load_video", "{moment.isoformat()}"]')
        file.write("]}}]]")
    return folder


def write_one_course(folder: Path, size_mb: int) -> Path:
    """One course entry of so many MB: 1,000 learners at a time, one event of each twice over."""
    (folder / "raw").mkdir(parents=True)
    learners, written = 0, 0
    with (folder / "raw" / "log.json").open("w", encoding="utf-8") as file:
        file.write('[["c", {')
        while written < size_mb * 1_000_000:
            session = '{"s": [["load_video", "2017-01-01T00:00:00"], ["stop_video", "?"]]}'
            block = ",".join(f'"{learners + n}": {session}' for n in range(1000))
            written += file.write("," * (learners > 0) + block)
            learners += 1000
        file.write('}], ["d", {"0": {"s": [["load_video", "2017-01-01T00:00:01"]]}}]]')
    return folder


def test_all_events_of_one_learner(tmp_path: Path):
    few = preprocessed(write_one_learner(tmp_path / "few", 2_000))
    many = preprocessed(write_one_learner(tmp_path / "many", EVENTS))
    assert (many["raw_events"], many["sessions"], many["steps"]) == (EVENTS, 1, EVENTS)
    assert many["peak_mb"] - few["peak_mb"] < GROWTH_MB


def test_one_course_entry(tmp_path: Path):
    small = preprocessed(write_one_course(tmp_path / "small", 1))
    large = preprocessed(write_one_course(tmp_path / "large", ENTRY_MB))
    assert large["raw_events"] >= ENTRY_MB * 1_000_000 // 100
    assert (large["sessions"], large["pairs"]) == (1, 1), "the rest are sessions of one event"
    assert large["peak_mb"] - small["peak_mb"] < GROWTH_MB
