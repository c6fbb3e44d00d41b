"""Who uses no mouse and no eyes: axe finds nothing serious on any page of the catalog, and Tab reaches everything."""

from typing import Any

import pytest

from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console
from tests.journeys.pages import catalog_pages
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]


def test_axe_finds_nothing_serious_on_any_page_of_the_catalog_light_or_dark(walked: Walked, visitor: Console) -> None:
    visitor.page.emulate_media(reduced_motion="reduce")  # no color is measured on its way to another
    found: list[str] = []
    for path in catalog_pages(walked):
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        found += [f"{path} {violation}" for violation in serious(visitor.page, iframes=False)]
    assert found == []


def test_tab_goes_through_a_whole_page_and_out_again(walked: Walked, visitor: Console) -> None:
    for path in catalog_pages(walked):
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        assert missed_by_tab(visitor.page) == [], path
