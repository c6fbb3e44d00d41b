"""API keys over HTTP and on the command line: the secret is told once, and everything else again and again."""

import json

import httpx

from tests.api.shell import Shell

WISH = {"name": "shop app", "team": "shop", "routes": ["/support", "chat"], "requestsPerMinute": 60}


def test_a_key_is_issued_with_its_secret_and_listed_without(api: httpx.Client) -> None:
    made = api.post("/governance/api-keys", json=WISH).json()["data"]

    assert made["secret"].startswith("llmops-")
    assert (made["routes"], made["owner"], made["requestsPerMinute"]) == (["chat", "support"], "local-admin", 60)
    listed = api.get("/governance/api-keys", params={"team": "shop"})
    assert listed.headers["x-total-count"] == "1"
    assert listed.json()["data"] == [{name: value for name, value in made.items() if name != "secret"}]
    assert made["secret"] not in listed.text
    entry = api.get("/audit/logs", params={"action": "key.create"}).json()["data"][0]
    assert (entry["resourceId"], entry["metadata"]["team"]) == (made["id"], "shop")
    assert made["secret"] not in json.dumps(entry)


def test_a_repeat_under_an_idempotency_key_issues_no_second_key_and_tells_no_secret(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first = api.post("/governance/api-keys", json=WISH, headers=headers)
    again = api.post("/governance/api-keys", json=WISH, headers=headers)

    assert (first.status_code, again.status_code) == (200, 409)
    assert first.json()["data"]["id"] in again.json()["message"]
    assert "llmops-" not in again.text
    assert len(api.get("/governance/api-keys").json()["data"]) == 1


def test_a_wish_that_cannot_be_names_its_fields(api: httpx.Client) -> None:
    wrong = {"name": "", "team": "a\nb", "expiresInDays": 0, "requestsPerMinute": -1, "secret": "mine"}
    answer = api.post("/governance/api-keys", json=wrong)

    assert answer.status_code == 422
    paths = {error["path"] for error in answer.json()["data"]["errors"]}
    assert paths == {"name", "team", "expiresInDays", "requestsPerMinute", "secret"}
    assert api.post("/governance/api-keys", json={**WISH, "routes": ["No Route"]}).status_code == 422
    assert api.post("/governance/api-keys", json={**WISH, "routes": []}).status_code == 422


def test_a_revoked_key_stays_listed_and_a_viewer_may_do_none_of_it(api: httpx.Client) -> None:
    made = api.post("/governance/api-keys", json=WISH).json()["data"]
    viewer = {"X-User-Id": "vera", "X-User-Roles": "viewer"}

    assert api.delete(f"/governance/api-keys/{made['id']}", headers=viewer).status_code == 403
    assert api.delete(f"/governance/api-keys/{made['id']}").json()["data"]["revokedBy"] == "local-admin"
    assert api.delete(f"/governance/api-keys/{made['id']}").status_code == 200
    assert api.get("/governance/api-keys").json()["data"][0]["revokedAt"]
    assert len(api.get("/audit/logs", params={"action": "key.revoke"}).json()["data"]) == 1
    assert api.get("/governance/api-keys", headers={"Authorization": f"Bearer {made['secret']}"}).status_code == 403


def test_a_key_lives_on_the_command_line_too(llmops: Shell) -> None:
    made = llmops.json("keys", "create", "app", "--team", "shop", "--route", "support")
    assert made["secret"].startswith("llmops-")
    assert made["id"] in llmops("keys", "list", "--team", "shop")
    assert "is revoked" in llmops("keys", "revoke", made["id"])
