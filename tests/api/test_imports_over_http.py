"""Imports through HTTP: asked for, refused, watched, and what an approval demands of a model's files."""

from pathlib import Path
from uuid import UUID

import httpx
import pytest

from llmops_resources.catalog import approvals, imports, versions
from llmops_resources.catalog.lifecycle import Kind, ModelType
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.api.sending import created
from tests.factories import CARD, stored
from tests.model_files import model_files, write_model


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder below which models may be imported, with one model in it."""
    write_model(tmp_path / "shared" / "tiny")
    return tmp_path / "shared"


@pytest.fixture
def settings(settings: Settings, root: Path) -> Settings:
    """Settings that allow importing from `root`, and nothing from the Hub."""
    return settings.model_copy(update={"model_import_root": root, "hf_hub_offline": True})


def _body(**changes: object) -> dict[str, object]:
    asked = {"name": "tiny", "version": "1", "ownerTeam": "research", "source": "directory", "location": "tiny"}
    return {**asked, **changes}


def test_an_import_creates_a_draft_whose_files_are_on_their_way_once(api: httpx.Client) -> None:
    first = api.post("/catalog/models/import", json=_body(), headers={"Idempotency-Key": "a"}).json()["data"]
    again = api.post("/catalog/models/import", json=_body(), headers={"Idempotency-Key": "a"}).json()["data"]
    assert first == again
    model = api.get(f"/catalog/models/{first['modelId']}").json()["data"]
    assert (model["status"], model["digest"]) == ("draft", None)
    assert api.get(f"/catalog/models/{model['id']}/import").json()["data"]["state"]["status"] == "queued"
    assert api.post("/catalog/models/import", json=_body()).status_code == 409

    cancelled = api.delete(f"/catalog/models/{model['id']}/import").json()["data"]
    assert cancelled["state"]["status"] == "cancelled"
    assert api.post(f"/catalog/models/{model['id']}/import").json()["data"]["state"]["status"] == "queued"


def test_the_data_sets_a_model_was_trained_on_are_kept_and_unknown_ones_are_refused(api: httpx.Client) -> None:
    dataset = created(api, "datasets", "pairs").rpartition("/")[2]
    asked = api.post("/catalog/models/import", json=_body(lineage={"datasetIds": [dataset]})).json()["data"]
    graph = api.get(f"/catalog/lineage/model/{asked['modelId']}?direction=up").json()["data"]
    assert [(edge["parentId"], edge["role"]) for edge in graph["edges"]] == [(dataset, "trained_on")]
    unknown = "00000000-0000-4000-8000-000000000000"
    answer = api.post("/catalog/models/import", json=_body(version="2", lineage={"datasetIds": [unknown]}))
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["path"] == "lineage.datasetIds.0"
    assert [model["version"] for model in api.get("/catalog/models").json()["data"]] == ["1"]


@pytest.mark.parametrize(
    "location", ["..", "../shared-not", "/etc", "nowhere", "tiny/../../..", "tiny\u0000", "tiny/config.json", "x" * 999]
)
def test_a_folder_that_is_not_below_the_allowed_one_is_refused(api: httpx.Client, location: str) -> None:
    answer = api.post("/catalog/models/import", json=_body(location=location))
    assert 400 <= answer.status_code < 500, answer.text
    assert api.get("/catalog/models").json()["data"] == []


def test_a_link_below_the_allowed_folder_that_leads_out_is_refused(api: httpx.Client, root: Path) -> None:
    (root / "out").symlink_to("/etc")
    assert api.post("/catalog/models/import", json=_body(location="out")).status_code == 422


def test_the_hub_is_refused_with_the_remedy_when_the_platform_is_offline(api: httpx.Client) -> None:
    answer = api.post("/catalog/models/import", json=_body(source="huggingface", location="org/name"))
    assert answer.status_code == 409
    assert "HF_HUB_OFFLINE" in answer.json()["data"]["remedy"]


@pytest.mark.parametrize("location", ["name", "https://evil.example/x", "org/name/..", "org/..", "a/b?c", "org/n\nm"])
def test_what_is_not_a_repository_is_refused(location: str) -> None:
    origin = imports.Origin(source=imports.Source.HUGGINGFACE, location=location)
    with pytest.raises(Exception, match="not a repository"):
        imports.check_origin(origin, root=None, offline=False)


def test_a_conversion_cannot_be_asked_for_and_an_external_model_cannot_be_imported(api: httpx.Client) -> None:
    assert api.post("/catalog/models/import", json=_body(source="conversion", location="staging/x")).status_code == 422
    assert api.post("/catalog/models/import", json=_body(type="external")).status_code == 422


def test_a_viewer_may_look_and_not_import(api: httpx.Client) -> None:
    viewer = {"X-User-Id": "v", "X-User-Roles": "viewer"}
    assert api.post("/catalog/models/import", json=_body(), headers=viewer).status_code == 403
    model = api.post("/catalog/models/import", json=_body()).json()["data"]["modelId"]
    assert api.get(f"/catalog/models/{model}/import", headers=viewer).status_code == 200
    assert api.delete(f"/catalog/models/{model}/import", headers=viewer).status_code == 403


def test_a_model_without_an_import_says_so_with_nothing(api: httpx.Client) -> None:
    body = {"name": "plain", "version": "1", "type": "base", "ownerTeam": "research"}
    model = api.post("/catalog/models", json=body).json()["data"]["id"]
    answer = api.get(f"/catalog/models/{model}/import")
    assert (answer.status_code, answer.json()["data"]) == (200, None)


def test_a_model_whose_files_never_passed_the_airlock_cannot_be_approved(platform: Platform, admin: Actor) -> None:
    with platform.transaction(admin) as tx:
        entry = versions.create(
            tx, Kind.MODEL, name="smuggled", version="1", owner_team="research", type=ModelType.BASE, metadata=CARD
        )
    model_id: UUID = entry.id
    prefix = f"models/{model_id}/1"
    stored(platform, prefix, model_files())
    manifest = platform.blobs.manifest(prefix)
    assert manifest is not None
    with platform.transaction(admin) as tx:
        versions.attach_files(tx, model_id, manifest, prefix=prefix, uri=platform.blobs.uri(prefix))
        approvals.submit(tx, model_id)
    with platform.transaction(admin) as tx, pytest.raises(Conflict, match="have not passed the airlock"):
        approvals.decide(tx, model_id, approvals.Decision.APPROVE)
