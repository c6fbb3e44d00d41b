"""Who uses no mouse and no eyes: axe finds nothing serious on any page of the catalog, and Tab reaches everything."""

from pathlib import Path
from typing import Any

import pytest

import tests
from tests.journeys.browser import Console
from tests.journeys.pages import catalog_pages
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]

AXE = Path(tests.__file__).parents[1] / "ui_extensions/node_modules/axe-core/axe.min.js"
SERIOUS = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'], iframes: false });
  return found.violations.filter((each) => ['serious', 'critical'].includes(each.impact))
    .flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""
BEGIN = "() => { document.activeElement?.blur(); globalThis.reached = new Set(); }"
STEP = "() => { reached.add(document.activeElement); return document.activeElement === document.body; }"
#: What a visitor sees, could use, and never came to.
MISSED = """() => {
  const usable = 'a[href], button, input, select, textarea, [tabindex="0"]';
  return [...document.querySelectorAll(usable)]
    .filter((it) => !it.matches(':disabled, [tabindex="-1"]') && it.checkVisibility() && !reached.has(it))
    .map((it) => it.outerHTML.slice(0, 200));
}"""
MOST_STOPS = 300


def test_axe_finds_nothing_serious_on_any_page_of_the_catalog_light_or_dark(walked: Walked, visitor: Console) -> None:
    script = AXE.read_text()
    found: list[str] = []
    for path in catalog_pages(walked):
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        visitor.page.evaluate(script)
        for theme in ("light", "dark"):
            visitor.page.evaluate("(dark) => document.documentElement.classList.toggle('dark', dark)", theme == "dark")
            found += [f"{path} {theme}: {violation}" for violation in visitor.page.evaluate(SERIOUS)]
    assert found == []


def test_tab_goes_through_a_whole_page_and_out_again(walked: Walked, visitor: Console) -> None:
    for path in catalog_pages(walked):
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        visitor.page.evaluate(BEGIN)
        for _ in range(MOST_STOPS):
            visitor.page.keyboard.press("Tab")
            if visitor.page.evaluate(STEP):
                break
        else:
            raise AssertionError(f"{path}: the focus never leaves the page")
        assert visitor.page.evaluate(MISSED) == [], path
