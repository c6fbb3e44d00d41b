"""The pages of endpoints, in every state: used by hand, for every eye and width, in both languages."""

from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Kind, Status
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, log_tails
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.tables import EventRow, ObservedRow
from tests.api.conftest import api  # noqa: F401  - fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.factories import ADMIN, approved
from tests.gateway.conftest import eventually
from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console
from tests.prompts.prompts import approved_prompt, content
from tests.serving.with_a_cluster import platform  # noqa: F401  - fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
SYSTEM = Actor("system:test")
OLD, NEW = "vllm/vllm-openai:v0.11.0", "vllm/vllm-openai:v0.12.0"
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
TOO_WIDE = """() => {
  const page = document.scrollingElement;
  return page.scrollWidth > innerWidth ? [`${page.scrollWidth} in a window of ${innerWidth}`] : [];
}"""
KEYS = r"() => document.body.innerText.match(/\b(serving|kit|shell|catalog)\.[a-z]\w*/g) ?? []"


def see(platform: Platform, endpoint: str, status: EndpointStatus, detail: str = "", *, ago: float = 0.0) -> None:  # noqa: F811
    """An observation of so many hours ago."""
    revision = 0
    with platform.transaction(SYSTEM) as tx:
        revision = endpoints.get(tx, endpoint).revision
        url = "http://127.0.0.1:9" if status is EndpointStatus.HEALTHY else None
        seen = Observation(endpoint_id=UUID(endpoint), revision=revision, status=status, detail=detail, base_url=url,
                           ready=int(url is not None), total=1)  # fmt: skip
        endpoints.observe(tx, seen)
    with platform.transaction(SYSTEM) as tx:
        recent = EventRow.at > ObservedRow.checked_at - timedelta(seconds=30)
        by = timedelta(hours=ago)
        mine = (EventRow.endpoint_id == UUID(endpoint), ObservedRow.endpoint_id == UUID(endpoint))
        earlier = update(EventRow).where(*mine, recent).values(at=EventRow.at - by)
        tx.session.execute(earlier, execution_options={"synchronize_session": False})


@pytest.fixture
def made(platform: Platform, api: httpx.Client) -> dict[str, str]:  # noqa: F811
    """Ids of an endpoint with a history in staging, one in development, and one of a withdrawn model."""
    first = approved(platform, Kind.MODEL, "tiny")
    second = approved(platform, Kind.MODEL, "tiny", version="2", files={"w.bin": b"2"})
    gone = approved(platform, Kind.MODEL, "a_model_with_quite_a_long_name_for_a_phone", files={"w.bin": b"3"})

    def deploy(model: object, environment: str, **asked: object) -> str:
        body = {"modelId": str(model), "environment": environment, "route": "support", "servingRuntimeImage": OLD,
                "rollbackPlan": "1. Roll back.\n2. Tell #support.", **asked}  # fmt: skip
        answer = api.post("/serving/endpoints", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["id"])

    dev = deploy(first.id, "dev", servingRuntimeImage=NEW)
    why = {"servingRuntimeImage": "staging moves to the new image next week"}
    stg = deploy(gone.id, "stg", parityReasons=why)
    deploy(first.id, "stg", note="the first that answers in Korean")
    scaled = {"maxReplicas": 3, "autoscalePolicy": {"cpuUtilization": 60}}
    changed = {**scaled, "parityReasons": {"autoscalePolicy": "more is asked of it"}}
    assert api.patch(f"/serving/endpoints/{stg}", json=changed).status_code == 200
    deploy(second.id, "stg", **scaled)
    deploy(first.id, "dev", route="alone", backend="local", servingRuntimeImage=None)
    for ago, status, detail in (
        (20, EndpointStatus.DEPLOYING, "pulling the image"), (19, EndpointStatus.HEALTHY, ""),
        (9, EndpointStatus.FAILED, "out of memory: ask for more, or serve a smaller model"),
        (8, EndpointStatus.HEALTHY, ""), (2, EndpointStatus.DEGRADED, "1 of 3 replicas are ready"),
        (1, EndpointStatus.HEALTHY, ""),
    ):  # fmt: skip
        see(platform, stg, status, detail, ago=ago)
    see(platform, dev, EndpointStatus.FAILED, "the image cannot be pulled: check its name, or try another image")
    with platform.transaction(ADMIN) as tx:
        approvals.change_status(tx, gone.id, Status.DEPRECATED)
    api.patch(f"/serving/endpoints/{dev}", json={"useGpu": True})
    return {"stg": stg, "dev": dev, "first": str(first.id), "second": str(second.id)}


def pages(made: dict[str, str]) -> list[str]:
    return [
        "/serving/endpoints", "/serving/endpoints?environment=stg&status=healthy", "/serving/endpoints?route=nothing",
        f"/serving/endpoints/{made['stg']}?window=7d", f"/serving/endpoints/{made['dev']}",
        f"/serving/endpoints/{made['stg']}/policy", f"/serving/endpoints/{made['stg']}/edit",
        f"/serving/endpoints/new?modelId={made['second']}&environment=stg",
    ]  # fmt: skip


def test_an_endpoint_is_compared_with_an_earlier_revision_and_goes_back_to_it(
    made: dict[str, str], visitor: Console, api: httpx.Client  # noqa: F811
) -> None:
    visitor.open(f"/serving/endpoints/{made['stg']}")
    revisions = visitor.page.get_by_role("region", name="Revisions")
    expect(revisions).to_contain_text("the first that answers in Korean")
    expect(revisions).to_contain_text("Its model or its prompt is no longer approved.")
    visitor.button("Compare revision 2 with the current one").click()
    diff = visitor.page.get_by_role("region", name="Revision 2 compared with revision 4")
    expect(diff.get_by_role("row", name="Max replicas")).to_contain_text("1")
    visitor.button("Roll back to revision 2").click()
    asked = visitor.page.get_by_role("dialog", name="Roll back to revision 2?")
    asked.get_by_label("Why").fill("answers got worse")
    asked.get_by_role("button", name="Roll back", exact=True).click()
    expect(revisions).to_contain_text("Rolled back to revision 2")
    expect(revisions).to_contain_text("answers got worse")
    assert api.get(f"/serving/endpoints/{made['stg']}").json()["data"]["version"] == "1"


def test_its_health_is_a_timeline_whose_window_is_in_the_address(made: dict[str, str], visitor: Console) -> None:
    visitor.open(f"/serving/endpoints/{made['stg']}")
    health = visitor.page.get_by_role("region", name="Health history")
    expect(health).to_contain_text("out of memory")
    expect(health.get_by_role("img", name="States in this time")).to_be_visible()
    health.get_by_role("button", name="1 h", exact=True).click()
    visitor.page.wait_for_url("**window=1h")
    expect(health).not_to_contain_text("out of memory")


def test_a_page_says_why_nothing_is_scheduled_why_an_image_fails_and_what_helps(
    made: dict[str, str], visitor: Console, platform: Platform  # noqa: F811
) -> None:
    nowhere = "no node has room: 3 Insufficient nvidia.com/gpu; redeploy with useGpu false, or wait until a GPU is free"
    see(platform, made["dev"], EndpointStatus.DEPLOYING, nowhere)
    visitor.open(f"/serving/endpoints/{made['dev']}")
    expect(visitor.badge("Deploying")).to_be_visible()
    expect(visitor.page.get_by_role("status").filter(has_text=nowhere)).to_be_visible()
    see(platform, made["dev"], EndpointStatus.FAILED, "the image cannot be pulled: try another image")
    visitor.button("Refresh").click()
    expect(visitor.badge("Failed")).to_be_visible()
    expect(visitor.page.get_by_role("status").filter(has_text="try another image")).to_be_visible()


def test_settings_are_changed_and_what_differs_below_asks_for_its_reason(
    made: dict[str, str], visitor: Console, api: httpx.Client  # noqa: F811
) -> None:
    visitor.open(f"/serving/endpoints/{made['stg']}/edit")
    expect(visitor.button("Change")).to_be_disabled()
    visitor.field("Memory reserved").fill("8Gi")
    visitor.button("Change").click()
    reason = visitor.field("Reason: Memory reserved")
    expect(reason).to_be_visible()
    reason.fill("staging holds the whole context")
    visitor.field("Why").fill("long documents")
    visitor.button("Change").click()
    expect(visitor.heading("/support")).to_be_visible()
    parity = visitor.page.get_by_role("region", name="Environment parity")
    expect(parity).to_contain_text("staging holds the whole context")
    assert api.get(f"/serving/endpoints/{made['stg']}").json()["data"]["memoryRequest"] == "8Gi"


def test_a_change_from_an_older_revision_is_refused_and_begun_again(
    made: dict[str, str], visitor: Console, api: httpx.Client, platform: Platform  # noqa: F811
) -> None:
    approved_prompt(platform, "polite", content("Be polite:"))
    visitor.open(f"/serving/endpoints/{made['dev']}/edit")
    api.patch(f"/serving/endpoints/{made['dev']}", json={"maxReplicas": 2})
    visitor.field("Prompt").select_option("polite 1")
    visitor.button("Change").click()
    expect(visitor.page.get_by_role("alert").first).to_contain_text("by now, not")
    visitor.button("Begin from it").click()
    expect(visitor.field("Max replicas")).to_have_value("2")
    visitor.field("Prompt").select_option("polite 1")
    visitor.button("Change").click()
    expect(visitor.heading("/support")).to_be_visible()
    visitor.link("polite 1").click()
    expect(visitor.heading("polite 1")).to_be_visible()


def test_the_policy_of_a_route_is_changed_by_the_keyboard_and_a_wrong_stand_in_stands_beside_its_field(
    made: dict[str, str], visitor: Console, api: httpx.Client  # noqa: F811
) -> None:
    visitor.open(f"/serving/endpoints/{made['stg']}")
    policy = visitor.page.get_by_role("region", name="Policy")
    expect(policy).to_contain_text("Calls pass without bounds of the route’s own.")
    policy.get_by_role("link", name="Change policy").press("Enter")
    expect(visitor.heading("Policy of /support")).to_be_visible()
    expect(visitor.button("Change")).to_be_disabled()
    visitor.field("Timeout (s)").fill("12.5")
    visitor.field("Most tokens of an answer").fill("256")
    visitor.page.get_by_role("checkbox", name="Mask what is sent").press("Space")
    visitor.field("Fallback route").fill("nowhere")
    visitor.page.keyboard.press("Enter")
    wrong = visitor.page.get_by_text("there is no route 'nowhere'. Deploy a model to it first.")
    expect(wrong.first).to_be_visible()
    expect(visitor.field("Fallback route")).to_have_attribute("aria-invalid", "true")
    visitor.field("Fallback route").fill("alone")
    visitor.page.keyboard.press("Enter")

    expect(visitor.heading("/support")).to_be_visible()
    for words in ("/alone", "12.5", "256", "masked"):
        expect(policy).to_contain_text(words)
    told = {"fallbackRoute": "alone", "timeoutSeconds": 12.5, "maxTokens": 256, "maskInput": True, "maskOutput": False}
    assert told.items() <= api.get("/serving/routes/support/policy").json()["data"].items()


def test_only_what_was_changed_of_a_policy_is_sent_and_emptied_fields_take_it_away(
    made: dict[str, str], visitor: Console, api: httpx.Client  # noqa: F811
) -> None:
    api.patch("/serving/routes/support/policy", json={"maxTokens": 64, "cacheSeconds": 60})
    visitor.open(f"/serving/endpoints/{made['stg']}/policy")
    expect(visitor.field("Most tokens of an answer")).to_have_value("64")
    api.patch("/serving/routes/support/policy", json={"timeoutSeconds": 5})
    visitor.field("Most tokens of an answer").fill("")
    visitor.button("Change").click()
    expect(visitor.heading("/support")).to_be_visible()
    told = api.get("/serving/routes/support/policy").json()["data"]
    assert (told["maxTokens"], told["cacheSeconds"], told["timeoutSeconds"]) == (None, 60, 5.0)


def test_a_model_is_deployed_with_the_choices_of_its_backend_alone(
    made: dict[str, str], visitor: Console, api: httpx.Client  # noqa: F811
) -> None:
    visitor.open(f"/serving/endpoints/new?modelId={made['second']}")
    backend = visitor.field("Backend")
    expect(backend.locator("option")).to_have_text(["Kubernetes", "This machine", "KServe"])
    image = visitor.field("Runtime image")
    assert not any("v0.11.0" in text and "vllm-openai" in text for text in image.locator("option").all_inner_texts())
    visitor.field("Device").select_option("GPU")
    expect(image.locator("option").filter(has_text="vllm/vllm-openai")).not_to_have_count(0)
    backend.select_option("This machine")
    expect(image).to_have_count(0)
    backend.select_option("KServe")
    visitor.field("GPUs a replica").fill("2")
    expect(visitor.field("Scale at CPU %")).to_be_visible()
    visitor.field("KServe mode").select_option("Knative")
    expect(visitor.field("Scale at CPU %")).to_have_count(0)
    visitor.field("Scale at calls at once").fill("8")
    visitor.field("Device").select_option("CPU only")
    expect(visitor.field("GPUs a replica")).to_have_count(0)
    visitor.field("Runtime image").select_option("Another image…")
    visitor.field("Image").fill(OLD)
    visitor.field("Environment").select_option("Staging (stg)")
    visitor.field("Route").fill("support")
    expect(visitor.field("Rollback plan")).to_have_attribute("required", "")
    visitor.field("Rollback plan").fill("back to the last one")
    for field in ("Backend", "GPU", "Scaling"):
        visitor.field(f"Reason: {field}").fill("KServe is being tried in staging")
    visitor.button("Deploy").click()
    expect(visitor.heading("/support")).to_be_visible()
    told = api.get(f"/serving/endpoints/{made['stg']}").json()["data"]
    assert (told["backend"], told["runtimeImage"], told["useGpu"], told["gpuCount"]) == ("kserve", OLD, False, None)
    assert (told["kserveMode"], told["autoscalePolicy"]["concurrency"]) == ("knative", 8)


def test_a_log_is_followed_when_somebody_asks_for_it(
    made: dict[str, str], visitor: Console, platform: Platform  # noqa: F811
) -> None:
    visitor.open(f"/serving/endpoints/{made['stg']}")
    visitor.button("Follow").click()
    log = visitor.page.get_by_role("log", name="Log")
    expect(log).to_contain_text("Waiting for the agent")

    def is_wanted() -> bool:
        with platform.transaction(SYSTEM) as tx:
            return UUID(made["stg"]) in log_tails.wanted(tx)

    eventually(is_wanted, seconds=20)  # the page says so before the API has heard it
    with platform.transaction(SYSTEM) as tx:
        log_tails.keep(tx, UUID(made["stg"]), 4, "loading the model\nready")
    expect(log).to_contain_text("ready")


def test_the_list_is_filtered_in_the_address(made: dict[str, str], visitor: Console) -> None:
    visitor.open("/serving/endpoints")
    rows = visitor.page.get_by_role("row")
    expect(rows).to_have_count(4)
    visitor.field("Environment").select_option("stg")
    expect(rows).to_have_count(2)
    visitor.field("Environment").select_option("Any")
    visitor.field("Route").fill("alo")
    visitor.page.wait_for_url("**route=alo")
    expect(rows).to_have_count(2)
    visitor.field("Route").fill("")
    visitor.field("Model").select_option("tiny 2")
    visitor.page.wait_for_url(f"**modelId={made['second']}")
    expect(rows).to_have_count(2)


def test_the_pages_are_for_every_eye_hand_width_and_language(made: dict[str, str], visitor: Console) -> None:
    found: list[str] = []
    for path in pages(made):
        _open(visitor, path)
        found += [f"{path} {violation}" for violation in serious(visitor.page, iframes=False)]
        found += [f"{path} missed by tab: {missed}" for missed in missed_by_tab(visitor.page)]
    for language in ("en", "ko"):
        visitor.page.add_init_script(f"localStorage.setItem('llmops-locale', '{language}')")
        for path in pages(made):
            _open(visitor, path)
            for size in (WIDE, NARROW):
                visitor.page.set_viewport_size(size)  # type: ignore[arg-type]
                found += [f"{path} {language}: {words}" for words in visitor.page.evaluate(TOO_WIDE)]
                found += [f"{path} {language}: {key}" for key in visitor.page.evaluate(KEYS)]
    assert not found, "\n".join(found)


def _open(visitor: Console, path: str) -> None:
    visitor.open(path)
    _settle(visitor.page)


def _settle(page: Page) -> None:
    page.wait_for_function("() => !document.querySelector('main [aria-busy=true], main [data-slot=skeleton]')")
