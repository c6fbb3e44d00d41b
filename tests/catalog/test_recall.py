"""A recall takes back a version and everything that came from it, at once, and no way around it stays open."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmops_resources.catalog import approvals, lineage, recalls, versions
from llmops_resources.catalog.lifecycle import Decision, Kind
from llmops_resources.catalog.lineage import Role
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed
from llmops_resources.evaluation import run_lists, runs
from llmops_resources.gateway import routes
from llmops_resources.governance import audit
from llmops_resources.impact import graph, withdrawal
from llmops_resources.platform import Platform, open_platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from llmops_resources.settings import Settings
from llmops_resources.training import jobs, submission
from llmops_resources.training.recipe import Recipe
from llmops_resources.work import WorkStatus
from tests.factories import approve, approved, uploaded, validated

ROSA = Actor("rosa", frozenset({"reviewer"}))
SMALL = {"hiddenSize": 32, "layers": 1, "heads": 2, "vocabSize": 384, "contextLength": 64}
RITA = Actor("rita", frozenset({"reviewer"}))


@pytest.fixture
def family(platform: Platform, admin: Actor) -> dict[str, Version]:
    """corpus → base → tuned, with an evaluation of tuned on a benchmark and an endpoint that serves it."""
    made = {
        "corpus": approved(platform, Kind.DATASET, "corpus"),
        "bench": approved(platform, Kind.DATASET, "bench", benchmark=True),
        "base": approved(platform, Kind.MODEL, "base"),
        "tuned": approved(platform, Kind.MODEL, "tuned"),
        "stranger": approved(platform, Kind.MODEL, "stranger"),
    }
    with platform.transaction(admin) as tx:
        lineage.record(tx, parent=made["corpus"].id, child=made["base"].id, role=Role.TRAINED_ON)
        lineage.record(tx, parent=made["base"].id, child=made["tuned"].id, role=Role.FINE_TUNED_FROM)
        runs.request(tx, model_id=made["tuned"].id, dataset_id=made["bench"].id)
        for name in ("tuned", "stranger"):
            endpoints.deploy(tx, model_id=made[name].id, environment=Environment.DEV, backend="local", route=name)
    return made


def _train_on(platform: Platform, dataset: Version) -> jobs.Job:
    recipe = Recipe.from_hyperparameters("from_scratch", {"architecture": SMALL, "textColumn": "text"}, use_gpu=False)
    with platform.transaction(ROSA) as tx:
        return submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name="next")


def test_the_impact_of_a_data_set_names_every_model_evaluation_and_endpoint(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    with platform.transaction(admin) as tx:
        found = graph.impact(tx, family["corpus"].id)
        around = graph.graph(tx, family["base"].id)
    assert [node.name for node in found.models] == ["base", "tuned"]
    assert [(node.name, node.status) for node in found.evaluations] == [("bench", "queued")]
    assert [(node.name, node.version, node.status) for node in found.endpoints] == [("tuned", "dev", "deploying")]
    assert {node.kind for node in around.nodes} == {"dataset", "model", "evaluation", "endpoint"}
    assert {edge.role for edge in around.edges} == {
        Role.TRAINED_ON, Role.FINE_TUNED_FROM, Role.EVALUATED, Role.SERVED,
    }  # fmt: skip


def test_a_dry_run_changes_nothing_and_tells_the_same(platform: Platform, family: dict[str, Version]) -> None:
    with platform.transaction(ROSA) as tx:
        told = withdrawal.recall(tx, family["corpus"].id, "licence withdrawn", dry_run=True)
    with platform.transaction(ROSA) as tx:
        assert tx.session.is_active
        assert versions.get(tx, family["tuned"].id).quarantined_at is None
        done = withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")
    assert [node.id for node in told.impact.models] == [node.id for node in done.impact.models]
    assert told.stopped_evaluations == done.stopped_evaluations


def test_after_a_recall_nothing_that_came_from_it_can_be_used(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    job = _train_on(platform, family["corpus"])
    with platform.transaction(ROSA) as tx:
        withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")
    with platform.transaction(admin) as tx:
        for name in ("corpus", "base", "tuned"):
            version = versions.get(tx, family[name].id)
            assert version.quarantine_reason == "licence withdrawn"
            assert not approvals.is_live(tx, version.id, version.manifest.digest)
            assert approvals.current(tx, version.kind, version.name) is None
        assert approvals.is_live(tx, family["stranger"].id, family["stranger"].manifest.digest)
        assert jobs.get(tx, job.id).state.status is WorkStatus.CANCELLED
        assert run_lists.search(tx, status=WorkStatus.QUEUED).items == []
        snapshot = routes.load(tx, platform.settings)
        assert isinstance(snapshot.targets["tuned"].refusal, Conflict)
        assert not isinstance(snapshot.targets["stranger"].refusal, Conflict)
    for use in (
        lambda tx: approvals.approved_dataset(tx, family["corpus"].id),
        lambda tx: approvals.approved_model(tx, family["tuned"].id),
        lambda tx: runs.request(tx, model_id=family["tuned"].id, dataset_id=family["bench"].id),
        lambda tx: endpoints.deploy(tx, model_id=family["base"].id, environment=Environment.DEV, backend="local"),
        lambda tx: approvals.make_current(tx, family["base"].id),
    ):
        with pytest.raises(Conflict, match="recalled"), platform.transaction(admin) as tx:
            use(tx)


def test_the_audit_log_lists_everything_a_recall_touched(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    with platform.transaction(ROSA) as tx:
        withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")
    with platform.transaction(admin) as tx:
        (entry,) = audit.search(tx, action="dataset.recall")
    assert set(entry.metadata["quarantined"]) == {str(family[name].id) for name in ("corpus", "base", "tuned")}
    assert [endpoint.split()[0] for endpoint in entry.metadata["endpoints"]] == ["dev/tuned"]
    assert len(entry.metadata["stopped"]) == 1


def test_a_recall_repeated_touches_only_what_came_since(platform: Platform, family: dict[str, Version]) -> None:
    with platform.transaction(ROSA) as tx:
        first = withdrawal.recall(tx, family["corpus"].id, "licence withdrawn").recall
    with platform.transaction(RITA) as tx:
        again = withdrawal.recall(tx, family["corpus"].id, "another reason").recall
    assert first == again


def test_what_is_made_from_a_recalled_version_is_born_in_quarantine(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    with platform.transaction(ROSA) as tx:
        withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")
    late = uploaded(platform, Kind.MODEL, "late")
    with platform.transaction(admin) as tx:
        lineage.record(tx, parent=family["tuned"].id, child=late.id, role=Role.FINE_TUNED_FROM)
        assert versions.get(tx, late.id).quarantine_reason == "licence withdrawn"
    with pytest.raises(Conflict, match="recalled"):
        approve(platform, late.id)


def test_only_another_reviewer_lifts_a_recall(settings: Settings) -> None:
    with open_platform(settings.model_copy(update={"single_user": False})) as platform:
        entry = uploaded(platform, Kind.DATASET, "corpus")
        with platform.transaction(ROSA) as tx:
            withdrawal.recall(tx, entry.id, "licence withdrawn")
        with pytest.raises(Forbidden, match="may not lift"), platform.transaction(ROSA) as tx:
            withdrawal.lift(tx, entry.id, "")
        with platform.transaction(RITA) as tx:
            assert withdrawal.lift(tx, entry.id, "cleared by legal").lifted_by == "rita"
            assert versions.get(tx, entry.id).quarantined_at is None
        with pytest.raises(Conflict, match="no recall of its own"), platform.transaction(RITA) as tx:
            withdrawal.lift(tx, entry.id, "")


def test_lifting_one_recall_leaves_what_another_still_holds(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    with platform.transaction(admin) as tx:
        withdrawal.recall(tx, family["base"].id, "a backdoor")
        withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")
        withdrawal.lift(tx, family["corpus"].id, "")
    with platform.transaction(admin) as tx:
        held = {name for name, entry in family.items() if versions.get(tx, entry.id).quarantined_at}
        assert held == {"base", "tuned"}
        withdrawal.lift(tx, family["base"].id, "")
    with platform.transaction(admin) as tx:
        assert approvals.approved_model(tx, family["tuned"].id).version.id == family["tuned"].id


def test_a_recall_without_a_reason_is_refused(platform: Platform, family: dict[str, Version]) -> None:
    with pytest.raises(ValidationFailed), platform.transaction(ROSA) as tx:
        withdrawal.recall(tx, family["corpus"].id, "  ")


def test_models_made_while_a_recall_runs_never_slip_through(
    platform: Platform, family: dict[str, Version], admin: Actor
) -> None:
    late = [uploaded(platform, Kind.MODEL, f"late_{number}") for number in range(12)]

    def make(model: Version) -> None:
        with platform.transaction(admin) as tx:
            lineage.record(tx, parent=family["tuned"].id, child=model.id, role=Role.FINE_TUNED_FROM)

    def recall(_: int) -> None:
        with platform.transaction(ROSA) as tx:
            withdrawal.recall(tx, family["corpus"].id, "licence withdrawn")

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(make, model) for model in late[:6]]
        work += [pool.submit(recall, number) for number in range(3)]
        work += [pool.submit(make, model) for model in late[6:]]
        for done in work:
            done.result()
    with platform.transaction(admin) as tx:
        opened = recalls.open_of(tx, family["corpus"].id)
        assert opened is not None
        assert all(versions.get(tx, model.id).quarantined_at for model in late)
        assert {model.id for model in late} <= set(opened.version_ids)


def test_an_approval_and_a_recall_at_once_never_end_in_a_live_version(platform: Platform, admin: Actor) -> None:
    for number in range(4):
        entry = uploaded(platform, Kind.DATASET, f"corpus_{number}")
        validated(platform, entry)
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)

        def decide(entry: Version = entry) -> None:
            try:
                with platform.transaction(RITA) as tx:
                    approvals.decide(tx, entry.id, Decision.APPROVE, digest=entry.digest)
            except Conflict:
                pass

        def take_back(entry: Version = entry) -> None:
            with platform.transaction(ROSA) as tx:
                withdrawal.recall(tx, entry.id, "licence withdrawn")

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(decide), pool.submit(take_back)]:
                done.result()
        with platform.transaction(admin) as tx:
            assert not approvals.is_live(tx, entry.id, entry.manifest.digest)
