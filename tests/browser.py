"""A Chromium without a screen for tests of pages: widths, light and dark, what axe finds."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REQUIRED = os.environ.get("MOOC_MAML_BROWSER") == "required"
# "moderate" and "minor" rules of axe-core are matters of taste.
_SERIOUS = ("serious", "critical")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
)


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A driver of Chromium; the test is skipped without one, unless MOOC_MAML_BROWSER=required."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        reason = "no chromium with chromedriver: apt-get install chromium chromium-driver"
        assert not REQUIRED, reason
        pytest.skip(reason)
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*_ARGUMENTS, f"--user-data-dir={folder / 'chromium'}"):
        options.add_argument(argument)
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_script_timeout(120)  # axe takes seconds, more on a busy machine
    try:
        yield found
    finally:
        found.quit()


def look(driver: Any, page: Path, width: int, dark: bool = False, open_all: bool = False) -> None:
    """Open a page at a width in CSS pixels; `open_all` unfolds what is folded."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())
    if open_all:
        driver.execute_script("document.querySelectorAll('details').forEach(x => x.open = true)")


def cut_off(driver: Any) -> list[str]:
    """What reaches beyond the page's right edge and is in no box that scrolls."""
    found: list[str] = driver.execute_script(
        """
        const wide = document.documentElement.clientWidth, found = [];
        for (const x of document.querySelectorAll('body *')) {
          if (x.closest('.scroll') && !x.classList.contains('scroll')) continue;
          const box = x.getBoundingClientRect();
          if (box.width && box.right > wide + 1) found.push(x.tagName + ' ' + x.className);
        }
        if (document.documentElement.scrollWidth > wide) found.push('the page scrolls sideways');
        return found;
        """
    )
    return found


def serious(driver: Any) -> list[str]:
    """What axe-core calls serious or critical: the rule, and the elements."""
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes']][:3]}"
        for each in axe.run(driver)["violations"]
        if each["impact"] in _SERIOUS
    ]
