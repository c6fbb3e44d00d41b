"""In Chromium: a task of the inbox is approved; a data set is recalled by a typed confirmation, and released again."""

import io
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]


def _submitted(platform: RunningPlatform, name: str) -> Any:
    sink = io.BytesIO()
    words = ["apple", "pear", "plum", "fig", "lime", "date", "kiwi", "peach"]
    rows = [f"Sentence {n} is about a {words[n % 8]} in {name}." for n in range(60)]
    pl.DataFrame({"text": rows}).write_parquet(sink)
    body = {"name": name, "version": "1", "ownerTeam": f"team-{name}"}
    entry = platform.post("/catalog/datasets", body)
    files = {"files": (f"{name}.parquet", sink.getvalue())}
    stored = platform._send("POST", f"/catalog/datasets/{entry['id']}/upload", files=files)
    assert platform.finished(f"/catalog/datasets/{entry['id']}/validation")["report"]["passed"]
    platform.post(f"/catalog/datasets/{entry['id']}/submit")
    return stored


def test_a_task_of_the_inbox_is_found_by_its_filters_and_approved(walked: Walked, visitor: Console) -> None:
    _submitted(walked[0], "inbox_words")
    visitor.open("/governance/approvals?ownerTeam=team-inbox_words")
    expect(visitor.field("Owner team")).to_have_value("team-inbox_words")
    visitor.page.get_by_role("table", name="Approvals").get_by_role("link", name="inbox_words 1").click()
    expect(visitor.heading("inbox_words 1")).to_be_visible()
    visitor.field("Notes").fill("Read every row.")
    visitor.button("Approve").click()
    expect(visitor.badge("Approved")).to_be_visible()
    expect(visitor.page.get_by_role("region", name="Versions")).to_contain_text("Current")
    visitor.open("/governance/approvals?ownerTeam=team-inbox_words")
    expect(visitor.page.get_by_text("Nothing waits for a decision")).to_be_visible()


def test_a_recall_needs_the_name_typed_and_can_be_lifted(walked: Walked, visitor: Console) -> None:
    entry = _submitted(walked[0], "recalled_words")
    decision = {"decision": "approve", "digest": entry["digest"]}
    walked[0].post(f"/catalog/datasets/{entry['id']}/versions/1/approve", decision)
    visitor.open(f"/catalog/datasets/{entry['id']}")
    visitor.button("Recall").click()
    visitor.field("Reason").fill("The licence was withdrawn.")
    expect(visitor.button("Recall all of it")).to_be_disabled()
    visitor.field("Type recalled_words to confirm").fill("recalled_words")
    visitor.button("Recall all of it").click()
    expect(visitor.badge("Recalled")).to_be_visible()
    expect(visitor.link("Train on this")).to_have_count(0)
    visitor.button("Lift recall").click()
    expect(visitor.badge("Recalled")).to_have_count(0)
    expect(visitor.link("Train on this")).to_be_visible()
