"""US1 #11 in the console: a model at a provider is registered, tested, approved, deployed and chatted with."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform
from tests.providers.conftest import KEY, running_provider

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]
ROLLOUT = 120_000  # milliseconds


def test_an_external_model_needs_no_files_and_answers_in_the_chat(walked: Walked, visitor: Console) -> None:
    with running_provider(walked[0].provider_port) as provider:
        visitor.open("/catalog/models/new")
        visitor.field("Name").fill("web_external")
        visitor.field("Owner team").fill("tests")
        visitor.field("Type").select_option("external")
        visitor.field("Model name").fill("gpt-tiny")
        visitor.field("Endpoint").fill(provider.url)
        key = visitor.field("API key")
        key.fill(KEY)
        expect(key).to_have_attribute("type", "password")
        for field in ("Purpose", "Scope", "License", "Contact"):
            visitor.field(field).fill("tests")
        visitor.button("Create model").click()

        expect(visitor.heading("web_external 1")).to_be_visible()
        panel = visitor.page.get_by_role("region", name="Provider", exact=True)
        expect(panel).to_contain_text("…WXYZ")
        visitor.button("Test connection").click()
        expect(panel).to_contain_text("The provider answers")
        assert KEY not in visitor.page.content()

        visitor.approve()
        visitor.link("Deploy").click()
        visitor.field("Route").fill("web-external")
        visitor.button("Deploy").click()
        expect(visitor.heading("/web-external")).to_be_visible()
        expect(visitor.badge("Healthy")).to_be_visible(timeout=ROLLOUT)
        visitor.page.get_by_role("main").get_by_role("link", name="Chat", exact=True).click()
        visitor.field("Message").fill("Hello?")
        visitor.field("Message").press("Enter")
        expect(visitor.page.get_by_role("log", name="Messages")).to_contain_text("hello from outside")
