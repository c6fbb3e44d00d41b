"""Any order of acts by anybody: what is live was approved by somebody else, for these bytes, and no recall holds it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from llmops_resources.catalog import approvals, lineage, recalls, versions
from llmops_resources.catalog.lifecycle import Decision, Kind, Status
from llmops_resources.catalog.lineage import Role
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.impact import withdrawal
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from tests.factories import uploaded

ROLES = {"ray": "researcher", "rita": "reviewer", "rosa": "reviewer"}
PEOPLE = {name: Actor(name, frozenset({role})) for name, role in ROLES.items()}
people, entries = st.sampled_from(sorted(PEOPLE)), st.sampled_from(["1", "2"])


class Lifecycle(RuleBasedStateMachine):
    """Two versions of a model, the second made from the first."""

    platform: Platform
    number = 0

    @initialize()
    def create(self) -> None:
        Lifecycle.number += 1
        name = f"model_{Lifecycle.number}"
        self.made: dict[str, Version] = {
            version: uploaded(self.platform, Kind.MODEL, name, version=version, actor=PEOPLE["ray"])
            for version in ("1", "2")
        }
        with self.platform.transaction(PEOPLE["ray"]) as tx:
            lineage.record(tx, parent=self.made["1"].id, child=self.made["2"].id, role=Role.FINE_TUNED_FROM)

    @rule(who=people, which=entries)
    def submit(self, who: str, which: str) -> None:
        self._try(lambda tx: approvals.submit(tx, self.made[which].id), who)

    @rule(who=people, which=entries, decision=st.sampled_from(list(Decision)), stale=st.booleans())
    def decide(self, who: str, which: str, decision: Decision, stale: bool) -> None:
        digest = "sha256:0" if stale else self.made[which].digest
        done = self._try(lambda tx: approvals.decide(tx, self.made[which].id, decision, digest=digest), who)
        assert not (done and stale)

    @rule(who=people, which=entries, to=st.sampled_from([Status.DRAFT, Status.DEPRECATED]))
    def move(self, who: str, which: str, to: Status) -> None:
        self._try(lambda tx: approvals.change_status(tx, self.made[which].id, to), who)

    @rule(who=people, which=entries)
    def make_current(self, who: str, which: str) -> None:
        self._try(lambda tx: approvals.make_current(tx, self.made[which].id), who)

    @rule(who=people, which=entries)
    def recall(self, who: str, which: str) -> None:
        assert self._try(lambda tx: withdrawal.recall(tx, self.made[which].id, "a reason"), who)

    @rule(who=people, which=entries)
    def lift(self, who: str, which: str) -> None:
        with self.platform.transaction(PEOPLE[who]) as tx:
            opened = recalls.open_of(tx, self.made[which].id)
        lifted = self._try(lambda tx: withdrawal.lift(tx, self.made[which].id, ""), who)
        assert lifted == (opened is not None and opened.recalled_by != who)

    @invariant()
    def what_is_live_was_approved_by_somebody_else_and_nothing_holds_it(self) -> None:
        with self.platform.transaction(PEOPLE["rita"]) as tx:
            shown = {which: versions.get(tx, entry.id) for which, entry in self.made.items()}
            held = {
                version_id
                for entry in self.made.values()
                if (opened := recalls.open_of(tx, entry.id))
                for version_id in opened.version_ids
            }
            live = [v for v in shown.values() if approvals.is_live(tx, v.id, v.manifest.digest)]
            for version in live:
                last = approvals.history(tx, version.id)[0]
                assert last.decision is Decision.APPROVE
                assert last.actor_id not in {version.submitted_by, version.created_by}
            current = approvals.current(tx, Kind.MODEL, self.made["1"].name)
        assert {version.id for version in shown.values() if version.quarantined_at} == held
        assert not held & {version.id for version in live}
        newest = max(live, key=lambda version: version.published_at or version.created_at, default=None)
        assert (current and current.id) == (newest and newest.id)

    def _try(self, act: object, who: str) -> bool:
        try:
            with self.platform.transaction(PEOPLE[who]) as tx:
                act(tx)  # type: ignore[operator]
        except PlatformError:
            return False
        return True


@pytest.fixture
def team(database_url: str) -> Iterator[Platform]:
    with tempfile.TemporaryDirectory() as folder:
        given = Settings(
            llmops_home=Path(folder), database_url=database_url, secret_key="x" * 40, single_user=False, _env_file=None
        )
        with open_platform(given, application="test") as platform:
            yield platform


def test_no_order_of_acts_brings_a_version_into_use_that_should_not_be(team: Platform) -> None:
    machine = type("MachineOnThisPlatform", (Lifecycle,), {"platform": team})
    bounds = settings(
        max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=bounds)
