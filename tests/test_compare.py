"""Two runs side by side: what differs is told, what does not is not."""

import json
import re
import subprocess
from contextlib import nullcontext
from pathlib import Path

import committed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_report import block, maml_json

from mooc_maml.common.errors import UserError
from mooc_maml.report.compare import _change, changed_settings, changes, main, table
from mooc_maml.report.run_files import open_run


def git(root: Path, *words: str) -> None:
    own = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "-C", str(root), *own, *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A commit `HEAD`, and a workspace with first-order MAML and a better few-shot."""
    root = tmp_path / "project"
    (root / "results" / "report" / "figures").mkdir(parents=True)
    (root / "params.yaml").write_text(committed.settings_text())
    result = root / "results" / "maml_K5_Q10.json"
    result.write_text(json.dumps(maml_json()))
    (root / "results" / "report" / "figures" / "comparison.png").write_bytes(b"old")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "run")
    git(root, "update-ref", "refs/exps/12/3456/proud-name", "HEAD")
    text = committed.settings_text().replace("use_second_order: true", "use_second_order: false")
    (root / "params.yaml").write_text(text)
    result.write_text(json.dumps(maml_json() | {"few_shot": block(0.333)}))
    (root / "results" / "report" / "figures" / "comparison.png").write_bytes(b"new")
    return root


def test_settings_that_differ_or_are_missing() -> None:
    first, second = {"a": 1, "b": 2, "c.d": True}, {"a": 1, "b": 3, "e": None}
    assert changed_settings(first, second) == [
        ("b", "2", "3"),
        ("c.d", "True", "not there"),
        ("e", "not there", "None"),
    ]


def test_a_run_is_a_revision_an_experiment_or_the_workspace(project: Path) -> None:
    head, experiment = open_run("HEAD", project), open_run("proud-name", project)
    assert head.commit == experiment.commit
    assert open_run("workspace", project).commit is None
    assert head.settings()["use_second_order"] is True
    assert open_run("workspace", project).settings()["use_second_order"] is False
    with pytest.raises(UserError, match=r"run 'nothing': found neither a git revision nor"):
        open_run("nothing", project)


def test_without_records_values_are_compared_without_intervals(project: Path) -> None:
    found, how = changes(open_run("HEAD", project), open_run("workspace", project))
    few = {each.metric: each for each in found if each.model == "few_shot"}
    assert few["HR@1"].second - few["HR@1"].first == pytest.approx(0.02)
    assert few["HR@1"].low is None
    assert not any(each.sure for each in found)
    assert "`dvc pull` or `dvc repro` brings them" in how


def write_ranks(folder: Path, ranks: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    queries = np.tile(np.arange(ranks.shape[1]), len(ranks))
    content = pa.table({"query": queries, "rank": ranks.ravel()})
    pq.write_table(content, folder / "few_shot.parquet")


def test_the_same_queries_are_paired_by_learner(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    before = rng.integers(1, 40, size=(50, 10))
    after = before.copy()
    after[:, 0] = 1  # every learner's first query is right now
    write_ranks(project / "a", before)
    write_ranks(project / "data" / "records", after)
    head, workspace = open_run("HEAD", project), open_run("workspace", project)
    monkeypatch.setattr(
        type(head),
        "records",
        lambda self: nullcontext(project / ("a" if self.commit else "data/records")),
    )
    found, how = changes(head, workspace)
    hit = next(each for each in found if each.metric == "HR@1")
    assert hit.second - hit.first == pytest.approx(np.mean(before[:, 0] != 1) / 10)
    assert hit.low is not None
    assert hit.low > 0.08
    assert hit.sure
    assert "Paired over the same 412 test learners" in how
    assert table(found, "HR@1").endswith(" *")


def test_other_queries_are_not_paired(project: Path) -> None:
    other = maml_json() | {"test_set": "f" * 16}
    (project / "results" / "maml_K5_Q10.json").write_text(json.dumps(other))
    _, how = changes(open_run("HEAD", project), open_run("workspace", project))
    assert "ranked different queries" in how


def test_the_page_shows_settings_metrics_and_pictures(project: Path, tmp_path: Path) -> None:
    text = main("HEAD", "workspace", project, tmp_path / "out")
    assert text.startswith("use_second_order: True -> False\n")
    assert "MAML few-shot" in text
    html = (tmp_path / "out" / "index.html").read_text()
    assert "<code>use_second_order</code>" in html
    assert "31.3 % → 33.3 %" in html
    assert (tmp_path / "out" / "a_comparison.png").read_bytes() == b"old"
    assert (tmp_path / "out" / "b_comparison.png").read_bytes() == b"new"
    assert "http" not in html
    main("HEAD", "HEAD", project, tmp_path / "same")
    assert "No setting differs." in (tmp_path / "same" / "index.html").read_text()


def test_a_run_without_results_says_what_to_do(project: Path) -> None:
    (project / "results" / "maml_K5_Q10.json").unlink()
    with pytest.raises(UserError, match=r"workspace: no results/maml_K5_Q10\.json in it"):
        main("HEAD", "workspace", project)


def test_runs_that_rank_alike_have_no_interval_to_show() -> None:
    """Resampling equal differences would find them to be sure."""
    alike = _change("gru", "HR@1", np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    assert (alike.low, alike.high, alike.interval, alike.sure) == (None, None, "", False)
    better = _change("gru", "HR@1", np.zeros(9), np.linspace(0.1, 1, 9))
    assert better.sure
    assert re.fullmatch(r"\+\d+\.\d to \+\d+\.\d", better.interval)
