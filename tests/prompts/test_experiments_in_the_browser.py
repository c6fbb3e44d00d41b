"""Experiments and bindings in the console: planned, run, looked at while users come, concluded, bound, rolled back."""

import re
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from llmops_assets.looking import look
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.prompts.experiments import observations
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from llmops_resources.values import utc_now
from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.gateway.records import a_record, book
from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console
from tests.prompts.prompts import approved_prompt, content

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
#: A message that has no words shows its key.
KEYS = r"() => document.body.innerText.match(/\b(prompts|kit|shell|catalog)\.[a-z]\w*/g) ?? []"

KOREAN_AND_DARK = "localStorage.setItem('llmops-locale', 'ko'); localStorage.setItem('vueuse-color-scheme', 'dark')"


@pytest.fixture
def prompts(platform: Platform) -> list[str]:
    """A served route and two approved versions."""
    model = factories.approved(platform, Kind.MODEL, "m", files={"model.safetensors": b"weights"})
    with platform.transaction(factories.ADMIN) as tx:
        endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="support")
    return [str(approved_prompt(platform, "answers", content(f"Way {n}:")).id) for n in (1, 2)]


def come(platform: Platform, experiment: str, users: int, seed: int, *, liked: float = 0.72) -> None:
    """So many users of each variant, who may like the challenger better."""
    rng = np.random.default_rng(seed)
    with platform.transaction(Actor("system:gateway")) as tx:
        for variant, share in (("control", 0.5), ("challenger", liked)):
            calls = [
                a_record(
                    experiment_id=UUID(experiment), subject=uuid4().hex, allocation=1, variant=variant, at=utc_now(),
                    latency_ms=float(rng.lognormal(6, 0.4)), amount=Decimal(float(rng.uniform(0.001, 0.002))),
                )
                for _ in range(users)
            ]  # fmt: skip
            book(tx, calls)
            for call in calls:
                observations.rate(tx, call.experiment_id, call.subject, variant, float(rng.random() < share))


def begun(api: httpx.Client, prompts: list[str], name: str, **fields: str) -> str:
    """A running experiment's id."""
    variants = [{"name": name, "promptId": each} for name, each in zip(("control", "challenger"), prompts, strict=True)]
    body = {"name": name, "route": "support", "variants": variants, **fields}
    made: str = api.post("/prompts/experiments", json=body).json()["data"]["id"]
    assert api.post(f"/prompts/experiments/{made}/start").status_code == 200
    return made


def looks_right(visitor: Console, picture: Path) -> None:
    """Words for everything, and nothing that an accessibility check holds serious."""
    assert visitor.page.evaluate(KEYS) == []
    assert serious(visitor.page, iframes=False) == []
    visitor.page.screenshot(path=picture, full_page=True)


def test_an_experiment_is_planned_run_watched_and_concluded(
    visitor: Console, platform: Platform, prompts: list[str], tmp_path: Path
) -> None:
    page = visitor.page
    visitor.open("/prompts/experiments")
    expect(page.get_by_text("No experiments yet")).to_be_visible()
    visitor.link("New experiment").first.click()
    expect(visitor.heading("New experiment")).to_be_visible()
    visitor.field("Experiment").fill("Kinder words")
    visitor.field("Route").select_option("support")
    visitor.field("Hypothesis").fill("People like kind answers.")
    visitor.field("Prompt of variant 1").select_option(prompts[0])
    visitor.field("Prompt of variant 2").select_option(prompts[0])
    visitor.button("Plan the experiment").click()
    expect(page.get_by_text("is compared with itself").first).to_be_visible()
    visitor.field("Prompt of variant 2").select_option(prompts[1])
    looks_right(visitor, tmp_path / "create.png")
    visitor.button("Plan the experiment").click()

    expect(visitor.heading("Kinder words")).to_be_visible()
    expect(page.get_by_text("Not started yet")).to_be_visible()
    experiment = page.url.rsplit("/", 1)[1]
    visitor.button("Start").click()
    expect(visitor.badge("Running")).to_be_visible()
    expect(page.get_by_text("Too early to tell")).to_be_visible()
    for number in range(5):
        come(platform, experiment, 12 + 6 * number, number, liked=0.55)
        look(platform)
    expect(page.get_by_text("Users arrive as planned")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Effect of challenger: .* after 240 users"))).to_be_visible()
    expect(page.get_by_role("table", name="Guard rails")).to_contain_text("Error rate")
    looks_right(visitor, tmp_path / "running.png")
    come(platform, experiment, 250, 9)
    look(platform)
    expect(visitor.badge("Stopped")).to_be_visible()
    expect(page.get_by_text("Adopt challenger")).to_be_visible()
    expect(page.get_by_text("Ended: a variant was surely better")).to_be_visible()

    visitor.field("Winner").select_option("control")
    expect(page.get_by_text("This goes against the recommendation")).to_be_visible()
    visitor.field("Winner").select_option("challenger")
    visitor.field("Reason").fill("They like it.")
    visitor.button("Conclude").click()
    expect(visitor.badge("Concluded")).to_be_visible()
    expect(page.get_by_role("region", name="Outcome")).to_contain_text("They like it.")
    looks_right(visitor, tmp_path / "concluded.png")
    assert missed_by_tab(page) == []


def test_outcomes_are_found_in_the_list_and_a_winner_is_rolled_back_where_it_is_bound(
    visitor: Console, platform: Platform, api: httpx.Client, prompts: list[str], tmp_path: Path
) -> None:
    made = begun(api, prompts, "Kinder words")
    come(platform, made, 100, 1)
    conclusion = {"winner": "challenger", "notes": "They like it."}
    assert api.post(f"/prompts/experiments/{made}/conclude", json=conclusion).status_code == 200
    page = visitor.page
    visitor.open("/prompts/experiments?state=concluded")
    row = page.get_by_role("row").filter(has_text="Kinder words")
    expect(row).to_contain_text("challenger won")
    looks_right(visitor, tmp_path / "list.png")
    visitor.field("Experiment").fill("else")
    expect(page).to_have_url(re.compile("name=else"))
    expect(page.get_by_text("No experiment matches these filters")).to_be_visible()

    visitor.open(f"/prompts/templates/{prompts[1]}")
    bound = page.get_by_role("list", name="Served at")
    expect(bound).to_contain_text("Version 2, by local-admin")
    assert page.evaluate(KEYS) == []
    page.screenshot(path=tmp_path / "bound.png", full_page=True)
    visitor.button("Roll back support").click()
    expect(page.get_by_text("No route is bound to it.")).to_be_visible()
    visitor.field("Route").select_option("support")
    visitor.button("Bind version 2").click()
    expect(bound).to_contain_text("support")


def test_the_pages_speak_korean_and_are_seen_in_the_dark(
    visitor: Console, platform: Platform, api: httpx.Client, prompts: list[str], tmp_path: Path
) -> None:
    made = begun(api, prompts, "비교", allocation="thompson")
    come(platform, made, 40, 1)
    look(platform)
    page = visitor.page
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.add_init_script(KOREAN_AND_DARK)
    pages = (("", "프롬프트 실험"), ("/new", "새 실험"), (f"/{made}", "비교"))
    for path, words in ((f"/prompts/experiments{rest}", words) for rest, words in pages):
        visitor.open(path)
        expect(visitor.heading(words)).to_be_visible()
        if path.endswith(made):
            expect(page.get_by_text("사용자가 계획대로 들어옵니다")).to_be_visible()
        looks_right(visitor, tmp_path / f"ko-{path.rsplit('/', 1)[1][:8]}.png")
