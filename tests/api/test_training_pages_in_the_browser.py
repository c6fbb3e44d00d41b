"""The pages of training with a job in every state, and the form for evaluations: for every eye, hand and width."""

import math
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Page

from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import jobs, queueing
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.failures import JobFailed, RootCause, cause
from tests.api.measuring import measured, said, submitted
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.factories import CARD, approved, stored
from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
SYSTEM = Actor("system:test")
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
#: What reaches beyond the window and cannot be scrolled to inside a box of its own.
TOO_WIDE = """() => {
  const page = document.scrollingElement;
  return page.scrollWidth > innerWidth ? [`${page.scrollWidth} in a window of ${innerWidth}`] : [];
}"""
#: A message that has no words shows its key.
KEYS = r"() => document.body.innerText.match(/\b(training|evaluation|kit|shell|catalog)\.[a-z]\w*/g) ?? []"


@pytest.fixture
def pages(api: httpx.Client, platform: Platform) -> list[str]:
    """Addresses of every page of training, with jobs that succeeded, failed, run and wait."""
    dataset = approved(platform, Kind.DATASET, "facts")
    approved(platform, Kind.DATASET, "questions", benchmark=True)
    approved(platform, Kind.MODEL, "base", files={"model.safetensors": b"weights"})
    made, twin, broken, runs = (
        submitted(api, dataset, name, seed=seed)
        for seed, name in enumerate(["made", "made_again", "broken", "a_model_with_quite_a_long_name_for_a_phone"])
    )
    for job, worst in ((made, 6.0), (twin, 5.5), (broken, 0.0), (runs, 6.5)):
        start(platform, job)  # one after the other: there is one place on this machine
        if job is broken:
            said(platform, job, "Traceback (most recent call last):", "ValueError: " + "no_space_" * 30)
            with platform.transaction(SYSTEM) as tx:
                why = JobFailed(cause(RootCause.DATA_ERROR, "there is no column nowhere"))
                jobs.fail_because(tx, UUID(job), "run", why)
            continue
        measured(api, job, "loss", *(worst * math.exp(-step / 20) + 1 for step in range(60)))
        measured(api, job, "learning_rate", *(0.01 * (1 - step / 60) for step in range(60)))
        measured(api, job, "system/memory_bytes", *(5e8 + step * 1e6 for step in range(60)), unit="bytes")
        said(platform, job, *(f"step {step} of 60: loss {worst - step / 60:.3f}" for step in range(60)))
        if job is not runs:
            finish(platform, job)
    with platform.transaction(SYSTEM) as tx:
        jobs.report_progress(tx, UUID(runs), 0.4, "step 24 of 60", run_id="run")
    waits = submitted(api, dataset, "waits")
    return [
        "/training/jobs", "/training/queue", "/training/jobs/new", "/training/jobs?status=queued",
        *(f"/training/jobs/{job}" for job in (made, broken, runs, waits)),
        "/experiments", *(f"/experiments/{job}" for job in (made, broken)), f"/experiments/compare?ids={made},{twin}",
        "/experiments/compare", "/evaluation/runs/new",
    ]  # fmt: skip


def test_axe_finds_nothing_serious_on_any_page_of_training_light_or_dark(pages: list[str], visitor: Console) -> None:
    found: list[str] = []
    for path in pages:
        _open(visitor, path)
        found += [f"{path} {violation}" for violation in serious(visitor.page, iframes=False)]
    assert found == []


def test_every_page_of_training_fits_a_phone_and_a_desk_in_both_languages(pages: list[str], visitor: Console) -> None:
    found: list[str] = []
    for language in ("en", "ko"):
        visitor.page.add_init_script(f"localStorage.setItem('llmops-locale', '{language}')")
        for path in pages:
            _open(visitor, path)
            assert visitor.page.locator("html").get_attribute("lang") == language
            for size in (WIDE, NARROW):
                visitor.page.set_viewport_size(size)  # type: ignore[arg-type]
                _settle(visitor.page)
                found += [f"{path} {language}: {words}" for words in visitor.page.evaluate(TOO_WIDE)]
                found += [f"{path} {language}: {key}" for key in visitor.page.evaluate(KEYS)]
    assert found == []


def test_tab_goes_through_every_page_of_training_and_out_again(pages: list[str], visitor: Console) -> None:
    for path in pages:
        _open(visitor, path)
        assert missed_by_tab(visitor.page) == [], path


def _open(visitor: Console, path: str) -> None:
    visitor.open(path)
    _settle(visitor.page)


def _settle(page: Page) -> None:
    """Until what is loading has come; a page that follows a job is never idle for long."""
    page.wait_for_function("() => !document.querySelector('main [aria-busy=true], main [data-slot=skeleton]')")


def start(platform: Platform, job: str) -> None:
    """Admit what waits, and claim this job."""
    with platform.transaction(SYSTEM) as tx:
        queueing.admit_waiting(tx, capacity_of(platform.settings))
        jobs.claim(tx, UUID(job), attempt=1, run_id="run")


def finish(platform: Platform, job: str) -> None:
    """End a job that runs, with a model."""
    with platform.transaction(SYSTEM) as tx:
        output = jobs.get(tx, job).output_version_id
    prefix = f"models/{output}/1"
    stored(platform, prefix, {"model.safetensors": job.encode()})
    manifest = platform.blobs.manifest(prefix)
    assert manifest is not None
    with platform.transaction(SYSTEM) as tx:
        jobs.finish(
            tx, UUID(job), run_id="run", manifest=manifest, uri=platform.blobs.uri(prefix), card=CARD,
            summary={"loss": 1.2, "tokens": 4000},
            inspection=AirlockReport(accepted=True, needs_conversion=False, problems=(), summary={}),
        )  # fmt: skip
