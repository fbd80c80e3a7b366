"""The page that pytest-html writes, in a real browser: it is drawn, it runs nothing of a host's, it asks nobody."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.checking.record import Record
from converge.report.html import harden
from converge.report.page import page
from tests.converge.report import samples

webdriver = pytest.importorskip("selenium.webdriver")
TOP = Path(__file__).parents[3]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no browser here: apt-get install chromium chromium-driver")

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000",
]  # fmt: skip

# A session as a user's: its reports are made by pytest, its record is one of the samples.
CONFTEST = """
import pytest
from converge.report.html import HtmlReport
from tests.converge.report import samples

RECORD = getattr(samples, SAMPLE)()
for n, verdict in enumerate(RECORD.verdicts):
    verdict.nodeid = f"test_x.py::test_it[{n}-{samples.HOSTILE_ID}]"

def pytest_configure(config):
    config.pluginmanager.register(HtmlReport(lambda: RECORD))

def pytest_generate_tests(metafunc):
    ids = [f"{n}-{samples.HOSTILE_ID}" for n in range(len(RECORD.verdicts) + 1)]
    metafunc.parametrize("n", range(len(ids)), ids=ids)
"""
TEST = """
from conftest import RECORD, samples

def test_it(n, record_property):
    print(samples.HOSTILE)
    assert n < len(RECORD.verdicts), samples.HOSTILE
    verdict = RECORD.verdicts[n]
    assert verdict.outcome.is_well, verdict.message
"""


def written(folder: Path, sample: str) -> Path:
    """The page that a pytest session of its own writes of a sample, moved to a folder of another name."""
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST.replace("SAMPLE", repr(sample)))
    (folder / "test_x.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", "/dev/null"]
    done = subprocess.run(
        [*command, "--html", "report.html", "--self-contained-html", str(folder)],
        cwd=folder,
        env={"PYTHONPATH": f"{TOP}:{folder}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    elsewhere = folder.parent / f"moved {sample}"
    elsewhere.mkdir()
    return Path(shutil.move(folder / "report.html", elsewhere / "as mailed.html"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with a profile of its own, that keeps a log of what it asks for."""
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield started
    started.quit()


def events(browser: Any, method: str) -> list[dict[str, Any]]:
    """What the browser's network did since it was asked last."""
    found = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event for event in found if event["method"] == method]


def asked(browser: Any) -> list[str]:
    """Addresses that the browser asked for since it was asked last."""
    sent = [event["params"]["request"]["url"] for event in events(browser, "Network.requestWillBeSent")]
    return [url for url in sent if not url.startswith("data:")]


@pytest.mark.parametrize("sample", ["red_check", "green_run", "everything"])
def test_the_page_runs_nothing_of_a_hosts_and_asks_nobody(sample: str, browser: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "session", sample)
    record: Record = getattr(samples, sample)()
    asked(browser)
    browser.get(file.as_uri())
    run = browser.execute_script
    assert run("return document.title").startswith("lab: ")
    for _ in range(2):
        run("document.querySelectorAll('details').forEach(d => d.open = true)")
        run("document.getElementById('show_all_details').click()")
        run("document.querySelector('[data-column-type=statement]').click()")
    assert run("return document.title") != "pwned"
    assert {url.partition("?")[0] for url in asked(browser)} <= {file.as_uri()}
    assert len(browser.find_elements("css selector", "#results-table tbody.results-table-row")) == len(record.verdicts) + 1
    intruders = ".record img, .record script, .log img, .log script, td.col-statement *"
    assert not browser.find_elements("css selector", intruders)


@pytest.mark.parametrize("sample", ["red_check", "green_run", "unfinished_run"])
def test_what_a_reader_asks_first_is_on_the_first_screen(sample: str, browser: Any, tmp_path: Path) -> None:
    browser.get(written(tmp_path / "session", sample).as_uri())
    assert browser.execute_script("return innerWidth") == 1280

    def bottom(selector: str) -> float:
        return float(browser.execute_script(f"return document.querySelector('{selector}').getBoundingClientRect().bottom"))

    places = {each: bottom(each) for each in (".band", ".wrong .item:last-child", ".left", ".done h2")}
    assert {each: place for each, place in places.items() if not 0 < place <= 900} == {}


def test_the_page_is_readable_without_its_script(browser: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "session", "red_check")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(file.as_uri())
        text = browser.find_element("tag name", "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for words in ("does not stand as it should", "What is wrong", "REPO-6", "The app's unit is enabled"):
        assert words in text


def test_the_policy_stops_a_script_even_if_an_escape_were_missing(browser: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "session", "red_check")
    attack = "<img src='http://127.0.0.1:9/x' onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    file.write_text(file.read_text().replace("<main", attack + "<main"))
    asked(browser)
    browser.get(file.as_uri())
    assert browser.execute_script("return document.title").startswith("lab: ")
    assert {event["params"]["blockedReason"] for event in events(browser, "Network.loadingFailed")} == {"csp"}


def test_the_page_without_pytest_has_no_script_at_all(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(samples.everything()))
    asked(browser)
    browser.get(file.as_uri())
    assert browser.execute_script("return document.scripts.length") == 0
    assert browser.execute_script("return getComputedStyle(document.querySelector('.band')).borderLeftWidth") == "6px"
    assert asked(browser) == [file.as_uri()]


def test_a_foreign_script_at_the_end_is_not_allowed() -> None:
    hardened = harden('<html><head><meta charset="utf-8"/></head><body><script>evil()</script></body></html>')
    assert "script-src 'none'" in hardened
