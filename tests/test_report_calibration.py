"""What the report says of stated probabilities, and that it says the opposite where they do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import committed
import pytest
from test_report import HR1, calibration_of, write_run

from mooc_maml.evaluation.analysis_schema import AnalysisResult, Calibration
from mooc_maml.report.calibration import (
    COLUMNS,
    calibration_bins,
    calibration_findings,
    calibration_rows,
    calibration_table,
    calibration_words,
    without_law,
)
from mooc_maml.report.calibration_figure import draw_calibration
from mooc_maml.report.findings import results
from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.report.model_card import model_card
from mooc_maml.settings.params import parse_params


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return read_inputs(write_run(tmp_path), parse_params(committed.settings()))


def with_calibration(inputs: Inputs, *rows: dict[str, Any]) -> Inputs:
    assert inputs.analysis is not None
    changed: AnalysisResult = inputs.analysis.model_copy(
        update={"calibration": [Calibration.model_validate(row) for row in rows]}
    )
    return replace(inputs, analysis=changed)


@pytest.mark.parametrize(
    ("stated", "half", "says"),
    [
        (0.413, 0.02, "says 41.3 % and is right in 31.3 %: over-confident, +10.0 points (+8.0 to"),
        (0.213, 0.02, "says 21.3 % and is right in 31.3 %: under-confident, −10.0 points (−12.0"),
        (0.323, 0.02, "right in 31.3 %: no difference beyond chance, +1.0 points (−1.0 to +3.0)"),
        (0.413, None, "right in 31.3 %: cannot be told, +10.0 points (no interval)."),
    ],
)
def test_it_is_said_by_the_interval(
    inputs: Inputs, stated: float, half: float | None, says: str
) -> None:
    changed = with_calibration(inputs, calibration_of("few_shot", stated, half))
    text = calibration_words(changed)
    assert text.startswith("Whether stated probabilities can be believed (in brackets 95 %")
    assert says in text
    assert says in model_card(changed)
    (finding,) = (each for each in results(changed) if each.name == "calibration")
    assert says in finding.text


@pytest.mark.parametrize(
    ("stated", "low", "told"),
    [(0.323, 0.08, True), (0.323, 0.0, False), (0.323, None, False), (0.413, 0.08, False)],
)
def test_errors_that_cancel_out_are_told(
    inputs: Inputs, stated: float, low: float | None, told: bool
) -> None:
    row = calibration_of("gru", stated=stated) | {"ece_low": low}
    row["first"] = calibration_of("few_shot", stated=stated)["first"]
    text = calibration_words(with_calibration(inputs, row))
    words = (
        "), on average; but too sure of some courses and not sure enough of others: "
        "calibration error 10.0 %, 2.0 % by chance."
    )
    assert text.endswith(words) == told
    assert ("on average" in text) == told


def test_the_models_that_the_answer_is_about_are_named_in_order(inputs: Inputs) -> None:
    text = calibration_words(inputs)
    assert text.index("MAML few-shot says") < text.index("GRU says")
    assert "zero-shot" not in text


def test_the_table_by_hand(inputs: Inputs) -> None:
    rows = {row["name"]: row for row in calibration_rows(inputs)}
    known = [row.name for row in inputs.rows() if row.name in ("few_shot", "gru", "zero_shot")]
    assert list(rows) == known, "in the order of the main table"
    assert rows["few_shot"]["cells"] == [
        ["stated 41.3 %", "right 31.3 %"],
        ["+10.0", "+8.0 to +12.0", "over-confident"],
        ["stated 34.3 %", "right 31.3 %"],
        ["+3.0", "+1.0 to +5.0", "over-confident"],
        ["10.0 %", "8.0–12.0 %", "by chance 2.0 %"],
        ["3.21", "3.10–3.30"],
    ]
    assert all(len(row["cells"]) == len(COLUMNS) for row in rows.values())


def test_models_without_a_law_are_left_out_with_a_word(inputs: Inputs) -> None:
    assert set(without_law(inputs).split(", ")) == {"Popularity", "Oracle (best possible)"}
    assert set(HR1) == {"few_shot", "gru", "zero_shot", "popularity", "oracle"}


def test_what_can_be_read_on(inputs: Inputs) -> None:
    table, bins = calibration_table(inputs), calibration_bins(inputs)
    few = table.set_index("model").loc["few_shot"]
    assert few["first_stated"] == pytest.approx(0.413)
    assert few["first_ten_difference"] == pytest.approx(0.03)
    assert (few["ece_by_chance"], few["impossible"]) == (0.02, 0)
    assert list(bins.columns) == ["model", "bin", "queries", "stated", "right", "low", "high"]
    assert bins.query("model == 'gru'")["bin"].tolist() == [1, 2, 3, 4]
    assert bins["low"].isna().sum() == 3, "the first bin of each model has no interval"


def test_results_without_it_are_shown_without_it(inputs: Inputs, tmp_path: Path) -> None:
    for old in (with_calibration(inputs), replace(inputs, analysis=None)):
        assert calibration_words(old) == ""
        assert calibration_findings(old) == calibration_rows(old) == []
        assert calibration_bins(old).empty
        assert "probabilities" not in model_card(old)
    draw_calibration({}, "synthetic data", tmp_path / "calibration.png")
    assert "n.a." in (tmp_path / "calibration.svg").read_text()


def test_the_picture_has_a_panel_for_each_of_the_main_models(tmp_path: Path) -> None:
    names = ("zero_shot", "few_shot", "gru", "oracle")
    known = {name: Calibration.model_validate(calibration_of(name, 0.4)) for name in names}
    draw_calibration(known, "synthetic data", tmp_path / "calibration.png")
    text = (tmp_path / "calibration.svg").read_text()
    for words in (
        "MAML few-shot",
        "MAML zero-shot",
        "GRU",
        "Oracle",
        "says 40.0 %",
        "right 31.3 %",
    ):
        assert words in text, words
