"""The HTML report in a real browser: sorting, filtering and what stands behind a number, by mouse and by keyboard.

It needs Debian's chromium and its driver, and selenium; without them it is skipped, and says so. `.ci/run` installs the
browser where it may.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench import compare, figure, load, table
from vit_bench.results import report
from vit_bench.results.record import Record, frame_of

from .report_records import COMMAND, EVIL, EVIL_TASK, asked, run

TISSUE = ("tissue", "sensor", "lesions")
GROUP_TASKS = {
    "natural": ("digits", "photos"),
    "specialized": TISSUE,
    "structured": ("sprite-x", "sprite-angle", "sprite-count", "depth"),
}

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1300,900"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
MISSING = [
    name
    for name, there in {
        "selenium": importlib.util.find_spec("selenium"),
        "chromium": BROWSER,
        "chromedriver": DRIVER,
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"needs {' and '.join(MISSING)}: pip install selenium, apt-get install chromium chromium-driver",
)


class Page:
    """A report in a browser, and what a test asks of it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def js(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        """Click the first of these, in the middle of the window: the contents at its top stay where they are."""
        element = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def wait(self, selector: str) -> None:
        """Wait until this is shown: what is compressed is read after the page is there."""
        end = time.monotonic() + 20
        while not self.one(selector).is_displayed() and time.monotonic() < end:
            time.sleep(0.02)
        assert self.one(selector).is_displayed()

    def texts(self, selector: str) -> list[str]:
        return self.js("return [...document.querySelectorAll(arguments[0])].map(x => x.textContent)", selector)

    def visible_rows(self, table: str) -> list[str]:
        code = (
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(x => x.offsetParent)"
            ".map(x => x.cells[0].textContent)"
        )
        return self.js(code, table)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    @property
    def focused(self) -> str:
        return self.js("return document.activeElement.textContent")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    assert BROWSER is not None
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    report.save(report.make(asked(run(folder / "mini"))), path)
    return path


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Page]:
    """A freshly opened report. At the end: no word on the console, nothing fetched, and nobody's script has run."""
    browser.get(file.as_uri())
    yield Page(browser)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked_for = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    own = ("data:", "blob:", "chrome:", "about:")  # the browser's first, empty page is made of chrome: addresses
    assert {url for url in asked_for if not url.startswith(own)} == {file.as_uri()}
    assert browser.title == "vit-bench report"


def test_a_heading_sorts_and_says_so(page: Page) -> None:
    table = "#table-vtab table"
    assert page.visible_rows(table) == ["ViT-mini", "BiT-mini", EVIL, "majority class"]
    (digits,) = [one for one in page.all(f"{table} .sort") if one.text.startswith("digits")]
    digits.click()
    assert page.visible_rows(table) == [EVIL, "BiT-mini", "ViT-mini", "majority class"]
    assert page.js("return arguments[0].closest('th').getAttribute('aria-sort')", digits) == "descending"
    digits.send_keys("\n")  # by keyboard, the other way round
    assert page.visible_rows(table) == ["majority class", "ViT-mini", "BiT-mini", EVIL]
    assert page.js("return arguments[0].closest('th').getAttribute('aria-sort')", digits) == "ascending"
    model = page.one(f"{table} .sort")
    model.click()
    assert page.visible_rows(table) == [EVIL, "BiT-mini", "majority class", "ViT-mini"]
    assert len(page.all(f"{table} [aria-sort]")) == 1


def test_words_filter_rows(page: Page) -> None:
    field = page.one("#table-vtab input")
    field.send_keys("mini")
    assert page.visible_rows("#table-vtab table") == ["ViT-mini", "BiT-mini"]
    assert page.one("#table-vtab output").text == "2 of 4"
    field.send_keys(" bit")
    assert page.visible_rows("#table-vtab table") == ["BiT-mini"]
    field.clear()
    page.js("arguments[0].dispatchEvent(new Event('input'))", field)
    assert len(page.visible_rows("#table-vtab table")) == 4


def test_the_list_of_all_numbers_sorts_and_filters(page: Page) -> None:
    assert page.one("#all output").text == "43 of 43 numbers"
    page.one("#all select[name=metric] option[value=top1]").click()
    page.one("#all select[name=model] option[value=BiT-mini]").click()
    assert page.one("#all output").text == "10 of 43 numbers"
    (value,) = [one for one in page.all("#all .sort") if one.text.startswith("value")]
    value.click()
    shown = [float(text) for text in page.texts("#all tbody button.n")]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 10
    page.one("#all input").send_keys("tissue")
    assert page.texts("#all tbody button.n") == ["62.50", "62.00"]
    assert EVIL in page.texts("#all select[name=model] option")


def test_a_click_shows_what_stands_behind_a_number(page: Page) -> None:
    number = page.one("#table-vtab button.n")
    assert not page.one("dialog").is_displayed()
    number.click()
    assert page.one("dialog h2").text == "50.2 ± 0.4: made of 2 numbers"
    assert "50.25" in page.one("dialog p").text
    page.all("dialog button.n")[1].click()
    assert page.one("dialog h2").text == "top1: 50.50 percent"
    text = page.one("dialog").text
    for said in (COMMAND, "1000 images", "split-of-0", "0123456789abcdef", "0000000000000000/1", f"{EVIL} 3 bytes"):
        assert said in text
    page.one("dialog .body .more").click()
    assert page.one("dialog h2").text.endswith("made of 2 numbers")
    page.one("dialog .close").click()
    assert not page.one("dialog").is_displayed()


def test_the_keyboard_reaches_every_number(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    numbers = page.all("#table-vtab button.n")
    assert [one.get_attribute("tabindex") for one in numbers[:3]] == ["0", "-1", "-1"]
    page.js("arguments[0].focus()", numbers[0])
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.focused == "61.2 ± 0.4"  # BiT-mini on the second task
    page.press(Keys.ENTER)
    assert page.one("dialog h2").text == "61.2 ± 0.4: made of 2 numbers"
    page.press(Keys.TAB, Keys.TAB)
    page.press(Keys.ESCAPE)
    assert not page.one("dialog").is_displayed()
    assert page.focused == "61.2 ± 0.4"


def test_a_failure_opens_too_and_a_bar(page: Page) -> None:
    page.click("#failures button.n")
    assert page.one("dialog h2").text == f"failed: {EVIL} on lesions"
    assert f"ValueError: {EVIL} is no model" in page.one("dialog").text
    page.one("dialog .close").click()
    page.click("#bars button.n")
    assert page.one("dialog h2").text == "50.2 ± 0.4: made of 2 numbers"


CONTEST = "#contest-1"


def gains(page: Page) -> dict[str, tuple[str, str]]:
    """Each model's gain and verdict, as shown."""
    code = (
        "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(x => x.offsetParent)"
        ".map(x => [x.cells[0], x.cells[3], x.cells[7]].map(y => y.textContent))"
    )
    return {name: (gain, verdict) for name, gain, verdict in page.js(code, CONTEST)}


def pairs_on(frame: Any, task: str) -> list[list[Any]]:
    """Both models, the difference and the verdict of each pair on a task."""
    return frame[frame["task"] == task][["A", "B", "delta", "verdict"]].to_numpy().tolist()


def choose(page: Page, name: str, text: str) -> None:
    (option,) = [one for one in page.all(f"{CONTEST} select.{name} option") if one.text == text]
    option.click()


def test_a_reader_chooses_the_baseline_and_the_cell(page: Page, file: Path) -> None:
    page.wait(CONTEST)
    assert page.texts(f"{CONTEST} select.subject option") == ["natural", "specialized", "digits", EVIL_TASK, *TISSUE]
    assert page.texts(f"{CONTEST} select.baseline option") == [EVIL, "BiT-mini", "ViT-mini"]  # best first
    choose(page, "subject", "digits")
    frame = compare(load(file.parent / "mini"), by="model", metric="top1").frame
    on_digits = {(a, b): (gain, said) for a, b, gain, said in pairs_on(frame, "digits")}
    for base in ("BiT-mini", "ViT-mini", EVIL):
        choose(page, "baseline", base)
        shown = gains(page)
        assert shown.pop(base) == ("", "baseline")
        for model, (gain, said) in shown.items():
            forward = (model, base) in on_digits
            value, word = on_digits[(model, base) if forward else (base, model)]
            assert float(gain.replace("\u2212", "-")) == (value if forward else -value)
            turned = {"better": "worse", "worse": "better"}
            assert said == (word if forward else turned.get(word, word))
    assert page.one(f"{CONTEST} caption").text.startswith(f"digits: each model against {EVIL}, its number minus")
    choose(page, "subject", "lesions")
    assert set(gains(page)) == {"ViT-mini", "BiT-mini"}  # the third has no number there
    page.one(f"{CONTEST} input").send_keys("vit")
    assert set(gains(page)) == {"ViT-mini"}


def test_the_comparison_is_there_for_the_keyboard(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.wait(CONTEST)
    page.js("arguments[0].focus()", page.one(f"{CONTEST} select.baseline"))
    page.press("V")
    assert page.js("return document.querySelector(arguments[0]).value", f"{CONTEST} select.baseline") == "2"
    page.press(Keys.TAB)
    assert page.js("return document.activeElement.className") == "subject"
    page.press(Keys.TAB, Keys.TAB)
    assert page.focused == "model"
    page.press(Keys.ENTER)
    assert page.one(f"{CONTEST} [aria-sort]").get_attribute("aria-sort") == "ascending"


@pytest.mark.slow
def test_tables_and_figures_can_be_kept(page: Page, file: Path, tmp_path: Path) -> None:
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for name in ("table-vtab.csv", "table-vtab.tex", "figure-1.svg", "figure-1.pdf", "ranks-1-1.csv"):
        page.click(f"button[data-name='{name}']")
    page.wait(CONTEST)
    page.click(f"{CONTEST} .csv")
    names = ("table-vtab.csv", "table-vtab.tex", "figure-1.svg", "figure-1.pdf", "ranks-1-1.csv", "contest-1.csv")
    end = time.monotonic() + 20
    while not all((tmp_path / name).is_file() for name in names) and time.monotonic() < end:
        time.sleep(0.05)
    made = table("vtab", file.parent / "mini")
    assert (tmp_path / "table-vtab.csv").read_text(encoding="utf-8") == made.to("csv")
    assert (tmp_path / "table-vtab.tex").read_text(encoding="utf-8") == made.to("latex")
    drawing = figure(2, file.parent / "mini")
    assert (tmp_path / "figure-1.svg").read_bytes() == drawing.render("svg")
    assert (tmp_path / "figure-1.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "contest-1.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    assert [row[0] for row in rows] == ["model", *gains(page)]


def test_it_renders_dark_narrow_and_on_paper(page: Page) -> None:
    light = page.js("return getComputedStyle(document.body).backgroundColor")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    dark = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(17, 22, 27)")
    page.wait(CONTEST)
    for width in (390, 400, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert (
            page.js("return document.documentElement.scrollWidth") <= width
        )  # tables scroll inside, the page does not
        assert page.one(f"{CONTEST} select.baseline").is_displayed()
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not page.one("nav").is_displayed()
    assert page.one("#table-vtab table").is_displayed()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.slow
def test_five_hundred_models_are_reported_soon_and_can_be_used(browser: Any, tmp_path: Path) -> None:
    """It takes 7 s of a quiet core, and 10 s of a busy one."""
    tasks = [(group, name) for group, names in GROUP_TASKS.items() for name in names]
    noise = np.random.default_rng(0).normal(size=(500, len(tasks))).clip(-3, 3)
    records = [
        Record(suite="vtab-mini", protocol="probe", model=f"timm:model_{i:03}", weights="in21k", task=task, group=group,
               source="builtin", metric="top1", value=40 + i / 10 + (noise[i, n] if n else 0) + seed / 8, seed=seed,
               unit="percent", n_test=800,
               measurement=f"{i:08x}{n:08x}/{seed}", device="cpu", started_at="2026-01-02", question={"task": task})
        for i in range(500) for n, (group, task) in enumerate(tasks) for seed in range(2)
    ]  # fmt: skip
    frame = frame_of(records)
    start = time.process_time()
    request = report.ReportRequest(sources=(report.ReportedRun(name="many", frame=frame),), baseline="timm:model_100")
    made = report.make(request)
    assert time.process_time() - start < 15
    assert len(made.html.encode()) < 2_000_000
    assert "figures and bars of 500 models are too many to tell apart" in made.notes
    report.save(made, tmp_path / "many.html")
    start = time.monotonic()
    browser.get((tmp_path / "many.html").as_uri())
    page = Page(browser)
    page.wait(CONTEST)
    assert time.monotonic() - start < 20
    assert page.texts(f"{CONTEST} select.baseline option") == ["timm:model_100"]
    assert len(gains(page)) == 500
    page.one("#table-vtab input").send_keys("model_499")
    assert page.visible_rows("#table-vtab table") == ["timm:model_499"]
    choose(page, "subject", "digits")
    assert gains(page)["timm:model_499"][0] == "+39.90"
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
