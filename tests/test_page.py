"""The page in a real browser: lists change, keys suffice, nothing leaves, no title does harm."""

import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from service_helpers import running
from small_bundle import EVIL, title, write_bundle

REQUIRED = os.environ.get("MOOC_MAML_BROWSER") == "required"
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (REQUIRED or (BROWSER and DRIVER)), reason="no chromium and chromedriver here"
)

PICKED = (1, 2, 3, 4, 5, 6)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--force-prefers-reduced-motion",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(write_bundle(tmp_path_factory.mktemp("page") / "bundle")) as service:
        yield service.address


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    assert BROWSER, "chromium is required here"
    assert DRIVER, "chromedriver is required here"
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def until(browser: WebDriver, script: str) -> Any:
    """Wait until the script returns something true."""
    return WebDriverWait(browser, 60, 0.05).until(lambda own: own.execute_script(script))


def look(browser: WebDriver, width: int, dark: bool) -> None:
    """Show the page as wide as a device, in one of the two colour schemes."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def open_page(browser: WebDriver, address: str) -> None:
    browser.get(address)
    until(browser, "return document.querySelectorAll('#list > li').length === 10")


def keys(browser: WebDriver, *pressed: str) -> None:
    ActionChains(browser).send_keys(*pressed).perform()


def pick(browser: WebDriver, *numbers: int) -> None:
    """Pick courses by typing, with keys alone."""
    browser.find_element(By.ID, "search").send_keys("")
    for number in numbers:
        before = len(browser.find_elements(By.CSS_SELECTOR, "#own li"))
        keys(browser, title(number) if number != 7 else "<script>")
        until(browser, "return document.querySelector('#found [aria-selected=true]') !== null")
        keys(browser, Keys.ENTER)
        until(browser, f"return document.querySelectorAll('#own li').length === {before + 1}")


def listed(browser: WebDriver) -> list[str]:
    script = "return [...document.querySelectorAll('#list > li')].map((own) => own.dataset.id)"
    found: list[str] = browser.execute_script(script)
    return found


def slide(browser: WebDriver, step: int) -> list[str]:
    """Move the slider with the keys; what is listed when the words beside it say so."""
    slider = browser.find_element(By.ID, "slider")
    slider.send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * step)
    words = f"After {step} step" if step else "Before any learning"
    says = "document.getElementById('slider-says').textContent"
    until(browser, f"return {says}.includes('{words}')")
    return listed(browser)


@pytest.fixture
def picked(browser: WebDriver, address: str) -> WebDriver:
    """The page after six courses were picked."""
    look(browser, 1200, False)
    open_page(browser, address)
    pick(browser, *PICKED)
    until(browser, "return document.getElementById('slider-says').textContent.includes('5 pairs')")
    return browser


def test_the_list_changes_step_by_step_from_zero_shot_to_adapted(picked: WebDriver) -> None:
    lists = [slide(picked, step) for step in range(6)]
    assert lists[0] != lists[5]
    assert len({tuple(one) for one in lists}) > 2, "not only the first and the last differ"
    assert picked.find_elements(By.CSS_SELECTOR, ".move.up"), "what rose is marked"
    words = picked.find_element(By.CSS_SELECTOR, ".move.up .unseen").get_attribute("textContent")
    assert words.startswith("up from place")
    why = picked.find_element(By.CSS_SELECTOR, "#list details")
    why.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert "Without" in why.text


def test_the_page_says_what_the_model_is_worth_and_that_data_are_synthetic(
    browser: WebDriver, address: str
) -> None:
    open_page(browser, address)
    assert "41.1 % (95 % interval 38.1 to 44.1 %)" in browser.find_element(By.ID, "worth").text
    assert browser.find_element(By.ID, "synthetic").text.startswith("Synthetic data.")


def test_a_model_without_steps_is_told_or_not(picked: WebDriver) -> None:
    model = Select(picked.find_element(By.ID, "model"))
    model.select_by_visible_text("Repeat own courses")
    until(picked, "return document.getElementById('slider').max === '1'")
    until(picked, "return document.getElementById('slider-says').textContent.includes('told')")
    told = set(listed(picked))
    assert {f"C{number:03d}" for number in PICKED} - {"C006"} <= told
    model.select_by_visible_text("Popularity")
    until(picked, "return document.getElementById('steps').hidden")


def test_courses_can_be_taken_away_with_keys_alone(picked: WebDriver) -> None:
    picked.find_element(By.CSS_SELECTOR, "#own li:last-child button").send_keys(Keys.ENTER)
    until(picked, "return document.querySelectorAll('#own li').length === 5")
    focused = picked.switch_to.active_element.get_attribute("aria-label")
    assert focused == f"Remove {title(5)}"
    picked.find_element(By.ID, "clear").send_keys(Keys.ENTER)
    until(picked, "return document.querySelectorAll('#own li').length === 0")
    assert picked.switch_to.active_element.get_attribute("id") == "search"
    picked.find_element(By.ID, "example").send_keys(Keys.ENTER)
    until(picked, "return document.querySelectorAll('#own li').length === 6")


def test_a_title_with_a_script_is_shown_and_not_run(browser: WebDriver, address: str) -> None:
    open_page(browser, address)
    pick(browser, 7, 1, 7)
    assert EVIL in browser.find_element(By.ID, "own").text
    until(browser, "return document.querySelector('#list details summary') !== null")
    assert browser.execute_script("return window.harmed") is None
    assert not browser.find_elements(By.CSS_SELECTOR, "main img, main script")


def test_nothing_is_asked_of_other_servers_and_nothing_fails(
    browser: WebDriver, address: str
) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    open_page(browser, address)
    pick(browser, 1, 2)
    browser.get(f"{address}/docs")
    until(browser, "return document.querySelectorAll('.opblock').length >= 6")
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [own["params"] for own in asked if own["method"] == "Network.requestWillBeSent"]
    addresses = {own["request"]["url"] for own in sent}
    assert len(addresses) > 8
    assert all(one.startswith((f"{address}/", "data:")) for one in addresses), addresses
    assert [own["message"] for own in browser.get_log("browser")] == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_readable_and_accessible(
    picked: WebDriver, tmp_path: Path, width: int, dark: bool
) -> None:
    look(picked, width, dark)
    picked.find_element(By.CSS_SELECTOR, "#list details summary").click()
    assert picked.execute_script("return document.documentElement.scrollWidth") <= width
    keep_picture(picked, tmp_path, f"page_{width}_{'dark' if dark else 'light'}")
    faults = axe(picked)
    assert [own["id"] for own in faults if own["impact"] in ("serious", "critical")] == [], faults


def axe(browser: WebDriver) -> list[dict[str, Any]]:
    """What axe-core finds wrong."""
    script = next(own for own in files("axe-core-python") or [] if own.name == "axe.min.js")
    browser.execute_script(script.read_text(encoding="utf-8"))
    run = "axe.run().then((found) => arguments[0](found.violations))"
    faults: list[dict[str, Any]] = browser.execute_async_script(run)
    return faults


def keep_picture(browser: WebDriver, folder: Path, name: str) -> None:
    """In the test's folder, or in that which PAGE_PICTURES names."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    width = browser.execute_script("return innerWidth")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    place = Path(os.environ.get("PAGE_PICTURES", folder)) / f"{name}.png"
    assert browser.save_screenshot(str(place))
    assert place.stat().st_size > 10_000
