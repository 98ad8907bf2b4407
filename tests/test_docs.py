"""The pages: settings are complete, README is short, nothing is fetched."""

import re
import subprocess
import sys
from pathlib import Path

import committed
import pytest
from pipeline_files import ROOT, leaves

from mooc_maml.report.settings_reference import allowed, reference


def test_every_setting_stands_on_the_page_with_its_value() -> None:
    page = reference(committed.settings_text())
    shown = re.findall(r"(?m)^\| `([^`]+)` \|", page)
    wanted = [name for name in leaves(committed.settings()) if not name.startswith("data.spark.c")]
    assert set(wanted) <= set(shown)
    assert len(shown) == len(set(shown))
    assert re.search(
        r"\| `inner_lr` \| `0.01` \| number above 0 to 1,000 \| alpha, step size", page
    )
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    silent = [row for row in rows if row.rstrip(" |").endswith("on")]
    assert len(silent) < len(rows) / 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("use_second_order", "true or false"),
        ("model.backbone", "gru or transformer"),
        ("hardware.precision", "float32 or float64"),
        ("num_inner_steps", "whole number from 1 to 1,000"),
        ("inner_lr_bias", "number above 0 to 1,000 or null"),
        ("seed", "whole number from 0 on"),
        ("tuned.meta.dropout", "number"),
    ],
)
def test_what_is_allowed_is_read_off_the_types(name: str, words: str) -> None:
    assert words in allowed(name)


def test_readme_is_short() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert readme.count("\n| ") < 40


COMMANDS = sorted(
    {
        command
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for command in re.findall(
            r"python -m ((?:benchmarks|experiments|stages)\.\w+(?: [^`\n|#\\\\]*)?)",
            page.read_text(encoding="utf-8"),
        )
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_page_has_its_program_and_its_options(command: str) -> None:
    module, _, rest = command.partition(" ")
    program = ROOT / f"{module.replace('.', '/')}.py"
    shared = ROOT / module.partition(".")[0] / "command_line.py"
    text = program.read_text(encoding="utf-8")
    text += shared.read_text(encoding="utf-8") if shared.exists() else ""
    for option in re.findall(r"--[a-z][\w-]*", rest):
        named = (f'"{option}"', f'"{option[2:]}":')  # argparse, or a stage's paths
        assert any(name in text for name in named), option


def test_no_data_is_in_the_repository() -> None:
    """docs/data_sets.md: below data/ git keeps what explains, ignores and points to data."""
    listed = subprocess.run(
        ["git", "ls-files", "data", "models"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert listed
    kept = {Path(name).name for name in listed if not name.endswith(".dvc")}
    assert kept == {".gitignore", "README.md"}


@pytest.mark.thorough
def test_the_pages_build_without_a_warning_and_fetch_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)', text)
        assert fetched == [], page
    assert "<math" in (tmp_path / "how" / "maml.html").read_text(encoding="utf-8")
    tutorial = (tmp_path / "tutorial.html").read_text(encoding="utf-8")
    assert 'class="highlight-python' in tutorial
    has_run = "data:image/png;base64," in tutorial
    assert has_run == (ROOT / "models" / "bundle" / "bundle.json").is_file(), "else it is stale"
