"""Two versions of a data set are compared in the console."""

from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


def test_two_versions_are_compared_with_their_changed_cells_marked(
    walked: tuple[RunningPlatform, dict[str, Any]], visitor: Console
) -> None:
    client, name = walked[0].client, f"compared_{uuid4().hex[:8]}"
    older = "id,text,n\n" + "".join(f"{i},문장 {i},{i % 5}\n" for i in range(60))
    newer = "id,text,n,more\n" + "".join(f"{i},문장 {i},{99 if i < 5 else i % 5},x\n" for i in range(3, 64))
    for version, content in (("1", older), ("2", newer)):
        body = {"name": name, "version": version, "ownerTeam": "tests"}
        entry = client.post("/catalog/datasets", json=body).raise_for_status().json()["data"]
        files = {"files": ("rows.csv", content.encode())}
        client.post(f"/catalog/datasets/{entry['id']}/upload", files=files).raise_for_status()
    visitor.open(f"/catalog/datasets/{entry['id']}")
    expect(visitor.page.get_by_role("region", name="Preview", exact=True)).to_contain_text("문장 3")
    visitor.link("Compare with version 1").click()
    expect(visitor.heading(f"Compare {name} 2")).to_be_visible()
    key = visitor.page.get_by_label("Key columns")
    key.fill("id")
    rows = visitor.page.get_by_role("region", name="Changed rows", exact=True)
    expect(rows.get_by_role("button", name="Modified (2)")).to_have_attribute("aria-pressed", "true")
    expect(rows.get_by_role("deletion").first).to_contain_text("3")
    expect(rows.get_by_role("insertion").first).to_contain_text("99")
    expect(visitor.page.get_by_role("region", name="Columns", exact=True)).to_contain_text("Added · string")
