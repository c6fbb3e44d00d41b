"""Approval is of content, by digest, by somebody else, and only with evidence."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.approvals import ApprovedDataset
from llmops_resources.catalog.lifecycle import Decision, Kind, Status
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Forbidden, NotFound, ValidationFailed
from llmops_resources.governance import audit
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from tests.factories import approve, approved, uploaded, validated

REVIEWER = Actor("rita", frozenset({"reviewer"}))


def test_an_approved_dataset_can_be_used(platform: Platform, admin: Actor) -> None:
    entry = approved(platform, Kind.DATASET, "numbers")
    with platform.transaction(admin) as tx:
        assert approvals.approved_dataset(tx, entry.id).digest == entry.digest


def test_only_the_approvals_room_can_make_the_proof(platform: Platform) -> None:
    entry = approved(platform, Kind.DATASET, "numbers")
    with pytest.raises(TypeError, match="only the approvals module"):
        ApprovedDataset(entry, object())


def test_an_unvalidated_dataset_cannot_be_approved(platform: Platform) -> None:
    entry = uploaded(platform, Kind.DATASET, "numbers")
    with pytest.raises(Conflict, match="has not been validated yet"):
        approve(platform, entry.id)


def test_a_failed_validation_forbids_approval_and_says_why(platform: Platform) -> None:
    entry = uploaded(platform, Kind.DATASET, "numbers")
    validated(platform, entry, passed=False)
    with pytest.raises(Conflict, match="PII was found"):
        approve(platform, entry.id)


def test_a_decision_about_other_bytes_is_stale(platform: Platform, admin: Actor) -> None:
    entry = uploaded(platform, Kind.DATASET, "numbers")
    validated(platform, entry)
    with platform.transaction(admin) as tx:
        approvals.submit(tx, entry.id)
    with pytest.raises(Conflict, match="not the ones you reviewed"), platform.transaction(REVIEWER) as tx:
        approvals.decide(tx, entry.id, Decision.APPROVE, digest="sha256:" + "0" * 64)


def test_approving_twice_changes_nothing(platform: Platform, admin: Actor) -> None:
    entry = approved(platform, Kind.DATASET, "numbers")
    with platform.transaction(admin) as tx:
        again = approvals.decide(tx, entry.id, Decision.APPROVE, digest=entry.digest)
        assert again == entry
        assert len(approvals.history(tx, entry.id)) == 1


def test_ten_reviewers_at_once_leave_one_approval(platform: Platform, admin: Actor) -> None:
    entry = uploaded(platform, Kind.DATASET, "numbers")
    validated(platform, entry)
    with platform.transaction(admin) as tx:
        approvals.submit(tx, entry.id)

    def decide(number: int) -> Status:
        with platform.transaction(Actor(f"reviewer-{number}", frozenset({"reviewer"}))) as tx:
            return approvals.decide(tx, entry.id, Decision.APPROVE, digest=entry.digest).status

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(decide, range(10))) == {Status.APPROVED}
    with platform.transaction(admin) as tx:
        assert len(approvals.history(tx, entry.id)) == 1


def test_the_submitter_may_not_approve_their_own_version(settings: Settings, admin: Actor) -> None:
    with open_platform(settings.model_copy(update={"single_user": False})) as platform:
        entry = uploaded(platform, Kind.DATASET, "numbers")
        validated(platform, entry)
        with pytest.raises(Forbidden, match="may not approve"):
            approve(platform, entry.id)
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
        with platform.transaction(REVIEWER) as tx:
            assert approvals.decide(tx, entry.id, Decision.APPROVE).status is Status.APPROVED


def test_a_single_user_may_and_the_audit_log_says_so(platform: Platform, admin: Actor) -> None:
    entry = approved(platform, Kind.DATASET, "numbers")
    with platform.transaction(admin) as tx:
        decision = audit.search(tx, resource_id=str(entry.id), action="dataset.approve")[0]
    assert "SINGLE_USER" in decision.metadata["waived"]


def test_a_model_without_its_card_cannot_be_submitted(platform: Platform, admin: Actor) -> None:
    entry = uploaded(platform, Kind.MODEL, "tiny", files={"config.json": b"{}"})
    with platform.transaction(admin) as tx:
        versions.change_card(tx, entry.id, {"purpose": "answers"})
    with pytest.raises(ValidationFailed) as failure, platform.transaction(admin) as tx:
        approvals.submit(tx, entry.id)
    assert [problem["path"] for problem in failure.value.details] == [
        "metadata.scope",
        "metadata.contact",
        "metadata.license",
    ]


def test_a_deprecated_version_is_no_longer_approved(platform: Platform, admin: Actor) -> None:
    entry = approved(platform, Kind.MODEL, "tiny")
    with platform.transaction(admin) as tx:
        approvals.change_status(tx, entry.id, Status.DEPRECATED)
        assert not approvals.is_live(tx, entry.id, entry.manifest.digest)
    with pytest.raises(Conflict, match="is deprecated"), platform.transaction(admin) as tx:
        approvals.approved_model(tx, entry.id)


@pytest.mark.parametrize("bad", ["no-such-id", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_version_is_not_found(platform: Platform, admin: Actor, bad: str) -> None:
    with pytest.raises(NotFound), platform.transaction(admin) as tx:
        approvals.approved_model(tx, bad)


def test_other_bytes_for_a_version_with_files_are_refused(platform: Platform, admin: Actor) -> None:
    from llmops_resources.blobs import Manifest, StoredFile

    entry = uploaded(platform, Kind.DATASET, "numbers")
    other = Manifest.of([StoredFile(path="part-0001.csv", size=1, sha256="0" * 64)])
    with pytest.raises(Conflict, match="already has files"), platform.transaction(admin) as tx:
        versions.attach_files(tx, entry.id, other, prefix="x", uri="x")
