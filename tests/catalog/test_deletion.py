"""A version that something needs is not deleted; one that nothing needs goes, and its history stays."""

from pathlib import Path

import pytest

from llmops_resources.catalog import approvals, deletion, lineage, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Role
from llmops_resources.checks import validations
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, NotFound
from llmops_resources.evaluation import runs
from llmops_resources.governance import audit
from llmops_resources.impact import graph, withdrawal
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from tests.factories import approved, uploaded


def test_everything_that_needs_a_version_is_listed_at_once(platform: Platform, admin: Actor) -> None:
    corpus, bench = approved(platform, Kind.DATASET, "corpus"), approved(platform, Kind.DATASET, "bench")
    base = approved(platform, Kind.MODEL, "base")
    child = uploaded(platform, Kind.MODEL, "tuned")
    with platform.transaction(admin) as tx:
        lineage.record(tx, parent=base.id, child=child.id, role=Role.FINE_TUNED_FROM)
        runs.request(tx, model_id=base.id, dataset_id=bench.id)
        endpoints.deploy(tx, model_id=base.id, environment=Environment.DEV, backend="local", route="chat")
        validations.request(tx, corpus.id)
    with pytest.raises(Conflict, match="3 things need it") as refused, platform.transaction(admin) as tx:
        withdrawal.delete(tx, base.id)
    assert [(detail["type"], detail["name"]) for detail in refused.value.details][:1] == [("endpoint", "dev/chat")]  # type: ignore[typeddict-item]
    assert [detail["path"].split("/")[0] for detail in refused.value.details] == ["endpoint", "evaluation", "model"]
    for entry, needs in ((bench, "evaluation"), (corpus, "validation")):
        with platform.transaction(admin) as tx:
            assert [blocker.type for blocker in withdrawal.blockers(tx, entry.id)] == [needs]
    with platform.transaction(admin) as tx:
        approvals.submit(tx, child.id)
    with pytest.raises(Conflict, match="one thing needs it"), platform.transaction(admin) as tx:
        withdrawal.delete(tx, child.id)


def test_a_deleted_version_is_gone_with_its_files_and_its_history_stays(platform: Platform, admin: Actor) -> None:
    corpus, base = approved(platform, Kind.DATASET, "corpus"), approved(platform, Kind.MODEL, "base")
    with platform.transaction(admin) as tx:
        lineage.record(tx, parent=corpus.id, child=base.id, role=Role.TRAINED_ON)
    with platform.transaction(admin) as tx:
        withdrawal.delete(tx, base.id)
    assert withdrawal.clean_up(platform.blobs, lambda: platform.transaction(admin)) == 1
    assert list(platform.blobs.list(f"models/{base.id}")) == []
    with platform.transaction(admin) as tx:
        assert versions.of_name(tx, Kind.MODEL, "base") == []
        assert versions.search(tx, Kind.MODEL, filters={}).total == 0
        assert [(node.name, node.deleted) for node in graph.impact(tx, corpus.id).models] == [("base", True)]
        assert versions.remembered(tx, base.id).digest == base.digest
        assert [entry.action for entry in audit.search(tx, resource_id=str(base.id))][:2] == [
            "model.files_removed", "model.delete",
        ]  # fmt: skip
    with pytest.raises(NotFound, match="was deleted"), platform.transaction(admin) as tx:
        versions.get(tx, base.id)
    with pytest.raises(Conflict, match="was deleted"):
        uploaded(platform, Kind.MODEL, "base")
    with platform.transaction(admin) as tx:
        assert versions.next_version(tx, Kind.MODEL, "base") == "2"
        withdrawal.delete(tx, corpus.id)  # nothing that is still there was made from it


def test_an_evaluation_outlives_the_model_it_judged(platform: Platform, admin: Actor) -> None:
    bench, model = approved(platform, Kind.DATASET, "bench"), approved(platform, Kind.MODEL, "base")
    with platform.transaction(admin) as tx:
        evaluation = runs.request(tx, model_id=model.id, dataset_id=bench.id)
        runs.fail(tx, evaluation.id, "the machine burned down")
        withdrawal.delete(tx, model.id)
    with platform.transaction(admin) as tx:
        assert runs.get(tx, evaluation.id).model_name == "base"


def test_files_that_cannot_be_removed_now_are_removed_later(platform: Platform, admin: Actor, tmp_path: Path) -> None:
    base = approved(platform, Kind.MODEL, "base")
    with platform.transaction(admin) as tx:
        withdrawal.delete(tx, base.id)
    begin = lambda: platform.transaction(admin)  # noqa: E731  a verb's argument
    folder = platform.settings.home / "objects"
    away = tmp_path / "away"
    folder.rename(away)
    folder.write_text("a file where the store's folder was")
    assert withdrawal.clean_up(platform.blobs, begin) == 0
    folder.unlink()
    away.rename(folder)
    with platform.transaction(admin) as tx:
        assert [left.version_id for left in deletion.leftovers(tx)] == [base.id]
    assert withdrawal.clean_up(platform.blobs, begin) == 1
    assert withdrawal.clean_up(platform.blobs, begin) == 0
