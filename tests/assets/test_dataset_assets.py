"""Data set assets: a requested row becomes a materialization with its checks; without a row one is made."""

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from llmops_assets.claims import Ask, claimed
from llmops_resources.catalog import evidence, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind, PiiStatus
from llmops_resources.checks import validations
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.work import WorkStatus
from tests.assets.conftest import Materialize
from tests.factories import uploaded

KEYS = (("datasets", "facts"), ("validation_reports", "facts"))
GOOD = b"question,answer\n" + b"".join(b"what is number %d?,it is %d\n" % (i, i) for i in range(50))
PERSONAL = GOOD + b"who is it?,write to jane.roe@example.org or call +1 212 555 0143\n"


def _requested(platform: Platform, admin: Actor, content: bytes = GOOD) -> validations.Validation:
    dataset = uploaded(platform, Kind.DATASET, "facts", files={"part-0001.csv": content})
    with platform.transaction(admin) as tx:
        return validations.request(tx, dataset.id)


def test_a_requested_validation_becomes_one_materialization_named_by_its_digest(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    row = _requested(platform, admin)
    result = materialize(*KEYS, row=f"{row.id}:1")
    assert result.success
    (event,) = [
        m for m in result.asset_materializations_for_node("datasets_0_facts") if m.asset_key.path[0] == "datasets"
    ]
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == row.digest
    assert event.metadata["dagster/row_count"].value == 50
    assert {check.check_name: check.passed for check in result.get_asset_check_evaluations()} == {
        "structure": True, "pii": True, "quality": True,
    }  # fmt: skip
    with platform.transaction(admin) as tx:
        done = validations.latest(tx, row.dataset_id)
        found = evidence.latest(tx, row.dataset_id, EvidenceKind.VALIDATION)
    assert done.state.status is WorkStatus.SUCCEEDED
    assert done.state.run_id == result.dagster_run.run_id
    assert found is not None
    assert found.passed


def test_personal_data_fails_the_blocking_check_and_keeps_its_result(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    row = _requested(platform, admin, PERSONAL)
    result = materialize(*KEYS, row=f"{row.id}:1")
    assert not result.success
    passed = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert passed["pii"] is False
    with platform.transaction(admin) as tx:
        assert validations.latest(tx, row.dataset_id).state.status is WorkStatus.SUCCEEDED  # the check was done
        assert versions.get(tx, row.dataset_id).pii_status is PiiStatus.FAILED


def test_materializing_by_hand_validates_the_newest_version_again(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    dataset = uploaded(platform, Kind.DATASET, "facts", files={"part-0001.csv": GOOD})
    assert materialize(*KEYS).success
    with platform.transaction(admin) as tx:
        assert validations.latest(tx, dataset.id).state.status is WorkStatus.SUCCEEDED
        assert validations.active(tx) == []


def test_one_of_the_two_assets_can_be_materialized_alone(
    platform: Platform, admin: Actor, materialize: Materialize
) -> None:
    _requested(platform, admin)
    assert materialize(KEYS[1]).success


def test_a_data_set_without_files_says_so(platform: Platform, admin: Actor, materialize: Materialize) -> None:
    with platform.transaction(admin) as tx:
        versions.create(tx, Kind.DATASET, name="facts", version="1", owner_team="research")
    result = materialize(*KEYS)
    (failure,) = result.get_failed_step_keys() and [e for e in result.all_events if e.is_step_failure]
    assert "no files yet" in str(failure.step_failure_data.error)


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_run_of_another_attempt_than_the_present_one_changes_nothing(
    platform: Platform, admin: Actor, materialize: Materialize, attempt: int
) -> None:
    row = _requested(platform, admin)
    with platform.transaction(admin) as tx:
        validations.retry_dead(tx, row.id, attempt=1, reason="its run died")
    assert not materialize(*KEYS, row=f"{row.id}:{attempt}").success
    with platform.transaction(admin) as tx:
        state = validations.latest(tx, row.dataset_id).state
    assert (state.status, state.attempt) == (WorkStatus.QUEUED, 2)


def test_the_same_run_key_twice_validates_once(
    platform: Platform, admin: Actor, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    row = _requested(platform, admin)
    outcomes = [materialize(*KEYS, row=f"{row.id}:1").success for _ in range(2)]
    assert outcomes == [True, False]
    with platform.transaction(admin) as tx:
        assert len(evidence.of_version(tx, row.dataset_id)) == 1
        assert validations.latest(tx, row.dataset_id).state.status is WorkStatus.SUCCEEDED


@pytest.mark.parametrize(("terminated", "left"), [(True, WorkStatus.FAILED), (False, WorkStatus.RUNNING)])
def test_a_run_terminated_by_a_person_ends_its_row_and_one_stopped_with_the_machine_leaves_it_to_the_intake(
    platform: Platform, admin: Actor, instance: dg.DagsterInstance, terminated: bool, left: WorkStatus
) -> None:
    row = _requested(platform, admin)

    @dg.asset(required_resource_keys={"platform"})
    def interrupted(context: dg.AssetExecutionContext) -> None:
        with claimed(context, validations, lambda _tx: Ask(row.id)):
            if terminated:
                context.instance.report_run_canceling(context.run)
            raise DagsterExecutionInterruptedError

    with pytest.raises(DagsterExecutionInterruptedError):
        dg.materialize([interrupted], resources={"platform": platform}, instance=instance)
    with platform.transaction(admin) as tx:
        assert validations.latest(tx, row.dataset_id).state.status is left
