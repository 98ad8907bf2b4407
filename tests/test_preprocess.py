import json
import os
import subprocess
import sys
from pathlib import Path

import committed
import pytest
import yaml

from mooc_maml.common.files import read_json, sha256

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("courses", "learners", "sessions", "steps")
OUTPUTS = (*(f"pairs/{name}.parquet" for name in TABLES), "report.json")


@pytest.fixture
def workspace(tmp_path):
    settings = committed.settings()
    settings["data"]["source"] = "xuetangx"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def write_log(workspace, month, events):
    folder = workspace / "raw"
    folder.mkdir(exist_ok=True)
    log = [[course, {"7": {"s": [["load_video", time]]}}] for course, time in events]
    (folder / f"{month}-raw_user_activity.json").write_text(json.dumps(log))


def run_stage(workspace):
    command = [sys.executable, "-m", "stages.preprocess"]
    command += ["--raw", "raw", "--pairs", "pairs", "--report", "report.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_several_files_become_pairs_and_an_account(workspace):
    write_log(workspace, "2017a", [("A", "2017-05-22T10:00:00"), ("B", "2017-05-22T10:00:05")])
    write_log(workspace, "2017b", [("C", "2017-05-22T10:00:03"), ("B", "2017-05-22T10:00:05")])
    done = run_stage(workspace)
    assert done.returncode == 0, done.stderr
    assert "4 raw events" in done.stdout
    account = read_json(workspace / "report.json")
    assert account["files"] == ["2017a-raw_user_activity.json", "2017b-raw_user_activity.json"]
    assert (account["source"], account["synthetic"]) == ("xuetangx", False)
    assert account["dropped"]["duplicates"] == 1  # B at 10:00:05 lies in both files
    assert (account["sessions"], account["learners"], account["items"]) == (1, 1, 3)
    assert account["pairs"] == 2  # A -> C, A C -> B

    first = [sha256(workspace / name) for name in OUTPUTS]
    assert run_stage(workspace).returncode == 0
    assert [sha256(workspace / name) for name in OUTPUTS] == first


def test_bad_records_are_shown_and_counted_without_absolute_paths(workspace):
    times = [f"2017-05-22T10:{minute // 60:02}:{minute % 60:02}" for minute in range(200)]
    events = [(f"c{i % 3}", time) for i, time in enumerate(times)]
    write_log(workspace, "2017", [*events, ("c1", "never")])
    done = run_stage(workspace)
    assert done.returncode == 0, done.stderr
    assert "unreadable: 2017-raw_user_activity.json: course 'c1'" in done.stderr
    account = read_json(workspace / "report.json")
    assert account["bad_records"]["by_reason"] == {"the time is none": 1}
    assert str(workspace) not in (workspace / "report.json").read_text()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda w: None, "raw: no such folder; put the raw files of data.source = xuetangx"),
        (lambda w: (w / "raw").mkdir(), "raw: no file matches data.files"),
        (lambda w: write_log(w, "x", [("A", "never")]), "1 of 1 raw records cannot be read"),
        (lambda w: (w / "params.yaml").write_text("seed: 1"), "params.yaml: "),
    ],
)
def test_faults_end_with_plain_words_and_no_output(workspace, prepare, words):
    prepare(workspace)
    done = run_stage(workspace)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "pairs").exists()
    assert not (workspace / "report.json").exists()
