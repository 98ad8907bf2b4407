"""Experiments shown in a table that fits a terminal."""

import csv
import io
import subprocess
import sys

import pytest
from committed import ROOT

from experiments.shown import WIDTH, table
from mooc_maml.common.errors import UserError

HEAD = (
    "Experiment,rev,typ,Created,few_shot.NDCG@10,few_shot.MRR,baselines.gru.NDCG@10,"
    "inner_lr,num_meta_iterations,baselines.models,src/mooc_maml/meta"
)
ROWS = (
    ",workspace,baseline,,0.288,0.26,0.347,0.01,10000,[gru],ab",
    ",main,baseline,2026-12-01,0.288,0.26,0.347,0.01,10000,[gru],ab",
    "brave-hare,38883f2,branch_commit,2026-12-01,0.3125,0.27,0.347,0.02,10000,[gru],ab",
    "a" * 60 + ',abdb074,branch_base,2026-12-01,,,,0.01,500,"[' + "gru_tuned, " * 40 + 'gru]",cd',
)


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("\n".join([HEAD, *ROWS]))))


def test_what_each_changes_and_what_came_of_it() -> None:
    head, workspace, _, hare, *rest = table(rows()).splitlines()
    assert head.split() == [*["NDCG@10", "in", "percent", "few-shot", "GRU", "changed", "settings"]]
    assert workspace.split() == ["workspace", "28.8", "34.7", "-"]
    assert hare.split() == ["brave-hare", "31.2", "34.7", "inner_lr=0.02"]
    assert rest[0].split()[1:4] == ["-", "-", "num_meta_iterations=500,"]


def test_no_line_is_wider_than_a_terminal() -> None:
    assert max(map(len, table(rows()).splitlines())) <= WIDTH


def test_nothing_from_the_pipe_is_said() -> None:
    with pytest.raises(UserError, match="no table of experiments came in; run `dvc exp show"):
        table([])


def test_the_command_of_the_page_on_experiments() -> None:
    line = "dvc exp show --csv | python -m experiments.shown"
    page = ROOT / "docs" / "use" / "experiments.md"
    assert f"    {line}" in page.read_text(encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-m", "experiments.shown"],
        cwd=ROOT,
        input="a notice of DVC\n" + "\n".join([HEAD, *ROWS]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert said.splitlines() == table(rows()).splitlines()
