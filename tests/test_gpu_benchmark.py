"""The checks for a machine with a GPU: that they run, as far as a CPU can tell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_files import ROOT

from benchmarks import gpu
from benchmarks.gpu_training import agreement


def test_what_is_missing_is_named_before_anything_is_imported(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "PACKAGES", ("torch", "no_such_package", "yaml"))
    monkeypatch.setattr(gpu, "_OTHER_NAMES", {"no_such_package": "No-Such-Package"})
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as stop:
        gpu.main()
    assert "lacks No-Such-Package; `python -m pip install No-Such-Package`" in str(stop.value)


def test_nothing_else_that_the_project_needs_is_imported():
    """Packages that a machine lent for an hour hardly has."""
    others = ["dvc", "duckdb", "pandas", "scipy", "sklearn", "matplotlib", "higher", "psutil"]
    code = f"import sys, benchmarks.gpu_report; print([x for x in {others} if x in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_agreement_of_curves_by_hand():
    """One update of 100 is 10 % off: the mean of its 50 is 0.2 % off."""
    expected, found = [2.0] * 100, [2.0] * 100
    found[60] = 2.2
    apart = agreement(found, expected)
    assert (apart["updates"], apart["first_ten"]) == (100, 0)
    assert apart["any"] == pytest.approx(0.1)
    assert apart["means_of_50"] == pytest.approx(0.002)
    assert agreement([2.2], expected)["means_of_50"] is None


def test_without_a_gpu_it_says_so(tmp_path: Path):
    done = _run(tmp_path, "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: hardware.device: found 'cuda', but PyTorch sees no CUDA")


@pytest.mark.thorough
def test_the_whole_script_runs_on_the_cpu(tmp_path: Path):
    done = _run(tmp_path, "--device", "cpu", "--quick", "--episodes", "none")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "says nothing about a GPU" in found["note"]
    parts = {name: found[name] for name in ("kernels", "iterations", "resumed", "training")}
    assert not any(row.get("fault") for rows in parts.values() for row in rows)
    filled, left, matrices = (row["operations"] for row in parts["kernels"])
    assert filled > left > matrices > 1000
    assert all(row["replay_same_bits"] for row in parts["iterations"])
    assert all(row["relative_error"] < 1e-5 for row in parts["iterations"])
    assert all(row["twice_the_same_bytes"] for row in parts["resumed"])
    assert all(row["resumed_the_same_bytes"] for row in parts["resumed"])
    assert [row["way"] for row in parts["training"]] == ["graphs", "eager", "cpu"]
    assert all(row["apart_any"] < 1e-4 for row in parts["training"])
    text = (tmp_path / "gpu.md").read_text()
    assert "on the CPU: this tries the script" in text
    assert "| called again |" in text


def _run(folder: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """From the source tree, where nothing is installed."""
    files = [f"--json={folder / 'gpu.json'}", f"--markdown={folder / 'gpu.md'}"]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *options, *files],
        cwd=ROOT,
        env={key: x for key, x in os.environ.items() if key != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
