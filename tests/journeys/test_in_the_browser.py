"""The console on a running platform: the whole journey by hand, and what every page owes its visitor."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Console
from tests.journeys.journey import FINETUNE, PRETRAIN, benchmark, corpus, pairs
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Recipe = dict[str, Any]
Walked = tuple[RunningPlatform, dict[str, Any]]

LISTS = [
    "/", "/catalog/datasets", "/catalog/datasets/new", "/catalog/models", "/catalog/models/new", "/prompts/templates",
    "/prompts/templates/new", "/training/jobs",
    "/training/jobs/new", "/evaluation/runs", "/evaluation/runs/new", "/serving/endpoints", "/serving/endpoints/new",
    "/serving/chat", "/governance/approvals", "/governance/audit", "/nowhere",
]  # fmt: skip
WORK, ROLLOUT = 300_000, 180_000  # milliseconds


def test_the_whole_journey_from_an_upload_to_a_chat_is_walked_in_the_console_alone(visitor: Console) -> None:
    data = [
        visitor.upload("web_corpus", "corpus.parquet", corpus()),
        visitor.upload("web_pairs", "pairs.jsonl", pairs()),
        visitor.upload("web_benchmark", "benchmark.csv", benchmark(), held_out=True),
    ]
    for dataset in data:
        _see_validation_and_approve(visitor, dataset)
    slower = {**PRETRAIN, "epochs": 40, "maxTokens": 400_000}  # long enough to be watched
    base = _train(visitor, "web_base", "From scratch", "web_corpus 1", slower, watched=True)
    _fill_card_and_approve(visitor, base)
    chat = _train(visitor, "web_chat", "Fine-tuning", "web_pairs 1", FINETUNE, base="web_base 1")
    _evaluate(visitor, chat)
    _fill_card_and_approve(visitor, chat)
    _deploy(visitor, "web-chat")
    _chat(visitor, "web-chat")
    _delete_endpoint(visitor, "web-chat")


def test_a_ragged_csv_shows_the_problem_and_the_remedy_and_leaves_nothing_half_done(visitor: Console) -> None:
    ragged = b"question,answer\nWhat is fig?,A fruit.\nWhat is lime?\n"
    visitor.fill_dataset_form("web_ragged", "ragged.csv", ragged)
    visitor.button("Create data set").click()
    notice = visitor.page.get_by_role("alert")
    expect(notice).to_contain_text("Row 2 has 1 cells where the header has 2.")
    expect(notice).to_contain_text("Mend the file and upload it again; nothing was stored.")
    visitor.link("Open it").click()
    expect(visitor.heading("web_ragged 1")).to_be_visible()
    expect(visitor.badge("Draft")).to_be_visible()
    expect(visitor.page.get_by_text("No files yet.").first).to_be_visible()
    expect(visitor.button("Submit for review")).to_be_disabled()

    # The same entry takes a mended file.
    visitor.choose_file("mended.csv", b"question,answer\nWhat is fig?,A fruit.\nWhat is lime?,Green.\n")
    visitor.button("Upload").click()
    expect(visitor.page.get_by_role("region", name="Preview", exact=True)).to_contain_text("Green.")


def test_an_approval_before_the_validation_is_refused_with_the_reason(visitor: Console) -> None:
    visitor.upload("web_hasty", "hasty.jsonl", pairs())
    visitor.button("Submit for review").click()
    visitor.button("Approve").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text(re.compile("validat", re.IGNORECASE))
    expect(visitor.badge("Under review")).to_be_visible()


def test_the_dark_theme_and_korean_are_kept_over_a_reload(visitor: Console) -> None:
    visitor.open("/catalog/datasets")
    html = visitor.page.locator("html")
    visitor.button("Switch to dark mode").click()
    visitor.button("한국어").click()
    for _ in range(2):
        expect(html).to_have_class(re.compile("dark"))
        expect(html).to_have_attribute("lang", "ko")
        expect(visitor.heading("데이터셋")).to_be_visible()
        assert visitor.page.title().startswith("데이터셋")
        visitor.page.reload()
    visitor.button("라이트 모드로 전환").click()
    expect(html).not_to_have_class(re.compile("dark"))


def test_filters_live_in_the_address(visitor: Console) -> None:
    visitor.open("/catalog/datasets")
    visitor.field("Name").fill("corpus")
    visitor.field("Status").select_option(label="Approved")
    expect(visitor.page).to_have_url(re.compile(r"\?(?=.*name=corpus)(?=.*status=approved)"))
    listed = visitor.page.get_by_role("table", name="Data sets").get_by_role("row")
    expect(listed.filter(has_text="corpus").first).to_be_visible()
    expect(listed.filter(has_text="pairs")).to_have_count(0)
    visitor.page.reload()
    expect(visitor.field("Name")).to_have_value("corpus")
    expect(visitor.field("Status")).to_have_value("approved")
    expect(listed.filter(has_text="pairs")).to_have_count(0)
    visitor.open("/catalog/datasets?name=nobody-has-this")
    visitor.button("Clear filters").click()
    expect(visitor.page).to_have_url(re.compile(r"/catalog/datasets$"))
    expect(listed.filter(has_text="pairs").first).to_be_visible()


def test_no_page_makes_the_browser_complain(walked: Walked, visitor: Console) -> None:
    for path in [*LISTS, *_details(walked), f"/serving/chat/{walked[1]['endpoint']['id']}"]:
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        expect(visitor.page.get_by_role("alert")).to_have_count(0)
    assert visitor.refusals == []


def test_no_page_is_wider_than_a_phone(walked: Walked, visitor: Console) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    for path in [*LISTS, *_details(walked)]:
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{path} is {width} wide"


def test_the_keyboard_reaches_the_content_and_the_focus_follows_to_the_new_heading(visitor: Console) -> None:
    visitor.open("/")
    visitor.page.keyboard.press("Tab")
    expect(visitor.link("Skip to content")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("main")).to_be_focused()
    visitor.page.get_by_role("navigation", name="Main navigation").get_by_role("link", name="Models").press("Enter")
    expect(visitor.heading("Models")).to_be_focused()
    visitor.page.get_by_role("link", name="tiny_base").first.press("Enter")
    expect(visitor.heading(re.compile("^tiny_base"))).to_be_focused()


def test_each_detail_page_links_to_its_asset_in_dagster(walked: Walked, visitor: Console) -> None:
    for path in _details(walked):
        visitor.open(path)
        href = visitor.link("Open in Dagster").get_attribute("href")
        assert href is not None
        assert href.startswith("/dagster/assets/")
        assert visitor.page.request.get(visitor.root + href).status == 200


def _details(walked: Walked) -> list[str]:
    platform, made = walked
    job = platform.get("/training/jobs", modelId=made["base"]["id"])[-1]
    return [
        f"/catalog/datasets/{made['datasets']['corpus']['id']}",
        f"/catalog/models/{made['tuned']['id']}",
        f"/training/jobs/{job['id']}",
        f"/evaluation/runs/{made['evaluation']['id']}",
        f"/serving/endpoints/{made['endpoint']['id']}",
    ]


def _see_validation_and_approve(visitor: Console, path: str) -> None:
    visitor.open(path)
    quality = visitor.page.get_by_role("region", name="Quality", exact=True)
    expect(quality).to_contain_text("of 100", timeout=WORK)
    expect(visitor.page.get_by_role("region", name="Personal data")).to_contain_text("Clean")
    visitor.approve()


def _train(
    visitor: Console, name: str, job_type: str, dataset: str, recipe: Recipe, *, base: str = "", watched: bool = False
) -> str:
    """Submit, see the loss (and watch it change without a reload), open the model; the address of its page."""
    visitor.open("/training/jobs/new")
    visitor.field("Job type").select_option(label=job_type)
    visitor.field("Name of the resulting model").fill(name)
    visitor.field("Data set").select_option(label=dataset)
    if base:
        visitor.field("Base model").select_option(label=base)
    visitor.field("More hyperparameters (JSON)").fill(json.dumps(recipe))
    gpu = visitor.page.get_by_role("switch", name="Use GPU")
    if gpu.is_checked():
        gpu.click()
    visitor.button("Submit job").click()
    expect(visitor.heading(f"Training of {name} 1")).to_be_visible()
    expect(visitor.page.get_by_text("Live: updated while the job runs.")).to_be_visible()
    loss = visitor.page.locator('[data-metric="loss"]')
    expect(loss).to_be_visible(timeout=WORK)
    if watched:
        expect(loss).not_to_have_text(loss.inner_text(), timeout=60_000)
    expect(visitor.page.get_by_role("img", name="Loss by training step")).to_be_visible()
    expect(visitor.badge("Succeeded")).to_be_visible(timeout=WORK)
    visitor.link("Open model").click()
    expect(visitor.heading(f"{name} 1")).to_be_visible()
    return visitor.page.url.removeprefix(visitor.root)


def _fill_card_and_approve(visitor: Console, path: str) -> None:
    visitor.open(path)
    visitor.button("Edit card").click()
    for label in ("Purpose", "Scope", "License", "Contact"):
        if not visitor.field(label).input_value():
            visitor.field(label).fill("A journey through the console.")
    visitor.button("Save card").click()
    expect(visitor.button("Edit card")).to_be_visible()
    visitor.approve()


def _evaluate(visitor: Console, model: str) -> None:
    visitor.open(model)
    visitor.link("Evaluate").click()
    visitor.field("Benchmark").select_option(label="web_benchmark 1")
    visitor.button("Start evaluation").click()
    expect(visitor.heading("web_chat 1 on web_benchmark 1")).to_be_visible()
    row = visitor.page.get_by_role("row", name=re.compile("Exact match"))
    expect(row).to_be_visible(timeout=WORK)
    value, _, n = row.get_by_role("cell").all_inner_texts()
    assert 0 <= float(value) <= 1
    assert int(n) == benchmark().count(b"\n") - 1
    expect(visitor.badge("Succeeded")).to_be_visible()


def _deploy(visitor: Console, route: str) -> None:
    visitor.link("Deploy").click()
    visitor.field("Route").fill(route)
    visitor.button("Deploy").click()
    expect(visitor.heading(f"/{route}")).to_be_visible()
    expect(visitor.badge("Healthy")).to_be_visible(timeout=ROLLOUT)


def _chat(visitor: Console, route: str) -> None:
    visitor.page.get_by_role("main").get_by_role("link", name="Chat", exact=True).click()
    visitor.field("Max tokens").fill("12")
    visitor.field("Message").fill("What is apple?")
    with visitor.page.expect_response(re.compile(f"/serve/{route}/chat$")) as asked:
        visitor.field("Message").press("Enter")
    assert asked.value.headers["content-type"].startswith("text/event-stream")
    messages = visitor.page.get_by_role("log", name="Messages")
    expect(messages).to_contain_text(re.compile(r"What is apple\?.*\d+ prompt \+ \d+ completion tokens", re.DOTALL))


def _delete_endpoint(visitor: Console, route: str) -> None:
    visitor.open("/serving/endpoints")
    visitor.link(f"/{route}").click()
    visitor.button("Delete").click()
    visitor.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(visitor.heading("Endpoints")).to_be_visible()
    expect(visitor.link(f"/{route}")).to_have_count(0)
