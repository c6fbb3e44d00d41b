"""User story 1 through HTTP: a card and a review task, filtered lists, approval, rollback, recall, deletion."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from llmops_resources.catalog import lineage
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Role
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from tests.factories import approved, uploaded, validated

RITA = {"X-User-Id": "rita", "X-User-Roles": "reviewer"}
ROSA = {"X-User-Id": "rosa", "X-User-Roles": "reviewer"}
RAY = {"X-User-Id": "ray", "X-User-Roles": "researcher"}
CARD = {"purpose": "answers", "scope": "tests", "contact": "team", "license": "PSF-2.0"}


@pytest.fixture
def strict(platform: Platform) -> Platform:
    """The platform of a team: nobody approves their own submission."""
    object.__setattr__(platform.settings, "single_user", False)
    return platform


def _data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_a_researcher_submits_a_model_and_reviewers_receive_a_task(strict: Platform, api: httpx.Client) -> None:
    body = {"name": "tiny", "version": "1", "type": "base", "ownerTeam": "research", "metadata": {"purpose": "answers"}}
    ray = Actor("ray", frozenset({"researcher"}))
    bare = _data(api.post("/catalog/models", json=body, headers=RAY))
    refused = api.post(f"/catalog/models/{bare['id']}/submit", headers=RAY)
    assert refused.status_code == 422
    missing = {problem["path"] for problem in refused.json()["data"]["errors"]}
    assert missing == {"files", "metadata.scope", "metadata.contact", "metadata.license"}

    model = uploaded(strict, Kind.MODEL, "tiny", version="2", actor=ray)
    path = f"/catalog/models/{model.id}"
    assert _data(api.post(f"{path}/submit", headers=RAY))["status"] == "under_review"
    inbox = api.get("/governance/approvals", headers=RITA)
    assert [(task["name"], task["version"], task["submittedBy"]) for task in _data(inbox)] == [("tiny", "2", "ray")]
    assert inbox.headers["x-total-count"] == "1"
    mine = api.get("/governance/approvals", params={"mine": True}, headers=RAY)
    assert len(_data(mine)) == 1
    for nobody in ({"mine": "false"}, {"kind": "dataset"}, {"ownerTeam": "x' OR '1'='1"}):
        assert _data(api.get("/governance/approvals", params=nobody, headers=RAY)) == []

    decision = {"decision": "approve", "digest": model.digest, "notes": "read and tried"}
    own = api.post(f"{path}/versions/2/approve", json=decision, headers={**RAY, "X-User-Roles": "reviewer"})
    assert own.status_code == 403
    stale = {**decision, "digest": "sha256:" + "0" * 64}
    assert api.post(f"{path}/versions/2/approve", json=stale, headers=RITA).status_code == 409
    assert _data(api.post(f"{path}/versions/2/approve", json=decision, headers=RITA))["status"] == "approved"
    assert _data(api.post(f"{path}/versions/2/approve", json=decision, headers=ROSA))["status"] == "approved"
    assert [entry["actorId"] for entry in _data(api.get(f"{path}/approvals"))] == ["rita"]
    assert _data(api.get("/governance/approvals")) == []
    denied = _data(api.get("/audit/logs", params={"action": "model.approve"}))
    assert [entry["result"] for entry in denied] == ["allowed", "denied", "denied"]


def test_a_new_model_names_the_data_it_was_trained_on(platform: Platform, api: httpx.Client) -> None:
    corpus = uploaded(platform, Kind.DATASET, "corpus")
    body = {"name": "tiny", "version": "1", "type": "base", "ownerTeam": "research"}
    unknown = str(uuid4())
    refused = api.post("/catalog/models", json={**body, "lineage": {"datasetIds": [str(corpus.id), unknown]}})
    assert refused.status_code == 422
    assert [problem["path"] for problem in refused.json()["data"]["errors"]] == ["lineage.datasetIds.1"]
    assert _data(api.get("/catalog/models")) == []
    made = _data(api.post("/catalog/models", json={**body, "lineage": {"datasetIds": [str(corpus.id)]}}))
    assert [node["id"] for node in _data(api.get(f"/catalog/datasets/{corpus.id}/impact"))["models"]] == [made["id"]]


def test_models_are_filtered_by_type_status_and_team(platform: Platform, api: httpx.Client) -> None:
    approved(platform, Kind.MODEL, "tiny")
    uploaded(platform, Kind.MODEL, "other")
    filters: list[tuple[dict[str, Any], int]] = [
        ({}, 2), ({"status": "approved"}, 1), ({"type": "base"}, 2), ({"type": "external"}, 0),
        ({"ownerTeam": "research"}, 2), ({"ownerTeam": "%"}, 0), ({"name": "in"}, 1), ({"name": "%"}, 0),
        ({"version": "1"}, 2), ({"version": "2"}, 0),
        ({"status": "pending_review"}, 0), ({"name": "'; DROP TABLE catalog_versions; --"}, 0),
    ]  # fmt: skip
    for query, expected in filters:
        answer = api.get("/catalog/models", params=query)
        assert len(_data(answer)) == expected == int(answer.headers["x-total-count"]), query


@pytest.mark.parametrize("cursor", ["AAAA", "' OR 1=1", "한국어"])
def test_a_forged_page_token_of_the_inbox_is_refused(api: httpx.Client, cursor: str) -> None:
    assert api.get("/governance/approvals", params={"cursor": cursor}).status_code == 400


def test_the_states_of_a_model_change_by_the_specified_patch(platform: Platform, api: httpx.Client) -> None:
    model = uploaded(platform, Kind.MODEL, "tiny")
    path = f"/catalog/models/{model.id}/status"
    for status, shown in (("pending_review", "under_review"), ("approved", "approved"), ("deprecated", "deprecated")):
        assert _data(api.patch(path, json={"status": status, "notes": "why not"}))["status"] == shown
    assert api.patch(path, json={"status": "approved"}).status_code == 409


def test_an_earlier_version_is_made_current_again(platform: Platform, api: httpx.Client) -> None:
    first = approved(platform, Kind.MODEL, "tiny")
    second = approved(platform, Kind.MODEL, "tiny", version="2")
    body = {"toVersion": "1", "notes": "2 forgets its manners"}
    back = api.post(f"/catalog/models/{second.id}/rollback", json=body)
    assert _data(back)["id"] == str(first.id)
    shown = _data(api.get(f"/catalog/models/{second.id}/versions"))
    assert max(shown, key=lambda version: version["publishedAt"])["version"] == "1"
    assert api.post(f"/catalog/models/{second.id}/rollback", json={"toVersion": "9"}).status_code == 404
    viewer = {"X-User-Id": "vera", "X-User-Roles": "viewer"}
    assert api.post(f"/catalog/models/{second.id}/rollback", json=body, headers=viewer).status_code == 403


def test_a_recall_is_tried_dry_then_done_then_lifted_by_somebody_else(strict: Platform, api: httpx.Client) -> None:
    corpus, model = uploaded(strict, Kind.DATASET, "corpus"), uploaded(strict, Kind.MODEL, "tiny")
    with strict.transaction(Actor("system:test")) as tx:
        lineage.record(tx, parent=corpus.id, child=model.id, role=Role.TRAINED_ON)
    path, body = f"/catalog/datasets/{corpus.id}", {"reason": "licence withdrawn"}
    assert api.post(f"{path}/recall", json=body, headers=RAY).status_code == 403
    assert api.post(f"{path}/recall", json={"reason": " "}, headers=RITA).status_code == 422
    dry = _data(api.post(f"{path}/recall", json={**body, "dryRun": True}, headers=RITA))
    assert (dry["recall"], dry["impact"]["models"][0]["quarantined"]) == (None, False)
    done = _data(api.post(f"{path}/recall", json=body, headers=RITA))
    assert set(done["recall"]["versionIds"]) == {str(corpus.id), str(model.id)}
    assert _data(api.get(f"/catalog/models/{model.id}"))["quarantineReason"] == "licence withdrawn"
    impact = _data(api.get(f"{path}/impact"))
    assert impact["recall"]["recalledBy"] == "rita"
    graph = _data(api.get(f"/catalog/lineage/dataset/{corpus.id}"))
    assert all(node["quarantined"] for node in graph["nodes"])
    assert api.post(f"{path}/recall/lift", json={"notes": "?"}, headers=RITA).status_code == 403
    assert _data(api.post(f"{path}/recall/lift", json={"notes": "cleared"}, headers=ROSA))["liftedBy"] == "rosa"
    assert _data(api.get(f"/catalog/models/{model.id}"))["quarantinedAt"] is None


def test_deleting_lists_what_is_in_the_way_then_removes_the_files(platform: Platform, api: httpx.Client) -> None:
    model = approved(platform, Kind.MODEL, "tiny")
    endpoint = _data(api.post("/serving/endpoints", json={"modelId": str(model.id), "environment": "dev"}))
    path = f"/catalog/models/{model.id}"
    refused = api.delete(path)
    assert refused.status_code == 409
    (blocker,) = refused.json()["data"]["errors"]
    assert (blocker["type"], blocker["id"], blocker["name"]) == ("endpoint", endpoint["id"], "dev/tiny")
    assert [entry["type"] for entry in _data(api.get(f"{path}/blockers"))] == ["endpoint"]
    api.delete(f"/serving/endpoints/{endpoint['id']}")
    assert _data(api.get(f"{path}/blockers")) == []
    viewer = {"X-User-Id": "vera", "X-User-Roles": "viewer"}
    assert api.delete(path, headers=viewer).status_code == 403
    assert _data(api.delete(path))["name"] == "tiny"
    assert list(platform.blobs.list(f"models/{model.id}")) == []
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404
    found = _data(api.get("/audit/logs", params={"resourceId": str(model.id)}))
    actions = [(entry["action"], entry["result"]) for entry in found]
    for expected in (("model.delete", "allowed"), ("model.delete", "denied"), ("model:delete", "denied")):
        assert expected in actions


def test_a_new_version_of_a_data_set_says_what_changed_before_it_is_reviewed(
    platform: Platform, api: httpx.Client
) -> None:
    approved(platform, Kind.DATASET, "pairs")
    second = uploaded(platform, Kind.DATASET, "pairs", version="2")
    validated(platform, second)
    path = f"/catalog/datasets/{second.id}"
    refused = api.post(f"{path}/submit")
    assert [problem["path"] for problem in refused.json()["data"]["errors"]] == ["changeLog"]
    _data(api.patch(path, json={"changeLog": "two rows mended"}))
    assert _data(api.post(f"{path}/submit"))["status"] == "under_review"
    assert api.patch(path, json={"changeLog": "later"}).status_code == 409


def test_impact_and_deletion_of_an_unknown_version_are_not_found(api: httpx.Client) -> None:
    for path in (f"/catalog/datasets/{uuid4()}/impact", f"/catalog/models/{uuid4()}/blockers"):
        assert api.get(path).status_code == 404
    assert api.delete(f"/catalog/datasets/{uuid4()}").status_code == 404
