"""A schedule is made, rests, goes on and is deleted in the console."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.evaluation.reviewing import benchmark
from tests.factories import uploaded
from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_schedule_is_made_paused_resumed_and_deleted(visitor: Console, platform: Platform, tmp_path: Path) -> None:
    benchmark(platform)
    uploaded(platform, Kind.MODEL, "tiny")
    page = visitor.page
    page.goto(f"{visitor.root}/evaluation/schedules")
    expect(page.get_by_text("No schedules yet")).to_be_visible()
    page.get_by_role("button", name="New schedule").click()
    page.get_by_label("Model").select_option("tiny")
    page.get_by_label("Benchmark").select_option("exam")
    page.get_by_label("Time zone").fill("Asia/Seoul")
    page.get_by_label("Times (cron)").fill("every night")
    page.get_by_role("button", name="Create schedule").click()
    expect(page.get_by_text("has not five fields").first).to_be_visible()
    page.get_by_label("Times (cron)").fill("30 4 * * 1")
    page.screenshot(path=tmp_path / "form.png", full_page=True)
    assert serious(page, iframes=False) == []
    page.get_by_role("button", name="Create schedule").click()
    row = page.get_by_role("row").filter(has_text="tiny")
    expect(row).to_contain_text("30 4 * * 1")
    assert serious(page, iframes=False) == []
    page.reload()  # Tab begins where the form was
    expect(row).to_be_visible()
    assert missed_by_tab(page) == []
    row.get_by_role("button", name="Pause the schedule of tiny").click()
    expect(row).to_contain_text("Paused")
    page.screenshot(path=tmp_path / "list.png", full_page=True)
    row.get_by_role("button", name="Resume the schedule of tiny").click()
    expect(row).not_to_contain_text("Paused")
    row.get_by_role("button", name="Delete the schedule of tiny").click()
    expect(page.get_by_text("No schedules yet")).to_be_visible()
