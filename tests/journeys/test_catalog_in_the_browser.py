"""User story 1 in the console: models and data sets are registered, revised, found, refused, taken back and removed."""

import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform
from tests.model_files import model_files

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]
DROP = """(zone, [name, text]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], name));
  zone.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
}"""
CLEAN = "id,text\n" + "".join(f"{n},Sentence {n} is about fruit number {n * 7 % 31}.\n" for n in range(1, 40))
CALL = "Call me at 010-1234-5678 or kim@example.com"


@pytest.fixture
def name() -> str:
    return f"web_{uuid4().hex[:8]}"


def test_a_model_is_registered_mended_reviewed_found_deprecated_and_deleted(
    walked: Walked, visitor: Console, name: str
) -> None:
    path = _register(visitor, name)
    files = [("files", item) for item in model_files().items()]
    walked[0]._send("POST", f"{path}/upload", files=files)
    visitor.open(path)
    _mend(visitor)
    kept = walked[0].get(path)["metadata"]
    card = {"purpose": "answers", "scope": "tests", "license": "tests", "contact": "tests"}
    assert kept == {**card, "tags": ["small", "한국어"], "seed": 7}
    _review(visitor)
    _find(visitor, name)
    _retire(visitor, name)


def test_a_next_version_with_personal_data_is_compared_and_not_approved(visitor: Console, name: str) -> None:
    first = visitor.upload(name, "rows.csv", CLEAN.encode())
    preview = _region(visitor, "Preview")
    expect(preview).to_contain_text("39 rows · 2 columns")
    expect(preview.get_by_role("columnheader", name="id integer")).to_be_visible()
    preview.get_by_role("button", name="Next").click()
    expect(preview).to_contain_text("Rows 11–20 of 39")

    visitor.link("New version").click()
    expect(visitor.heading(f"New version of {name}")).to_be_visible()
    expect(visitor.field("Version")).to_have_value("2")
    visitor.field("Change log").fill("Calls came in.")
    zone = visitor.page.locator("label").filter(has=visitor.page.get_by_label("Drop files here or choose them"))
    zone.evaluate(DROP, ["notes.docx", "no"])
    expect(visitor.page.get_by_role("alert")).to_contain_text("Not taken: notes.docx")
    zone.evaluate(DROP, ["calls.csv", CLEAN + "".join(f"{n},{CALL}\n" for n in range(40, 44))])
    expect(visitor.page.get_by_role("list", name="Chosen files")).to_contain_text("calls.csv")
    visitor.button("Create data set").click()
    expect(visitor.heading(f"{name} 2")).to_be_visible()

    found = visitor.page.get_by_role("region", name="Personal data")
    expect(found).to_contain_text("PHONE_NUMBER", timeout=300_000)
    expect(found).to_contain_text("in text, row 40")
    expect(found).not_to_contain_text("010-1234-5678")
    expect(_region(visitor, "Validation")).to_contain_text("Recommendations")
    visitor.button("Submit for review").click()
    visitor.button("Approve").click()
    expect(visitor.page.get_by_role("alert").last).to_contain_text("Personal data was found")
    expect(visitor.badge("Under review")).to_be_visible()
    expect(visitor.link("Train on this")).to_have_count(0)
    visitor.link("Compare with version 1").click()
    expect(visitor.page.get_by_role("button", name=re.compile(r"Added \(4\)"))).to_be_visible()

    visitor.open(f"/catalog/datasets?name={name}")
    listed = visitor.page.get_by_role("table", name="Data sets").get_by_role("row")
    expect(listed).to_have_count(3)
    visitor.field("PII status").select_option(label="Failed")
    expect(listed).to_have_count(2)
    visitor.field("PII status").select_option(label="Any")
    visitor.field("Version").fill("1")
    expect(visitor.page).to_have_url(re.compile("version=1"))
    expect(listed).to_have_count(2)
    visitor.field("Minimum quality").fill("1")
    visitor.field("Maximum quality").fill("2")
    expect(visitor.page.get_by_text("Nothing matches these filters")).to_be_visible()
    visitor.open(f"/catalog/datasets?name={name}&version=1&maxQuality=100")
    visitor.link(name).click()
    expect(visitor.page).to_have_url(visitor.root + first)


def test_what_is_needed_is_not_deleted_and_says_by_what(walked: Walked, visitor: Console) -> None:
    visitor.open(f"/catalog/models/{walked[1]['tuned']['id']}")
    lineage = _region(visitor, "Lineage")
    for parent in ("pairs", "tiny_base", "corpus"):
        expect(lineage.get_by_role("link", name=parent)).to_be_visible()
    assert lineage.locator("svg path").count() >= 3
    visitor.button("Delete").click()
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog.get_by_role("list", name="It cannot be deleted yet:")).to_contain_text("dev/tiny-chat")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    visitor.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(visitor.button("Delete")).to_be_focused()


def _region(visitor: Console, name: str) -> Locator:
    return visitor.page.get_by_role("region", name=name, exact=True)


def _register(visitor: Console, name: str) -> str:
    visitor.open("/catalog/models/new")
    visitor.field("Name").fill(name)
    visitor.field("Owner team").fill(f"team-{name}")
    visitor.field("Purpose").fill("answers")
    metadata = visitor.field("Metadata (JSON)")
    metadata.fill('{"tags": [')
    expect(visitor.page.get_by_text("This is not a JSON object.")).to_be_visible()
    metadata.fill('{"tags": ["small"]}')
    visitor.page.get_by_role("checkbox", name="corpus 1").check()
    visitor.button("Create model").click()
    expect(visitor.heading(f"{name} 1")).to_be_visible()
    expect(visitor.badge("Draft")).to_be_visible()
    expect(_region(visitor, "Lineage").get_by_role("link", name="corpus")).to_be_visible()
    return visitor.page.url.removeprefix(visitor.root)


def _mend(visitor: Console) -> None:
    visitor.button("Submit for review").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("metadata.scope")
    visitor.button("Edit metadata").click()
    visitor.field("Metadata (JSON)").fill('{"tags": ["small", "한국어"], "seed": 7}')
    visitor.button("Save metadata").click()
    expect(visitor.page.get_by_role("region", name="Metadata (JSON)")).to_contain_text("한국어")
    visitor.button("Edit card").click()
    for field in ("Scope", "License", "Contact"):
        visitor.field(field).fill("tests")
    visitor.button("Save card").click()
    expect(visitor.button("Edit card")).to_be_visible()


def _review(visitor: Console) -> None:
    visitor.button("Submit for review").click()
    visitor.field("Notes").fill("Say more of its scope.")
    visitor.button("Request changes").click()
    expect(visitor.badge("Draft")).to_be_visible()
    visitor.button("Submit for review").click()
    visitor.button("Reject").click()
    expect(visitor.badge("Rejected")).to_be_visible()
    visitor.button("Back to draft").click()
    expect(visitor.badge("Draft")).to_be_visible()
    visitor.approve()


def _find(visitor: Console, name: str) -> None:
    visitor.link("Models").first.click()
    visitor.field("Owner team").fill(f"team-{name}")
    visitor.field("Type").select_option(label="Base")
    visitor.field("Status").select_option(label="Approved")
    expect(visitor.page).to_have_url(re.compile(rf"\?(?=.*ownerTeam=team-{name})(?=.*type=base)(?=.*status=approved)"))
    expect(visitor.page.get_by_role("table", name="Models").get_by_role("row")).to_have_count(2)
    visitor.link(name).click()
    expect(visitor.heading(f"{name} 1")).to_be_visible()


def _retire(visitor: Console, name: str) -> None:
    visitor.button("Deprecate").click()
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Deprecate")).to_be_disabled()
    dialog.get_by_label("Reason").fill("Superseded.")
    dialog.get_by_role("button", name="Deprecate").click()
    expect(visitor.badge("Deprecated")).to_be_visible()
    expect(visitor.link("Deploy")).to_have_count(0)
    visitor.button("Delete").click()
    expect(dialog).to_contain_text("Nothing needs it.")
    dialog.get_by_role("button", name="Delete").click()
    expect(visitor.heading("Models")).to_be_visible()
    expect(visitor.link(name)).to_have_count(0)
