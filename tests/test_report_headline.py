"""The first screen: what it says is what the results say, also where they say the opposite."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import committed
import pandas as pd
import pytest
from test_report import HR1, block, build, differences, with_maml, write_run

from mooc_maml.common.results import plain
from mooc_maml.report.bars import funnel, main_bars
from mooc_maml.report.beyond import beyond_rows
from mooc_maml.report.build import build_report
from mooc_maml.report.example_figure import course_name, draw_example, drawn_name, short
from mooc_maml.report.exports import figure_data, latex, tables
from mooc_maml.report.figures import CAPTIONS
from mooc_maml.report.headline import MOST_ROWS, answer, headline_rows
from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.report.where_figure import where_tables
from mooc_maml.settings.params import Params, parse_params


@pytest.fixture
def params() -> Params:
    return parse_params(committed.settings())


@pytest.fixture
def inputs(tmp_path: Path, params: Params) -> Inputs:
    return read_inputs(write_run(tmp_path), params)


def against_gru(inputs: Inputs, few: float, difference: tuple[float, float, float]) -> Inputs:
    rows = plain(inputs.maml)["differences"] | {"few_shot_minus_gru": differences(*difference)}
    return with_maml(inputs, few_shot=block(few), differences=rows)


@pytest.mark.parametrize(
    ("few", "difference", "words", "certainty"),
    [
        (0.41, (0.073, 0.05, 0.09), "Found: yes, after adapting it names", "more than chance"),
        (0.25, (-0.087, -0.1, -0.07), "Found: no, after adapting it names", "more than chance"),
        (0.34, (0.003, -0.01, 0.02), "Found: not shown, after", "chance is not ruled out"),
        (0.33, (-0.007, -0.02, 0.01), "Found: not shown, after", "chance is not ruled out"),
    ],
)
def test_the_verdict_follows_the_paired_test(
    inputs: Inputs, few: float, difference: tuple[float, float, float], words: str, certainty: str
) -> None:
    found = answer(against_gru(inputs, few, difference))
    assert found.found.startswith(words)
    assert f"first in {100 * few:.1f} of 100 cases" in found.found
    assert found.found.endswith("the GRU in 33.7.")
    assert certainty in found.sure
    assert "adapts to 5 steps of a new learner (second-order MAML)" in found.asked


def test_an_interval_off_zero_is_not_enough_where_holm_takes_it_back(inputs: Inputs) -> None:
    rows = [row | {"p_holm": 0.2} for row in differences(0.05, 0.01, 0.09)]
    changed = with_maml(inputs, few_shot=block(0.39), differences={"few_shot_minus_gru": rows})
    assert answer(changed).found.startswith("Found: not shown")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ((0.02, 0.01, 0.03), "(up from 30.1 before)"),
        ((0.0, -0.01, 0.01), "(30.1 before; the change may be chance)"),
    ],
)
def test_what_adapting_changes_is_said(
    inputs: Inputs, difference: tuple[float, float, float], words: str
) -> None:
    rows = {"few_shot_minus_zero_shot": differences(*difference)}
    assert words in answer(with_maml(inputs, differences=rows)).found
    lower = with_maml(
        inputs,
        few_shot=block(0.2),
        differences={"few_shot_minus_zero_shot": differences(-0.1, -0.2, -0.05)},
    )
    assert "(down from 30.1 before)" in answer(lower).found


def test_made_up_learners_and_missing_tests_are_said(tmp_path: Path, params: Params) -> None:
    synthetic = read_inputs(write_run(tmp_path / "a", synthetic=True), params)
    real = read_inputs(write_run(tmp_path / "b", synthetic=False), params)
    assert "who are synthetic, so that it says nothing about real ones" in answer(synthetic).sure
    assert "synthetic" not in answer(real).sure
    assert "from 1 run on 412 test learners" in answer(real).sure
    assert answer(with_maml(real, differences={})).sure.startswith("How sure: unknown")
    without = with_maml(real, baselines={"popularity": block(0.04)})
    assert answer(without).found.endswith("there is no GRU to compare with.")


def test_the_tuned_model_has_its_own_verdict(inputs: Inputs) -> None:
    own = {"tuned_few_shot": block(0.4), "tuned_zero_shot": block(0.35)}
    rows = {
        "few_shot_minus_gru": differences(-0.024, -0.04, -0.01),
        "tuned_few_shot_minus_gru": differences(0.063, 0.04, 0.08),
        "tuned_few_shot_minus_tuned_zero_shot": differences(0.05, 0.03, 0.07),
    }
    changed = with_maml(inputs, baselines=plain(inputs.maml)["baselines"] | own, differences=rows)
    found = answer(changed)
    assert found.found.startswith("Found: no, after adapting")
    assert found.found.endswith("with tuned settings yes, in 40.0 (up from 35.0 before).")
    assert "with tuned settings +6.3 points (95 % interval +4.0 to +8.0), more than" in found.sure


def test_at_most_eight_models_stand_first_and_the_adapted_ones_among_them(inputs: Inputs) -> None:
    many = {name: block(0.2) for name in ("a", "b", "c", "mixture", "pool", "tuned_few_shot")}
    changed = with_maml(inputs, baselines=plain(inputs.maml)["baselines"] | many)
    names = [row.name for row in headline_rows(changed)]
    assert len(names) == MOST_ROWS
    assert {"few_shot", "tuned_few_shot", "zero_shot", "gru", "mixture"} < set(names)
    assert not {"a", "b", "c"} & set(names)
    assert names == [row.name for row in changed.rows() if row.name in names], "order is kept"


def test_bars_are_as_long_as_the_figures(inputs: Inputs) -> None:
    bars = {bar["label"]: bar for bar in main_bars(inputs)}
    longest = HR1["oracle"]  # which has no interval here
    assert float(bars["MAML few-shot"]["length"]) == pytest.approx(100 * 0.313 / longest, abs=0.01)
    assert float(bars["MAML few-shot"]["low"]) == pytest.approx(100 * 0.303 / longest, abs=0.01)
    assert (bars["MAML few-shot"]["kind"], bars["GRU"]["kind"]) == ("ours", "other")
    assert bars["Oracle (best possible)"]["interval"] == ""
    assert [line["count"] for line in funnel(inputs)][-2:] == ["412", "4,120"]


def test_where_it_helps_is_said_only_beyond_the_interval(inputs: Inputs) -> None:
    (table,) = where_tables(inputs)
    assert table["title"] == "MAML few-shot against MAML zero-shot, NDCG@10"
    assert [row["sure"] for row in table["rows"]] == ["helps", "", "hurts"]
    assert table["rows"][0]["interval"] == "+3.0 to +7.0"


def test_beyond_accuracy_stands_in_the_order_of_the_models(inputs: Inputs) -> None:
    rows = beyond_rows(inputs)
    assert [row["name"] for row in rows] == [row.name for row in inputs.rows()]
    few = next(row for row in rows if row["name"] == "few_shot")
    assert few["cells"] == ["42.0 %", "3.21", "66.0 %", "71.0 %", "1.37", "0.12"]
    gru = next(row for row in rows if row["name"] == "gru")
    assert gru["cells"][2] == "n.a."


def test_results_from_before_the_analysis_are_shown_without_it(
    tmp_path: Path, params: Params
) -> None:
    inputs = read_inputs(write_run(tmp_path), params)
    old = replace(inputs, analysis=None)
    assert where_tables(old) == beyond_rows(old) == []
    assert "beyond_accuracy" in tables(inputs)
    assert "beyond_accuracy" not in tables(old)


def test_every_figure_has_its_data(inputs: Inputs) -> None:
    assert {Path(name).stem for name in CAPTIONS} <= set(figure_data(inputs, tables(inputs)))


def test_latex_escapes_and_shows_percent() -> None:
    table = pd.DataFrame(
        {"model": ["50 % & _more_"], "HR@1": [0.1234], "p": [0.04], "d": [math.nan]}
    )
    text = latex(table)
    assert r"50 \% \& \_more\_ & 12.3 & 0.040 & -- \\" in text
    assert text.startswith("\\begin{tabular}{lrrr}\n")
    assert latex(pd.DataFrame()).endswith("\\end{tabular}\n")


def test_a_long_id_keeps_its_ends() -> None:
    assert short("course-1") == "course-1"
    assert short("course-v1:PekingX+49812001_tv+2015_T1") == "PekingX+49812001_tv+2015_T1"
    assert short("course-v1:TsinghuaX+10610204_tv+2015_T1") == "TsinghuaX+106…04_tv+2015_T1"
    assert len(short("x" * 90, 11)) <= 11


def test_a_course_is_called_by_its_title_where_it_has_one() -> None:
    titles = {"a": "Foundations of Organic Chemistry", "b": "Law  I\n", "c": " ", "d": "线性代数"}
    assert course_name("a", titles) == "Foundations of Organic Chem…"
    assert len(course_name("a", titles)) == 28
    assert [course_name(id, titles) for id in "bce"] == ["Law I", "c", "e"]
    assert course_name("d", titles) == "线性代数"
    assert drawn_name("d", titles) == "d"  # the picture's font has no Chinese letters
    assert drawn_name("b", titles) == "Law I"


def test_the_picture_shows_titles_whatever_stands_in_them(inputs: Inputs, tmp_path: Path) -> None:
    assert inputs.analysis is not None
    example, path = inputs.analysis.examples[0], tmp_path / "example.png"
    titles = {"course-4": r"Costs $\nothing$ & <b>", "course-5": "Law I"}
    draw_example(example, "synthetic data", path, titles)
    drawn = path.with_suffix(".svg").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- (.*?) -->", drawn)
    assert r"1. Costs $\nothing$ &amp; &lt;b&gt;" in shown
    assert "2. Law I" in shown


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda self, path, **kw: path.write_bytes(b"picture")
    )


@pytest.mark.usefixtures("unpainted")
def test_the_page_shows_titles_and_keeps_ids_of_others(tmp_path: Path, params: Params) -> None:
    results = write_run(tmp_path)
    build_report(params, results, tmp_path / "models", tmp_path / "page", {"course-4": "Law <I>"})
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "Law &lt;I&gt;" in page
    assert "course-4<" not in page
    assert "<li>course-5</li>" in page


@pytest.mark.usefixtures("unpainted")
def test_findings_beyond_the_first_three_fold(tmp_path: Path, params: Params) -> None:
    results = write_run(tmp_path)
    build(tmp_path, params)
    html = (results / "report" / "index.html").read_text()
    findings = html[html.index('id="findings"') : html.index('id="data"')]
    shown, folded = findings.split("<details>", 1)
    assert shown.count("<li") == 3
    assert folded.count("<li") > 5
    assert re.search(r"<summary>\d+ more findings</summary>", folded)
    before = html[: html.index('id="findings"')]
    assert before.count('<li class="') == 5, "the models of the main picture"
    short_table = (results / "report" / "table_short.md").read_text()
    assert short_table.count("\n| ") <= 2 + MOST_ROWS
    assert (results / "report" / "answer.md").read_text().startswith("- Asked: ")
