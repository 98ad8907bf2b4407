"""README shows the results that lie beside it, and no others."""

from pathlib import Path

import committed
import pytest
from committed import ROOT, committed_tree
from test_report import write_run

from mooc_maml.common.errors import UserError
from mooc_maml.report.inputs import read_inputs
from mooc_maml.report.readme import results_table, with_tables
from mooc_maml.settings.params import parse_params


def test_readme_shows_the_committed_results(tmp_path: Path) -> None:
    """Or, before a commit, those on disk."""

    def shows_them(root: Path) -> bool:
        text = (root / "README.md").read_text(encoding="utf-8")
        return with_tables(text, root) == text

    committed_root = committed_tree(tmp_path, "README.md", "results")
    assert shows_them(committed_root) or shows_them(ROOT), "run `make readme`"


def test_the_table_is_made_from_the_results(tmp_path: Path) -> None:
    params = parse_params(committed.settings())
    about, table = results_table(read_inputs(write_run(tmp_path), params)).split("\n\n")
    assert about.startswith("Data: synthetic data, 412 test learners, 4,120 queries.")
    assert "K = 5 support pairs, then Q = 10 queries" in about
    assert f"Seed {params.seed}." in about
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert {len(row) for row in rows} == {7}
    assert [row[0] for row in rows[2:4]] == ["Oracle (best possible)", "MAML zero-shot"]
    few = next(row for row in rows if row[0] == "MAML few-shot")
    assert few[1:3] == ["35.0 %", "31.3 % (30.3–32.3 %)"]  # validation: .2 + 3 * .05


def test_the_table_names_the_steps_of_the_variant(tmp_path: Path) -> None:
    content = committed.settings()
    content["meta"]["variant"] = "reliability"
    table = results_table(read_inputs(write_run(tmp_path), parse_params(content)))
    assert "MAML with steps by session reliability, α = 0.01, 3 or 7 gradient steps." in table


def test_blocks_are_filled_and_the_rest_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("new\n")
    text = "before\n<!-- table: a.md -->\nold\n<!-- end of table -->\nafter\n"
    filled = with_tables(text, tmp_path)
    assert filled == "before\n<!-- table: a.md -->\n\nnew\n\n<!-- end of table -->\nafter\n"
    assert with_tables(filled, tmp_path) == filled
    with pytest.raises(UserError, match=r"b\.md: no such file"):
        with_tables(text.replace("a.md", "b.md"), tmp_path)
    with pytest.raises(UserError, match="no block"):
        with_tables("no table here", tmp_path)
