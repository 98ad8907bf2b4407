"""README's tables of real learners hold what the benchmark's JSON files hold."""

from pathlib import Path
from typing import Any

import pytest
from test_report import ROOT

from benchmarks import tables
from mooc_maml.errors import UserError

FIGURES = {  # model -> HR@1 of two runs, first pairs; HR@10 is twice, NDCG@10 three times as much
    "mixture": (0.20, 0.24),
    "mixture_zero_shot": (0.20, 0.22),
    "pool": (0.21, 0.23),
    "popularity": (0.01, 0.03),
    "gru": (0.10, 0.12),
    "markov": (0.12, 0.09),
    "gru_as_is": (0.09, 0.11),
}
VALIDATION = {"popularity": 0.1, "gru": 0.3, "markov": 0.2}


def metrics(hr: float) -> dict[str, float]:
    return {"HR@1": hr, "HR@10": 2 * hr, "NDCG@10": 3 * hr}


def runs() -> list[dict[str, Any]]:
    """Two seeds; on the last pairs all figures are half those on the first."""
    return [
        {
            "seed": 7 + number,
            "position": position,
            "learners": 1000 + number,
            "strongest_baseline": "gru" if number == 0 else "markov",
            "validation": {name: metrics(share * x) for name, x in VALIDATION.items()},
            "test": {name: metrics(share * x[number]) for name, x in FIGURES.items()},
        }
        for number in (0, 1)
        for position, share in (("last", 0.5), ("first", 1.0))
    ]


def content() -> dict[str, Any]:
    def rows(p_holm: float) -> list[dict[str, Any]]:
        changed = {"difference": 0.01234, "low": -0.002, "high": 0.03, "p_holm": p_holm}
        return [{"metric": metric, **changed} for metric in ("HR@1", "HR@10", "NDCG@10")]

    compared = {"mixture_vs_pool": rows(0.02), "mixture_vs_strongest": rows(0.009)}
    pooled = {"learners": 1500, "comparisons": compared}
    return {"runs": runs(), "over_seeds": {"first": pooled, "last": pooled}}


def cells(text: str) -> dict[str, list[str]]:
    """First cell of each line -> the others."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_the_committed_tables_are_those_of_the_json_files() -> None:
    for name, text in tables.tables(ROOT / tables.FOLDER).items():
        found = (ROOT / tables.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert found == text, f"{name}: run `make readme`"


def test_every_table_is_shown_in_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in (*tables.MEASURED, "adaptation_vary", tables.VARIANTS):
        assert f"<!-- table: {tables.FOLDER}/{name}.md -->" in readme


def test_rows_are_means_over_runs() -> None:
    text = tables.means(runs())
    assert text.startswith("1,000 to 1,001 test learners, means over 2 seeds;")
    found = cells(text)
    mixture = ["", "22.0 %", "44.0 %", "66.0 %", "11.0 %", "22.0 %", "33.0 %"]
    assert found[tables.OURS["mixture"]] == mixture
    gru = ["90.0 % / 45.0 %", "11.0 %", "22.0 %", "33.0 %", "5.5 %", "11.0 %", "16.5 %"]
    assert found["GRU"] == gru
    gain = found["few-shot beyond the document's GRU as it is"]
    assert gain == ["", *6 * ["+120 %"]]  # .22 / .10


def test_ours_come_first_and_baselines_by_validation() -> None:
    names = list(cells(tables.means(runs())))[2:]
    assert names[:3] == [tables.OURS[x] for x in ("mixture", "mixture_zero_shot", "pool")]
    assert names[3:6] == ["GRU", "Markov chain", "Popularity"]


def test_a_table_without_the_mixture_has_no_gain_and_no_tests() -> None:
    alone = runs()
    for run in alone:
        run["test"] = {name: run["test"][name] for name in VALIDATION}
    assert list(cells(tables.means(alone)))[2:] == ["GRU", "Markov chain", "Popularity"]
    untested = {"learners": 1, "comparisons": {}}
    assert tables.differences({"runs": alone, "over_seeds": {"first": untested}}, alone) == ""


def test_differences_are_in_points_and_bold_if_certain() -> None:
    text = tables.differences(content(), runs())
    assert "1,500 learners" in text
    assert "over 6 comparisons" in text
    assert "first, GRU (1), Markov chain (1); last, GRU (1), Markov chain (1)" in text
    pool, strongest = (
        cells(text)[tables.COMPARED[f"mixture_vs_{x}"]] for x in ("pool", "strongest")
    )
    assert pool[:2] == ["first", "+1.23 (−0.20 to 3.00)"]
    assert strongest[1:4] == 3 * ["**+1.23 (−0.20 to 3.00)**"]


def test_the_spread_over_seeds_is_of_the_paired_differences() -> None:
    found = cells(tables.differences(content(), runs()))
    # NDCG@10 of two runs: few-shot .60 and .72, pool .63 and .69: -3 and +3 points, mean 0, and
    # half of Student's interval for two values is 12.706 * 3
    assert found[tables.COMPARED["mixture_vs_pool"]][-1] == "+0.00 ± 38.12"
    # strongest: the GRU .30 in the first, the Markov chain .27 in the second: 30 and 45
    assert found[tables.COMPARED["mixture_vs_strongest"]][-1].startswith("+37.50 ± 95.3")


def test_variants_stand_beside_the_gru_that_they_begin_with() -> None:
    zero = {"zero HR@1": 0.4, "zero HR@10": 0.9, "zero NDCG@10": 0.65}
    few = {"few HR@1": 0.41, "few HR@10": 0.91, "few NDCG@10": 0.66}
    rows = [{"variant": "gru", **zero}, {"variant": "anil", "cost": 0.6, **zero, **few}]
    found = cells(tables.variants(rows))
    before = "40.0 % / 90.0 % / 65.0 %"
    assert found["the GRU that all begin with"] == ["", before, ""]
    assert found["anil"] == ["0.60", before, "41.0 % / 91.0 % / 66.0 %"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adaptation_mooccubex\.json"):
        tables.tables(tmp_path)
