"""The tables of real learners hold what the benchmark's JSON files hold."""

import re
from pathlib import Path
from typing import Any

import pytest
from committed import ROOT, committed_tree

from experiments import tables
from mooc_maml.common.errors import UserError
from mooc_maml.common.files import write_json
from mooc_maml.report.readme import with_tables

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

    first = {"mixture_vs_pool": rows(0.02), "mixture_vs_strongest": rows(0.009)}
    last = {"mixture_vs_pool": rows(0.001), "mixture_vs_strongest": rows(0.01)}
    pooled = {"first": first, "last": last}
    return {
        "runs": runs(),
        "over_seeds": {at: {"learners": 1500, "comparisons": x} for at, x in pooled.items()},
    }


def cells(text: str) -> dict[str, list[str]]:
    """First cell of each line -> the others; those of a line without one join the line before."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("| "):
            own, *others = [cell.strip() for cell in line.split("|")[1:-1]]
            name = own or name
            found[name] = found.get(name, []) + others
    return found


def test_the_committed_tables_are_those_of_the_json_files() -> None:
    made = tables.tables(ROOT / tables.FOLDER)
    assert {path.stem for path in (ROOT / tables.FOLDER).glob("*.md")} == {"README", *made}
    for name, text in made.items():
        found = (ROOT / tables.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert found == text, f"{name}: run `make readme`"


def not_as_it_is(root: Path) -> list[str]:
    """Tables that a page shows otherwise than their files, twice, or not at all."""
    wrong, shown = [], []
    for name in ("docs/evidence.md", f"{tables.FOLDER}/README.md"):
        text = (root / name).read_text(encoding="utf-8")
        wrong += [name] if with_tables(text, root) != text else []
        shown += re.findall(rf"<!-- table: {tables.FOLDER}/(\w+)\.md -->", text)
    there = [path.stem for path in (root / tables.FOLDER).glob("*.md") if path.stem != "README"]
    return wrong + [name for name in {*shown, *there} if shown.count(name) != there.count(name)]


def test_every_table_is_shown_as_it_is(tmp_path: Path) -> None:
    """In the last commit or, before a commit, on disk."""
    root = committed_tree(tmp_path, "README.md", "docs", "results", "experiments")
    assert not (not_as_it_is(root) and not_as_it_is(ROOT)), "run `make readme`"


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


def test_data_sets_stand_side_by_side() -> None:
    other = content()
    for run in other["runs"]:
        run["test"] = {name: run["test"][name] for name in ("mixture", "markov", "gru_as_is")}
    other["over_seeds"]["first"]["comparisons"].pop("mixture_vs_pool")
    sets = {"One": [content()], "Other": [other]}
    found = cells(tables.models(sets))
    assert found["test NDCG@10"] == ["One: first", "One: last", "Other: first", "Other: last"]
    assert found["Markov chain"] == ["31.5 %", "15.8 %", "31.5 %", "15.8 %"]
    assert found["GRU"] == ["33.0 %", "16.5 %", "", ""]
    names = ["mixture", "mixture_zero_shot", "pool"]
    assert list(found)[2:5] == [tables.OURS[name] for name in names]
    found, plain = cells(tables.leads(sets)), "+1.23 (−0.20 to 3.00)"
    bold, gains = f"**{plain}**", ["+120 %", "+120 %"]
    own = found["One, 1,500 learners, 2 seeds"]
    assert own[:8] == ["first", plain, bold, "", "", "", *gains]
    assert own[8:] == ["last", bold, plain, "", "", "", *gains]
    assert found["Other, 1,500 learners, 2 seeds"][:3] == ["first", "", bold]


def test_differences_are_in_points_and_bold_if_certain() -> None:
    text = tables.differences(content(), runs())
    assert "1,500 learners" in text
    assert "those of the 2 seeds that test it" in text
    assert "over the 6 comparisons" in text
    found, plain = cells(text), "+1.23 (−0.20 to 3.00)"
    first, last = 3 * [plain], 3 * [f"**{plain}**"]
    pool = found[tables.COMPARED["mixture_vs_pool"]]
    assert (pool[:4], pool[5:9]) == (["first", *first], ["last", *last])
    strongest = found[tables.COMPARED["mixture_vs_strongest"]]
    assert (strongest[:4], strongest[5:9]) == (["first", *last], ["last", *first])


def test_the_strongest_baselines_are_those_of_the_file_at_each_position() -> None:
    measured = content()
    measured["runs"][0]["strongest_baseline"] = "markov"  # the first seed's, last pairs
    text = tables.differences(measured, runs())
    assert text.split("\n")[0].endswith("first, GRU (1), Markov chain (1); last, Markov chain (2).")


def test_the_spread_over_seeds_is_of_the_paired_differences_of_all_files() -> None:
    found = cells(tables.differences(content(), runs()))
    # NDCG@10 of two runs: few-shot .60 and .72, pool .63 and .69: -3 and +3 points, mean 0, and
    # half of Student's interval for two values is 12.706 * 3; half as much on the last pairs
    pool = found[tables.COMPARED["mixture_vs_pool"]]
    assert (pool[4], pool[9]) == ("+0.00 ± 38.12", "+0.00 ± 19.06")
    # strongest: the GRU .30 in the first, the Markov chain .27 in the second: 30 and 45
    assert found[tables.COMPARED["mixture_vs_strongest"]][4].startswith("+37.50 ± 95.3")
    twice = runs() + runs()  # four values: SD 3.464, half of the interval 3.182 * 3.464 / 2
    found = cells(tables.differences(content(), twice))
    assert found[tables.COMPARED["mixture_vs_pool"]][4] == "+0.00 ± 5.51"


def test_runs_of_different_models_are_not_put_together() -> None:
    other = content()
    del other["runs"][1]["test"]["markov"]
    with pytest.raises(UserError, match="seed 7, first pairs: markov not in all runs"):
        tables.runs_of([content(), other])


def test_one_seed_has_no_spread() -> None:
    alone = content() | {"runs": runs()[:2]}
    text = tables.differences(alone, alone["runs"])
    assert "1,500 learners; in brackets" in text
    assert "Last column" not in text
    assert len(cells(text)[tables.COMPARED["mixture_vs_pool"]]) == 2 * 4


def test_what_split_and_training_move_is_a_standard_deviation_in_points(tmp_path: Path) -> None:
    for varied, by in (("split", 1.0), ("training", 0.1)):
        found = runs()
        for run in found:
            run["test"] = {name: {"NDCG@10": by * x["NDCG@10"]} for name, x in run["test"].items()}
        write_json(tmp_path / f"made_up_vary_{varied}.json", {"runs": found})
    lines = tables.spreads(tmp_path, {"Made up": "made_up"}).splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[:3] for row in rows] == [
        ["Made up", position, f"{varied}, 2 times"]
        for position in ("first", "last")
        for varied in ("split", "training")
    ]
    # few-shot .60 and .72: mean 66, half of the interval 12.706 * 6
    assert rows[0][3] == "66.00 ± 76.24"
    assert rows[1][3] == "6.60 ± 7.62"
    # minus zero-shot 0 and 6, strongest 30 and 45, the document's GRU as it is 33 and 39
    assert rows[0][4:] == ["4.24", "10.61", "4.24"]
    assert rows[3][4:] == ["0.21", "0.53", "0.21"]


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
