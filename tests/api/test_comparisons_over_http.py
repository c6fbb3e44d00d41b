"""Two versions are compared over HTTP: small ones at once, large ones by a run, and never twice."""

import csv
import io
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
import httpx
import pytest

from llmops_assets.claims import WORK_TAG
from llmops_assets.definitions import build
from llmops_assets.mirror import read
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.checks import comparisons
from llmops_resources.checks.diff import DiffOptions
from llmops_resources.database import Actor
from llmops_resources.errors import NotFound
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.factories import uploaded

OLDER = "id,text,n\n" + "".join(f"{i},문장 {i},{i % 5}\n" for i in range(60))
NEWER = "id,text,n,more\n" + "".join(f"{i},문장 {i},{99 if i < 5 else i % 5},x\n" for i in range(3, 64))


@pytest.fixture
def pair(platform: Platform) -> tuple[Version, Version]:
    return _pair(platform, OLDER, NEWER)


def _pair(platform: Platform, older: str, newer: str) -> tuple[Version, Version]:
    one = uploaded(platform, Kind.DATASET, "facts", version="1", files={"part.csv": older.encode()})
    other = uploaded(platform, Kind.DATASET, "facts", version="2", files={"part.csv": newer.encode()})
    return one, other


def _ask(api: httpx.Client, pair: tuple[Version, Version], key: Sequence[str] = ("id",)) -> httpx.Response:
    body = {"withId": str(pair[0].id), "key": list(key)}
    return api.post(f"/catalog/datasets/{pair[1].id}/comparisons", json=body)


def _result(api: httpx.Client, pair: tuple[Version, Version], key: Sequence[str] = ("id",)) -> Any:
    asked = _ask(api, pair, key).json()["data"]
    return api.get(f"/catalog/datasets/{pair[1].id}/comparisons/{asked['id']}").json()["data"]


def test_small_versions_are_compared_while_the_request_waits(api: httpx.Client, pair: tuple[Version, Version]) -> None:
    found = _result(api, pair)
    assert found["state"]["status"] == "succeeded"
    rows = found["result"]["rows"]
    assert [rows[name] for name in ("added", "removed", "modified", "unchanged")] == [4, 3, 2, 55]
    assert found["result"]["addedColumns"] == ["more"]
    first = next(row for row in found["result"]["sample"] if row["change"] == "modified")
    assert (first["before"]["n"], first["after"]["n"], first["changed"]) == (3, 99, ["n"])
    assert found["reports"] == {
        "olderPii": None, "newerPii": None, "olderScore": None, "newerScore": None, "pii": [], "quality": [],
    }  # fmt: skip


def test_asking_again_answers_with_the_same_comparison(api: httpx.Client, pair: tuple[Version, Version]) -> None:
    first, again, other = _ask(api, pair), _ask(api, pair), _ask(api, pair, key=())
    assert first.json()["data"] == again.json()["data"]
    assert other.json()["data"]["id"] != first.json()["data"]["id"]


def test_what_cannot_be_compared_is_refused_and_nothing_is_kept(
    api: httpx.Client, platform: Platform, admin: Actor, pair: tuple[Version, Version]
) -> None:
    refused = _ask(api, pair, key=["nothing"])
    assert refused.status_code == 422
    assert [problem["path"] for problem in refused.json()["data"]["errors"]] == ["key"]
    assert _ask(api, (pair[1], pair[1])).status_code == 400
    empty = api.post("/catalog/datasets", json={"name": "none", "version": "1", "ownerTeam": "data"}).json()["data"]
    path = f"/catalog/datasets/{pair[1].id}/comparisons"
    assert api.post(path, json={"withId": empty["id"]}).status_code == 409
    assert api.post(path, json={"withId": str(uuid4())}).status_code == 404
    with platform.transaction(admin) as tx:
        assert comparisons.names(tx) == []


def test_a_comparison_is_not_shown_under_another_data_set(
    api: httpx.Client, platform: Platform, pair: tuple[Version, Version]
) -> None:
    asked = _ask(api, pair).json()["data"]
    stranger = uploaded(platform, Kind.DATASET, "stranger")
    assert api.get(f"/catalog/datasets/{stranger.id}/comparisons/{asked['id']}").status_code == 404


def test_no_formula_leaves_in_an_exported_cell(api: httpx.Client, platform: Platform) -> None:
    attack = '=HYPERLINK("http://evil.example","click")'
    newer = 'id,=cmd,text\n1,@SUM(A1),"' + attack.replace('"', '""') + '"\n2,-5,plain\n'
    pair = _pair(platform, "id,=cmd,text\n2,7,plain\n", newer)
    asked = _ask(api, pair).json()["data"]
    answer = api.get(f"/catalog/datasets/{pair[1].id}/comparisons/{asked['id']}/rows.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.reader(io.StringIO(answer.text)))
    assert lines[0] == ["change", "side", "row", "changed columns", "id", "'=cmd", "text"]
    assert lines[1] == ["added", "newer", "1", "", "1", "'@SUM(A1)", f"'{attack}"]
    assert ["modified", "newer", "2", "'=cmd", "2", "-5", "plain"] in lines


class TestLarge:
    """Versions too large to be compared at once."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"comparison_inline_bytes": 0})

    def test_large_versions_are_compared_by_a_run(
        self, api: httpx.Client, platform: Platform, admin: Actor, pair: tuple[Version, Version]
    ) -> None:
        asked = _ask(api, pair).json()["data"]
        assert asked["state"]["status"] == "queued"
        path = f"/catalog/datasets/{pair[1].id}/comparisons/{asked['id']}"
        assert api.get(f"{path}/rows.csv").status_code == 409
        with platform.transaction(admin) as tx:
            (item,) = comparisons.active(tx)
            definitions = build(read(tx))
        assets: list[Any] = list(definitions.assets or [])
        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize(
                assets,
                selection=[dg.AssetKey(list(item.asset_key))],
                resources={"platform": platform},
                instance=instance,
                tags={WORK_TAG: item.run_key},
            )
        assert done.success
        found = api.get(path).json()["data"]
        assert (found["state"]["status"], found["result"]["rows"]["modified"]) == ("succeeded", 2)

    def test_a_comparison_that_failed_may_be_asked_for_again_and_a_deleted_version_takes_its_rows_along(
        self, platform: Platform, admin: Actor, pair: tuple[Version, Version]
    ) -> None:
        with platform.transaction(admin) as tx:
            first = comparisons.request(tx, pair[1].id, pair[0].id, DiffOptions())
            comparisons.fail(tx, first.id, "the disk was full")
        with platform.transaction(admin) as tx:
            again = comparisons.request(tx, pair[1].id, pair[0].id, DiffOptions())
        assert again.id != first.id
        with platform.transaction(admin) as tx:
            assert comparisons.forget(tx, pair[0].id) == 2
        with platform.transaction(admin) as tx, pytest.raises(NotFound):
            comparisons.get(tx, pair[1].id, again.id)
