"""The report in a browser: accessible, quiet, within its budget."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.conftest import Checkout
from tests.report.conftest import assert_fits, console, open_report

MAX_PAGE = 3_000_000
MAX_SECONDS = 0.5
"""Processor time of the page's thread until the page is ready."""

TABBABLE = """
Array.from(document.querySelectorAll("a, button, input, select, textarea, summary, [tabindex='0']"))
  .filter((each) => !each.disabled && each.checkVisibility({ visibilityProperty: true }))
"""


@pytest.fixture(scope="module")
def report(tiny_run: Checkout) -> Path:
    """The report of the tiny preset."""
    return tiny_run.folder / "results/tiny/report.html"


def test_the_page_keeps_its_budget(report: Path) -> None:
    assert report.stat().st_size < MAX_PAGE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_at_any_width(report: Path, chromium: Browser, scheme: str) -> None:
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(120_000)
    open_report(page, report)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    for width in (1280, 390, 320):
        assert_fits(page, width)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    assert console(page) == []
    page.close()


def test_the_table_of_documents_is_searched_sorted_and_saved(
    report: Path, chromium: Browser
) -> None:
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    open_report(page, report)
    table = page.locator(".document-table")
    bits = [float(text) for text in table.locator("td:nth-child(4)").all_text_contents()]
    assert len(bits) > 2
    assert bits == sorted(bits, reverse=True)
    table.get_by_role("button", name="bits").click()
    assert table.locator("td:nth-child(4)").first.text_content() == f"{min(bits):.3f}"
    table.get_by_role("searchbox").fill("validation")
    assert set(table.locator("td:nth-child(2)").all_text_contents()) == {"validation"}
    rows = table.locator("tbody tr").count()
    with page.expect_download() as download:
        table.get_by_role("button", name="CSV").click()
    saved = Path(download.value.path()).read_text()
    assert saved.splitlines()[0] == '"document","split","characters","bits","text"'
    assert len(saved.splitlines()) == 1 + rows
    page.close()


def test_the_theme_can_be_switched_and_is_remembered(report: Path, chromium: Browser) -> None:
    page = chromium.new_page(color_scheme="light")
    page.set_default_timeout(120_000)
    open_report(page, report)
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.locator(".theme").click()
    dark = page.evaluate(color)
    assert dark != light
    page.reload()
    assert page.evaluate(color) == dark
    page.close()


def test_the_page_is_ready_in_half_a_second(report: Path, chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    session = page.context.new_cdp_session(page)
    # Unlike the clock, it does not depend on what else the machine does.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    open_report(page, report)
    metrics = session.send("Performance.getMetrics")["metrics"]
    (seconds,) = [each["value"] for each in metrics if each["name"] == "TaskDuration"]
    assert 0 < seconds < MAX_SECONDS
    page.close()


def test_the_slider_shows_what_the_network_wrote_before(report: Path, chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    open_report(page, report)
    learning = page.locator(".learning").first
    slider, stages = learning.get_by_role("slider"), learning.locator(".stage")
    count = stages.count()
    assert count > 1
    shown = [index for index in range(count) if stages.nth(index).is_visible()]
    assert shown == [count - 1]
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert stages.nth(count - 2).is_visible()
    page.keyboard.press("Home")
    assert stages.first.is_visible()
    assert stages.last.is_hidden()
    step = stages.first.locator("b").first.text_content()
    assert f"step {step} " in (slider.get_attribute("aria-valuetext") or "")
    page.close()


def test_without_scripts_the_last_samples_of_the_training_are_shown(
    report: Path, chromium: Browser
) -> None:
    page = chromium.new_page(java_script_enabled=False)
    page.goto(report.as_uri())
    stages = page.locator(".learning").first.locator(".stage")
    assert stages.last.is_visible()
    assert stages.first.is_hidden()
    page.close()


def test_everything_can_be_reached_with_the_tab_key(report: Path, chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    open_report(page, report)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate(f"window.unvisited = new Set({TABBABLE})")
    assert page.evaluate("unvisited.size") > 50
    for _ in range(page.evaluate("unvisited.size")):
        page.keyboard.press("Tab")
        page.evaluate("unvisited.delete(document.activeElement)")
    left = page.evaluate("Array.from(unvisited, (each) => each.outerHTML.slice(0, 80))")
    assert left == []
    page.close()
