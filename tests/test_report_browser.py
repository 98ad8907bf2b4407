"""The report in a real Chromium: nothing cut off at any width, nothing that axe calls serious."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import committed
import pytest
from browser import chromium, cut_off, look, serious
from matplotlib.figure import Figure
from test_report import build, write_run

from mooc_maml.settings.params import parse_params

WIDTHS = (360, 600, 1200, 2560)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def page(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_run(folder)
    painted = Figure.savefig

    def only_svg(figure: Figure, path: Path, **how: Any) -> None:  # which is what the page shows
        painted(figure, path, **how) if how["format"] == "svg" else path.write_bytes(b"picture")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", only_svg)
        build(folder, parse_params(committed.settings()))
    return folder / "results" / "report" / "index.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off(driver: Any, page: Path, width: int) -> None:
    look(driver, page, width, open_all=True)
    assert cut_off(driver) == []


def test_what_is_cut_off_is_found(driver: Any, tmp_path: Path) -> None:
    page = tmp_path / "wide.html"
    head = '<!doctype html><meta name="viewport" content="width=device-width">'
    page.write_text(f'{head}<div style="width:900px">x</div>')
    look(driver, page, 360)
    assert any(found.startswith("DIV") for found in cut_off(driver))


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(driver: Any, page: Path, dark: bool) -> None:
    look(driver, page, 1200, dark=dark, open_all=True)
    assert serious(driver) == []


def test_axe_finds_what_is_serious(driver: Any, tmp_path: Path) -> None:
    page = tmp_path / "poor.html"
    page.write_text('<!doctype html><p style="color:#ccc">pale</p><img src="x.png">')
    look(driver, page, 1200)
    assert {found.split(":")[0] for found in serious(driver)} >= {"color-contrast", "image-alt"}


@pytest.mark.parametrize(("width", "height"), [(1200, 800), (360, 800)])
def test_the_answer_stands_on_the_first_screen(
    driver: Any, page: Path, width: int, height: int
) -> None:
    look(driver, page, width)
    ends = driver.execute_script(
        "return [...document.querySelectorAll('.answer p')].slice(0, 3)"
        ".map(x => x.getBoundingClientRect().bottom)"
    )
    bars = driver.execute_script("return document.querySelector('.bars').getBoundingClientRect()")
    assert max(ends) < height
    assert bars["top"] < height


def test_every_picture_loads_and_none_comes_from_elsewhere(driver: Any, page: Path) -> None:
    look(driver, page, 1200)
    sizes = driver.execute_script("return [...document.images].map(x => x.naturalWidth)")
    assert len(sizes) >= 8
    assert all(sizes)
    loaded = driver.execute_script(
        "return performance.getEntriesByType('resource').map(x => x.name)"
    )
    assert all(name.startswith("file:") for name in loaded)
    assert not re.search(r"https?://", page.read_text(encoding="utf-8"))


def test_it_prints_with_everything_unfolded(driver: Any, page: Path) -> None:
    look(driver, page, 1200)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = driver.execute_script(
        "return [...document.querySelectorAll('details > :last-child')].map(x => x.offsetHeight)"
    )
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(heights) >= 6
    assert all(height > 0 for height in heights)
