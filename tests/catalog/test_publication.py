"""Which version of a name is current, who may approve what, and what must be said before a review."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.lifecycle import Decision, Kind, Status
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed
from llmops_resources.governance import audit
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from tests.factories import approve, approved, uploaded, validated


def _current(platform: Platform, name: str) -> str | None:
    with platform.transaction(Actor("system:test")) as tx:
        found = approvals.current(tx, Kind.MODEL, name)
    return found.version if found else None


def test_an_approval_publishes_and_a_rollback_brings_an_earlier_version_back(platform: Platform, admin: Actor) -> None:
    first = approved(platform, Kind.MODEL, "tiny")
    assert _current(platform, "tiny") == "1"
    second = approved(platform, Kind.MODEL, "tiny", version="2")
    assert _current(platform, "tiny") == "2"
    with platform.transaction(admin) as tx:
        approvals.make_current(tx, first.id, "2 forgets its manners")
    assert _current(platform, "tiny") == "1"
    with platform.transaction(admin) as tx:
        approvals.make_current(tx, first.id)
        (entry,) = audit.search(tx, action="model.make_current")
    assert (entry.metadata["before"], entry.metadata["notes"]) == ("2", "2 forgets its manners")
    approved(platform, Kind.MODEL, "tiny", version="3")
    assert _current(platform, "tiny") == "3"
    with platform.transaction(admin) as tx:
        approvals.change_status(tx, first.id, Status.DEPRECATED)
    with pytest.raises(Conflict, match="is deprecated"), platform.transaction(admin) as tx:
        approvals.make_current(tx, first.id)
    assert second.version == "2"


def test_a_version_that_was_never_approved_cannot_be_made_current(platform: Platform, admin: Actor) -> None:
    draft = uploaded(platform, Kind.MODEL, "tiny")
    with pytest.raises(Conflict, match="not approved"), platform.transaction(admin) as tx:
        approvals.make_current(tx, draft.id)


def test_the_next_version_of_a_data_set_must_say_what_changed(platform: Platform, admin: Actor) -> None:
    approved(platform, Kind.DATASET, "pairs")
    with platform.transaction(admin) as tx:
        second = versions.create(tx, Kind.DATASET, name="pairs", version="2", owner_team="data")
    with pytest.raises(ValidationFailed) as refused, platform.transaction(admin) as tx:
        approvals.submit(tx, second.id)
    assert [problem["path"] for problem in refused.value.details] == ["files", "changeLog"]
    assert "since version 1" in refused.value.details[1]["remedy"]


def test_an_admin_approves_their_own_submission_only_with_a_written_reason(settings: Settings, admin: Actor) -> None:
    with open_platform(settings.model_copy(update={"single_user": False})) as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
        with pytest.raises(Forbidden, match="may not approve") as refused, platform.transaction(admin) as tx:
            approvals.decide(tx, entry.id, Decision.APPROVE, notes="  ")
        assert "reason" in refused.value.remedy
        with platform.transaction(admin) as tx:
            approvals.decide(tx, entry.id, Decision.APPROVE, notes="an outage; nobody else is awake")
        with platform.transaction(admin) as tx:
            (decision,) = audit.search(tx, action="model.approve")
        assert "an outage; nobody else is awake" in decision.metadata["waived"]


def test_a_reviewer_who_submitted_may_not_approve_whatever_they_write(settings: Settings) -> None:
    reviewer = Actor("rita", frozenset({"reviewer"}))
    with open_platform(settings.model_copy(update={"single_user": False})) as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny", actor=reviewer)
        with pytest.raises(Forbidden), platform.transaction(reviewer) as tx:
            approvals.submit(tx, entry.id)
            approvals.decide(tx, entry.id, Decision.APPROVE, notes="I looked at it very hard")


def test_an_approval_and_a_rejection_at_once_leave_one_decision(platform: Platform, admin: Actor) -> None:
    for number in range(5):
        entry = uploaded(platform, Kind.DATASET, f"numbers_{number}")
        validated(platform, entry)
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)

        def decide(decision: Decision, entry: versions.Version = entry) -> str:
            try:
                with platform.transaction(Actor(f"for-{decision}", frozenset({"reviewer"}))) as tx:
                    return approvals.decide(tx, entry.id, decision, digest=entry.digest).status
            except Conflict:
                return "refused"

        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(decide, [Decision.APPROVE, Decision.REJECT, Decision.REQUEST_CHANGES]))
        with platform.transaction(admin) as tx:
            (only,) = approvals.history(tx, entry.id)
            assert sorted(answers).count("refused") == 2
            assert versions.get(tx, entry.id).status in answers
            assert only.digest == entry.digest


def test_asking_for_changes_twice_is_one_decision(platform: Platform, admin: Actor) -> None:
    entry = uploaded(platform, Kind.MODEL, "tiny")
    with platform.transaction(admin) as tx:
        approvals.submit(tx, entry.id)
    for _ in range(2):
        with platform.transaction(admin) as tx:
            assert approvals.decide(tx, entry.id, Decision.REQUEST_CHANGES, notes="why?").status is Status.DRAFT
    with platform.transaction(admin) as tx:
        assert len(approvals.history(tx, entry.id)) == 1
    assert approve(platform, entry.id).status is Status.APPROVED
