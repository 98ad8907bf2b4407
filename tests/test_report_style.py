"""Colours that can be read, and curves that can be told apart without them."""

import re
from pathlib import Path

import committed
import pytest
from test_report import write_run

from mooc_maml.report.cold_start import draw_cold_start
from mooc_maml.report.inputs import read_inputs
from mooc_maml.report.style import COLOURS, contrast_on_white, readable
from mooc_maml.settings.params import parse_params


def test_contrast_by_hand() -> None:
    assert contrast_on_white("#ffffff") == pytest.approx(1)
    assert contrast_on_white("#000000") == pytest.approx(21)
    assert contrast_on_white("#ff0000") == pytest.approx(1.05 / (0.2126 + 0.05))
    assert contrast_on_white("#777777") == pytest.approx(4.48, abs=0.005), "known to be too pale"


@pytest.mark.parametrize("colour", [*COLOURS.values(), "#ffff00", "#ffffff"])
def test_text_is_dark_enough_and_of_the_same_hue(colour: str) -> None:
    shade = readable(colour)
    assert contrast_on_white(shade) >= 4.5
    if contrast_on_white(colour) < 4.5:
        assert contrast_on_white(shade) < 4.8, "no darker than it must be"
    else:
        assert shade == colour.lower()


def test_labels_of_curves_are_dark_and_have_the_curve_s_marker(tmp_path: Path) -> None:
    inputs = read_inputs(write_run(tmp_path), parse_params(committed.settings()))
    draw_cold_start(inputs, tmp_path / "cold_start.png")
    text = (tmp_path / "cold_start.svg").read_text()
    labels = re.findall(r"<!-- MAML few-shot -->\s*<g style=\"fill: (#\w{6})", text)
    assert labels == [readable(COLOURS["few_shot"])] * 2, "a label a panel"
    own = COLOURS["few_shot"].lower()
    markers = re.findall(f"<use [^>]*fill: {own}; stroke: {own}", text)
    assert len(markers) == 2 * (3 + 1), "three sizes and one label a panel"
