"""User story 1, scenarios 6 and 9, through HTTP: the report of a validation, and what it blocks."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_resources.checks import validations
from llmops_resources.checks.report import check
from llmops_resources.database import Actor
from llmops_resources.platform import Platform

HEADER = "질문,답변,연락처\n"
ROWS = "".join(f"{n}번 주문은 언제 오나요?,{n}일 안에 도착합니다.,창구 {n}\n" for n in range(40))
CLEAN = (HEADER + ROWS).encode()
PERSONAL = (HEADER + ROWS + "누구인가요?,주민번호 900101-1234568입니다,kim@example.com입니다\n").encode()
POOR = (HEADER + "같은 질문,같은 답변,없음\n" * 60).encode()
CARD = {"purpose": "answers", "scope": "tests", "contact": "team@internal", "license": "PSF-2.0"}
REVIEWER = {"X-User-Id": "rita", "X-User-Roles": "admin"}


def _entered(api: httpx.Client, version: str, content: bytes) -> str:
    body = {"name": "orders", "version": version, "ownerTeam": "data", "metadata": CARD, "changeLog": "more rows"}
    created = api.post("/catalog/datasets", json=body)
    assert created.status_code == 200, created.text
    dataset_id: str = created.json()["data"]["id"]
    answer = api.post(f"/catalog/datasets/{dataset_id}/upload", files={"files": ("주문.csv", content)})
    assert answer.status_code == 200, answer.text
    return dataset_id


def _validated(platform: Platform, dataset_id: str, folder: Path) -> None:
    """Does what the run of a validation does, in this process."""
    worker = Actor("system:worker", frozenset({"admin"}))
    with platform.transaction(worker) as tx:
        wanted = validations.latest(tx, dataset_id)  # type: ignore[arg-type]
        task = validations.claim(tx, wanted.id, attempt=wanted.state.attempt, run_id="run")
    data = folder / dataset_id
    platform.blobs.download(f"datasets/{dataset_id}/{task.dataset.version}", task.dataset.manifest, data)
    files = [(file.path, data / file.path) for file in task.dataset.files]
    report = check(files, options=platform.check_options())
    with platform.transaction(worker) as tx:
        validations.finish(tx, task.id, report, run_id="run")


def _approve(api: httpx.Client, dataset_id: str, version: str) -> httpx.Response:
    submitted = api.post(f"/catalog/datasets/{dataset_id}/submit")
    if submitted.status_code != 200:
        return submitted
    decision = {"decision": "approve", "notes": "looked at"}
    path = f"/catalog/datasets/{dataset_id}/versions/{version}/approve"
    return api.post(path, json=decision, headers=REVIEWER)


def _report(api: httpx.Client, dataset_id: str) -> dict[str, Any]:
    data: dict[str, Any] = api.get(f"/catalog/datasets/{dataset_id}/validation").json()["data"]["report"]
    return data


def test_a_new_version_with_personal_data_is_not_published_and_the_report_says_where(
    api: httpx.Client, platform: Platform, tmp_path: Path
) -> None:
    clean = _entered(api, "1", CLEAN)
    _validated(platform, clean, tmp_path)
    assert _report(api, clean)["passed"] is True
    assert _approve(api, clean, "1").status_code == 200
    revised = _entered(api, "2", PERSONAL)
    _validated(platform, revised, tmp_path)
    pii = _report(api, revised)["pii"]
    assert pii["status"] == "failed"
    assert pii["byType"] == {"EMAIL_ADDRESS": 1, "KR_RRN": 1}
    resident = next(finding for finding in pii["findings"] if finding["type"] == "KR_RRN")
    assert (resident["column"], resident["row"], resident["start"], resident["end"]) == ("답변", 41, 5, 19)
    assert resident["score"] == 1
    assert "900101" not in api.get(f"/catalog/datasets/{revised}/validation").text
    refused = _approve(api, revised, "2")
    assert refused.status_code == 409, refused.text
    assert "KR_RRN" in refused.text
    assert api.get(f"/catalog/datasets/{revised}").json()["data"]["status"] != "approved"
    assert api.get(f"/catalog/datasets/{clean}").json()["data"]["status"] == "approved"


def test_a_report_shows_each_part_of_the_quality_and_a_low_score_blocks_approval(
    api: httpx.Client, platform: Platform, tmp_path: Path
) -> None:
    poor = _entered(api, "1", POOR)
    _validated(platform, poor, tmp_path)
    report = _report(api, poor)
    parts = {part["name"]: part for part in report["quality"]["parts"]}
    assert set(parts) == {
        "missing_values", "duplicates", "near_duplicates", "distribution", "schema_compliance", "format",
    }  # fmt: skip
    assert sum(part["weight"] for part in parts.values()) == pytest.approx(1)
    assert parts["duplicates"]["score"] == 0
    assert "Remove rows" in parts["duplicates"]["recommendation"]
    assert report["quality"]["score"] < report["qualityThreshold"] == 70
    assert report["pii"]["status"] == "clean"
    assert report["pii"]["coverage"]["rowsScannedRules"] == report["pii"]["coverage"]["totalRows"] == 60
    assert report["pii"]["coverage"]["nerCellsSkipped"] > 0  # the English model reads no Korean, and says so
    refused = _approve(api, poor, "1")
    assert refused.status_code == 409, refused.text
    assert "quality" in refused.text
