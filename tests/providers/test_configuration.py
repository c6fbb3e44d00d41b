"""What a provider's configuration may say, and what is never said again."""

import json
import logging
import subprocess
import sys
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from llmops_resources.catalog import probes, providers
from llmops_resources.catalog.providers import Connection, Provider
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.providers.conftest import KEY, FakeProvider
from tests.providers.test_over_http import described, registered


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"endpoint": "http://169.254.169.254/v1"}, "provider.endpoint"),
        ({"endpoint": "https://example.com/v1?api-key=x"}, "provider.endpoint"),
        ({"endpoint": "https://2130706433/"}, "provider.endpoint"),
        ({"modelName": "a b"}, "provider.modelName"),
        ({"modelName": ""}, "provider.modelName"),
        ({"apiKey": None}, "provider.apiKey"),
        ({"apiKey": "two\r\nX-Injected: lines"}, "provider.apiKey"),
        ({"organisation": "a/b"}, "provider.organisation"),
        ({"provider": "ollama", "endpoint": None}, "provider.endpoint"),
        ({"provider": "bedrock"}, "provider.provider"),
        ({"unknown": 1}, "provider.unknown"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(
    api: httpx.Client, provider: FakeProvider, given: dict[str, Any], wrong: str
) -> None:
    answer = api.post("/catalog/models", json=described(provider, **given))
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["data"]["errors"]] == [wrong]
    assert KEY not in answer.text
    assert "X-Injected" not in answer.text
    assert api.get("/catalog/models").json()["data"] == []


@pytest.mark.parametrize("type_", ["base", "external"])
def test_a_provider_belongs_to_external_models_and_to_all_of_them(
    api: httpx.Client, provider: FakeProvider, type_: str
) -> None:
    body = described(provider) if type_ == "base" else {**described(provider), "provider": None}
    answer = api.post("/catalog/models", json={**body, "type": type_})
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["path"] == "provider"


def test_the_specifications_metadata_is_understood_and_its_key_is_taken_out(
    api: httpx.Client, provider: FakeProvider
) -> None:
    told = {"provider": "openai", "model_name": "gpt-tiny", "api_key": KEY, "base_url": f"{provider.url}/v1"}
    body = described(provider)
    del body["provider"]
    model = registered(api, {**body, "metadata": {**factories.CARD, **told}})
    assert KEY not in json.dumps(model)
    assert model["metadata"]["provider"]["modelName"] == "gpt-tiny"
    hint = api.get(f"/catalog/models/{model['id']}/provider").json()["data"]["apiKey"]["hint"]
    assert hint == "…WXYZ"


def test_credentials_elsewhere_in_the_metadata_are_refused(api: httpx.Client, provider: FakeProvider) -> None:
    body = described(provider)
    answer = api.post("/catalog/models", json={**body, "metadata": {"deep": [{"Api-Key": KEY}]}})
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["path"] == "metadata.deep[0].Api-Key"
    assert KEY not in answer.text


def test_the_configuration_of_a_version_cannot_be_changed_but_its_card_can(
    api: httpx.Client, provider: FakeProvider
) -> None:
    model = registered(api, described(provider))
    path = f"/catalog/models/{model['id']}"
    moved = {**model["metadata"]["provider"], "endpoint": "https://elsewhere.example/v1"}
    assert api.patch(path, json={"metadata": {**factories.CARD, "provider": moved}}).status_code == 409
    changed = api.patch(path, json={"metadata": {**factories.CARD, "purpose": "another"}}).json()["data"]
    assert (changed["metadata"]["purpose"], changed["digest"]) == ("another", model["digest"])
    assert changed["metadata"]["provider"] == model["metadata"]["provider"]


def test_equal_configurations_have_equal_digests_and_others_have_others() -> None:
    def digest(**changes: Any) -> str:
        given = {"provider": Provider.OPENAI, "model_name": "gpt-4o", "api_key": SecretStr(KEY), **changes}
        return providers.configure(**given).digest

    plain = digest()
    assert digest(endpoint="https://API.openai.com:443/v1/") == plain
    assert digest(api_key=SecretStr("another")) == plain
    others = {digest(model_name="gpt-4"), digest(endpoint="https://eu.api.openai.com/v1"), digest(organisation="org")}
    assert len(others | {plain}) == 4


@pytest.mark.parametrize(
    ("mood", "verdict", "reachable", "listed"),
    [
        ("well", "answered", True, True),
        ("status 404", "no_list", True, None),
        ("status 500", "failed", True, None),
        ("garbage", "no_list", True, None),
        ("redirects", "failed", False, None),
        ("bomb", "failed", False, None),
        ("flood", "failed", False, None),
    ],
)
def test_a_connection_test_tells_a_verdict_and_nothing_the_provider_wrote(
    settings: Settings, provider: FakeProvider, mood: str, verdict: str, reachable: bool, listed: bool | None
) -> None:
    provider.mood = mood
    config = providers.configure(
        provider=Provider.OPENAI, model_name="gpt-tiny", endpoint=provider.url, api_key=SecretStr(KEY),
        allowed_hosts=settings.outbound_allowed_hosts,
    )  # fmt: skip
    connection = Connection(config, SecretStr(KEY))
    report = probes.probe(connection, settings)
    assert (report.verdict, report.reachable, report.model_listed) == (verdict, reachable, listed)
    text = repr(report) + repr(connection)
    assert not any(inside in text for inside in (KEY, "org-1", "etc/passwd", "<html>"))


def test_connection_tests_are_counted_per_person_and_audited(api: httpx.Client, provider: FakeProvider) -> None:
    model = registered(api, described(provider, apiKey="sk-wrong-wrong-wrong"))
    path = f"/catalog/models/{model['id']}/test-connection"
    first = api.post(path)
    assert first.json()["data"]["verdict"] == "key_refused"
    assert "Incorrect" not in first.text
    statuses = [api.post(path).status_code for _ in range(probes.PER_ACTOR)]
    assert statuses == [200] * (probes.PER_ACTOR - 1) + [429]
    last = api.post(path)
    assert 1 <= int(last.headers["Retry-After"]) <= 60
    assert len(provider.seen) == probes.PER_ACTOR
    entries = api.get("/audit/logs", params={"action": "model.test_connection"}).json()["data"]
    assert len(entries) == probes.PER_ACTOR


def test_only_keepers_of_secrets_and_the_creator_replace_a_key(api: httpx.Client, provider: FakeProvider) -> None:
    model = registered(api, described(provider))
    path, body = f"/catalog/models/{model['id']}", {"apiKey": "sk-another-key-00000"}

    def as_(user: str, role: str) -> dict[str, str]:
        return {"X-User-Id": user, "X-User-Roles": role}

    assert api.put(f"{path}/provider/key", json=body, headers=as_("eve", "viewer")).status_code == 403
    assert api.post(f"{path}/test-connection", headers=as_("eve", "viewer")).status_code == 403
    assert api.put(f"{path}/provider/key", json=body, headers=as_("bob", "researcher")).status_code == 403
    assert api.put(f"{path}/provider/key", json=body, headers=as_("sam", "security_admin")).status_code == 200
    wrong = api.put(f"{path}/provider/key", json={"apiKey": "a b"})
    assert (wrong.status_code, "a b" in wrong.text) == (422, False)


def test_a_repeat_under_one_idempotency_key_with_another_api_key_is_refused(
    api: httpx.Client, provider: FakeProvider
) -> None:
    headers = {"Idempotency-Key": "the-same-for-all"}
    first = api.post("/catalog/models", json=described(provider), headers=headers)
    assert api.post("/catalog/models", json=described(provider), headers=headers).json() == first.json()
    assert api.post("/catalog/models", json=described(provider, apiKey="other"), headers=headers).status_code == 409


def test_no_key_is_in_any_log_line_answer_or_audit_entry(
    api: httpx.Client, platform: Platform, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model = registered(api, described(provider))
    path = f"/catalog/models/{model['id']}"
    texts = [json.dumps(model)]
    for mood in ("well", "status 400", "garbage"):
        provider.mood = mood
        texts.append(api.post(f"{path}/test-connection").text)
    api.post("/catalog/models", json=described(provider))
    api.put(f"{path}/provider/key", json={"apiKey": f"{KEY} "})
    api.put(f"{path}/provider/key", json={"apiKey": [KEY]})
    api.post("/catalog/models", content=f'{{"provider": {{"apiKey": "{KEY}"')
    texts += [api.get(address).text for address in (path, f"{path}/provider", "/catalog/models", "/audit/logs")]
    with platform.transaction(factories.ADMIN) as tx:
        texts.append(repr(providers.connect(tx, platform.settings, providers.versions.get(tx, model["id"]))))
    assert caplog.records
    for text in [*texts, *(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)]:
        assert KEY not in text
        assert KEY[:10] not in text


def test_an_external_model_is_neither_uploaded_to_nor_trained_on(api: httpx.Client, provider: FakeProvider) -> None:
    model = registered(api, described(provider))
    files = {"files": ("model.safetensors", b"weights")}
    assert api.post(f"/catalog/models/{model['id']}/upload", files=files).status_code in {409, 422}
    assert api.get(f"/catalog/models/{model['id']}").json()["data"]["digest"] == model["digest"]


def test_the_command_line_registers_with_a_key_from_standard_input_and_rotates(
    api: httpx.Client, platform: Platform, provider: FakeProvider
) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "LLMOPS_HOME": str(platform.settings.home), "API_PORT": str(api.base_url.port),
        "DATABASE_URL": str(platform.settings.database_url), "COLUMNS": "200",
    }  # fmt: skip

    def llmops(*arguments: str, given: str = "") -> str:
        command = [sys.executable, "-m", "llmops_cli.main", *arguments]
        done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    told = llmops(
        "models", "add-external", "gpt", "--provider", "openai", "--model", "gpt-tiny", "--team", "t",
        "--endpoint", provider.url, given=KEY + "\n",
    )  # fmt: skip
    assert "The provider answers." in told
    assert "1 secret(s)" in llmops("secrets", "rotate")
    (model,) = api.get("/catalog/models").json()["data"]
    assert api.post(f"/catalog/models/{model['id']}/test-connection").json()["data"]["modelListed"] is True
    assert KEY not in told
