"""The catalog through HTTP: the envelope, bad input, paging, idempotency, who may do what."""

import io
from typing import Any
from uuid import uuid4

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmops_resources.database import Actor
from llmops_resources.platform import Platform

GOOD_CSV = b"question,answer\n" + b"".join(b"What is %d?,It is %d.\n" % (n, n) for n in range(20))


def _created(api: httpx.Client, name: str = "pairs", version: str = "1", **more: Any) -> dict[str, Any]:
    answer = api.post("/catalog/datasets", json={"name": name, "version": version, "ownerTeam": "data", **more})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def _upload(api: httpx.Client, dataset_id: str, name: str, content: bytes) -> httpx.Response:
    return api.post(f"/catalog/datasets/{dataset_id}/upload", files={"files": (name, content)})


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two", "three"]}), sink)
    return sink.getvalue()


def test_a_success_is_200_in_the_envelope_with_camel_case(api: httpx.Client) -> None:
    answer = api.post("/catalog/datasets", json={"name": "pairs", "version": "1", "owner_team": "data"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "message", "data"}
    assert answer.json()["data"]["ownerTeam"] == "data"
    assert answer.json()["data"]["dagsterAssetKey"] == ["datasets", "pairs"]
    assert answer.headers["x-request-id"]


def test_an_upload_is_stored_under_the_specified_prefix_and_its_validation_is_requested(api: httpx.Client) -> None:
    dataset = _created(api)
    stored = _upload(api, dataset["id"], "my pairs (final).csv", GOOD_CSV).json()["data"]
    assert stored["storageUri"].endswith(f"/datasets/{dataset['id']}/1/")
    assert stored["digest"].startswith("sha256:")
    assert [file["path"] for file in stored["files"]] == ["part-0001.csv"]
    validation = api.get(f"/catalog/datasets/{dataset['id']}/validation").json()["data"]
    assert validation["state"]["status"] == "queued"
    assert validation["digest"] == stored["digest"]


def test_the_same_upload_again_changes_nothing_and_other_bytes_are_refused(api: httpx.Client) -> None:
    dataset = _created(api)
    first = _upload(api, dataset["id"], "pairs.csv", GOOD_CSV).json()["data"]
    assert _upload(api, dataset["id"], "pairs.csv", GOOD_CSV).json()["data"] == first
    other = _upload(api, dataset["id"], "pairs.csv", GOOD_CSV + b"One more?,Yes.\n")
    assert other.status_code == 409
    assert "new version" in other.json()["data"]["remedy"]
    assert api.get(f"/catalog/datasets/{dataset['id']}").json()["data"] == first


BAD_UPLOADS = {
    "a wrong extension": ("pairs.xlsx", GOOD_CSV, 415),
    "csv bytes called parquet": ("pairs.parquet", GOOD_CSV, 415),
    "a truncated parquet": ("pairs.parquet", _parquet()[:-20], 400),
    "invalid utf-8": ("pairs.csv", b"question,answer\n\xff\xfe\xfa,x\n", 400),
    "a ragged csv": ("pairs.csv", b"a,b\n1,2\n1,2,3\n", 422),
    "a short row": ("pairs.csv", b"a,b\n1,2\n1\n", 422),
    "an empty file": ("pairs.csv", b"", 400),
    "only a header": ("pairs.csv", b"a,b\n", 422),
    "a doubled column": ("pairs.csv", b"a,a\n1,2\n", 422),
    "json that is no object": ("pairs.jsonl", b'{"a": 1}\n[1]\n', 422),
    "broken json": ("pairs.jsonl", b'{"a": 1}\n{"a":\n', 422),
    "gzip called csv": ("pairs.csv", b"\x1f\x8b\x08\x00" + b"0" * 50, 415),
    "utf-16": ("pairs.csv", "a,b\n1,2\n".encode("utf-16"), 415),
}


@pytest.mark.parametrize("case", BAD_UPLOADS)
def test_a_bad_upload_names_the_problem_and_the_remedy_and_leaves_nothing(
    api: httpx.Client, platform: Platform, case: str
) -> None:
    name, content, status = BAD_UPLOADS[case]
    dataset = _created(api)
    answer = _upload(api, dataset["id"], name, content)
    assert answer.status_code in {status, 400, 415, 422}, answer.text
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["status"] == "fail"
    assert body["message"]
    assert body["data"]["remedy"]
    assert api.get(f"/catalog/datasets/{dataset['id']}").json()["data"]["digest"] is None
    assert [entry for prefix in ("datasets", "staging") for entry in platform.blobs.list(prefix)] == []


def test_unknown_columns_are_refused_when_the_entry_declares_a_schema(api: httpx.Client) -> None:
    schema = {"columns": [{"name": "question", "type": "string"}, {"name": "answer", "type": "string"}]}
    dataset = _created(api, schema=schema)
    answer = _upload(api, dataset["id"], "pairs.csv", b"question,reply\nq,a\n")
    assert answer.status_code == 422
    assert "answer" in answer.text
    assert "reply" in answer.text
    assert _upload(api, dataset["id"], "pairs.csv", GOOD_CSV).status_code == 200


def test_a_preview_pages_through_the_rows(api: httpx.Client) -> None:
    dataset = _created(api)
    _upload(api, dataset["id"], "pairs.csv", GOOD_CSV)
    page = api.get(f"/catalog/datasets/{dataset['id']}/preview", params={"offset": 15, "limit": 3}).json()["data"]
    assert [row["question"] for row in page["rows"]] == ["What is 15?", "What is 16?", "What is 17?"]
    assert page["statistics"]["rows"] == 20
    assert [column["name"] for column in page["columns"]] == ["question", "answer"]


def test_every_wrong_field_is_listed(api: httpx.Client) -> None:
    answer = api.post("/catalog/datasets", json={"name": 5, "version": "1", "colour": "red"})
    assert answer.status_code == 422
    assert {problem["path"] for problem in answer.json()["data"]["errors"]} == {"name", "ownerTeam", "colour"}


@pytest.mark.parametrize("team", [" ", "팀" * 129])
def test_an_owner_team_without_a_name_or_with_too_long_a_one_is_refused_in_words(api: httpx.Client, team: str) -> None:
    answer = api.post("/catalog/datasets", json={"name": "pairs", "version": "1", "ownerTeam": team})
    assert answer.status_code == 422
    [problem] = answer.json()["data"]["errors"]
    assert problem["path"] == "ownerTeam"
    assert problem["remedy"]
    assert _created(api, ownerTeam="팀" * 128)["ownerTeam"] == "팀" * 128


def test_pages_follow_one_another_without_gap_or_repeat(api: httpx.Client) -> None:
    for number in range(5):
        _created(api, version=str(number))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = api.get("/catalog/datasets", params={"limit": 2, **cursor})
        seen += [entry["version"] for entry in answer.json()["data"]]
        assert answer.headers["x-total-count"] == "5"
        if "x-next-cursor" not in answer.headers:
            break
        cursor = {"cursor": answer.headers["x-next-cursor"]}
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "' OR 1=1", "a" * 400, "한국어"])
def test_a_forged_cursor_is_refused(api: httpx.Client, cursor: str) -> None:
    answer = api.get("/catalog/datasets", params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail"


def test_a_cursor_with_one_letter_changed_is_refused(api: httpx.Client) -> None:
    for number in range(3):
        _created(api, version=str(number))
    cursor = api.get("/catalog/datasets", params={"limit": 1}).headers["x-next-cursor"]
    changed = ("A" if cursor[5] != "A" else "B").join((cursor[:5], cursor[6:]))
    assert api.get("/catalog/datasets", params={"cursor": changed}).status_code == 400


def test_an_idempotency_key_makes_a_repeat_harmless(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    body = {"name": "pairs", "version": "1", "ownerTeam": "data"}
    first = api.post("/catalog/datasets", json=body, headers=headers)
    again = api.post("/catalog/datasets", json=body, headers=headers)
    other = api.post("/catalog/datasets", json={**body, "version": "2"}, headers=headers)
    assert first.json() == again.json()
    assert other.status_code == 409


def test_an_unknown_path_and_an_unknown_id_are_answered_in_the_envelope(api: httpx.Client) -> None:
    for path in ("/no/such/route", f"/catalog/datasets/{uuid4()}", f"/training/jobs/{uuid4()}"):
        answer = api.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["status"] == "fail"


def test_a_viewer_may_look_but_not_touch_and_the_denial_is_audited(api: httpx.Client) -> None:
    viewer = {"X-User-Id": "vera", "X-User-Roles": "viewer"}
    assert api.get("/catalog/datasets", headers=viewer).status_code == 200
    denied = api.post("/catalog/datasets", json={}, headers=viewer)
    assert denied.status_code == 403
    entries = api.get("/audit/logs", params={"actorId": "vera"}).json()["data"]
    assert [(entry["action"], entry["result"]) for entry in entries] == [("dataset:write", "denied")]


def test_a_refused_approval_is_audited_with_its_reason(api: httpx.Client) -> None:
    dataset = _created(api)
    _upload(api, dataset["id"], "pairs.csv", GOOD_CSV)
    api.post(f"/catalog/datasets/{dataset['id']}/submit")
    refused = api.post(f"/catalog/datasets/{dataset['id']}/versions/1/approve", json={"decision": "approve"})
    assert refused.status_code == 409
    entry = api.get("/audit/logs", params={"action": "dataset.approve"}).json()["data"][0]
    assert entry["result"] == "denied"
    assert "not been validated" in entry["metadata"]["reason"]


def test_training_on_an_unapproved_dataset_is_refused(api: httpx.Client) -> None:
    dataset = _created(api)
    _upload(api, dataset["id"], "pairs.csv", GOOD_CSV)
    answer = api.post(
        "/training/jobs",
        json={
            "jobType": "from_scratch",
            "datasetId": dataset["id"],
            "outputModelName": "tiny",
            "useGpu": False,
            "hyperparameters": {"architecture": {"hiddenSize": 64, "layers": 2}, "textColumn": "answer"},
        },
    )
    assert answer.status_code == 409, answer.text
    assert "not approved" in answer.json()["message"]
    assert api.get("/training/jobs").json()["data"] == []


def test_deploying_an_unapproved_model_is_refused(api: httpx.Client, platform: Platform, admin: Actor) -> None:
    from llmops_resources.catalog.lifecycle import Kind
    from tests.factories import uploaded

    model = uploaded(platform, Kind.MODEL, "tiny", files={"config.json": b"{}"})
    answer = api.post("/serving/endpoints", json={"modelId": str(model.id), "environment": "dev"})
    assert answer.status_code == 409
    assert "not approved" in answer.json()["message"]
    assert api.get("/serving/endpoints").json()["data"] == []


def test_the_probes_answer_and_metrics_are_in_prometheus_format(api: httpx.Client) -> None:
    root = str(api.base_url).removesuffix("/llm-ops/v1/")
    assert httpx.get(f"{root}/health").json() == {"status": "ok"}
    assert httpx.get(f"{root}/ready").status_code == 200
    assert "llmops_http_requests_total" in httpx.get(f"{root}/metrics").text
