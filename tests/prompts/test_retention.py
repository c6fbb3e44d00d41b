"""How long experiments keep who took part: until RETENTION_DAYS after their end, and what was found stays."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from llmops_assets.sweeping import forget
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.prompts.experiments import concluding, library, observations, running
from llmops_resources.prompts.experiments.library import Experiment, ExperimentWish, VariantWish
from llmops_resources.prompts.experiments.looks import Look
from llmops_resources.prompts.tables import ExperimentRow, ExposureRow, LookRow
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from llmops_resources.values import utc_now
from tests.factories import ADMIN, approved
from tests.gateway.records import a_record, book
from tests.prompts.prompts import approved_prompt, content

USERS = 12


@pytest.fixture
def prompts(platform: Platform) -> list[UUID]:
    """Two approved versions, and three routes."""
    model = approved(platform, Kind.MODEL, "m", files={"model.safetensors": b"weights"})
    with platform.transaction(ADMIN) as tx:
        for route in ("one", "two", "three"):
            endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route=route)
    return [approved_prompt(platform, "answers", content(f"Way {number}:")).id for number in (1, 2)]


def run(platform: Platform, prompts: list[UUID], route: str) -> Experiment:
    """A running experiment with users who rated, and two looks."""
    variants = tuple(VariantWish(name=name, prompt_id=each) for name, each in zip("ab", prompts, strict=True))
    with platform.transaction(ADMIN) as tx:
        made = running.start(tx, library.create(tx, ExperimentWish(name=route, route=route, variants=variants)).id)
    for _ in range(2):
        with platform.transaction(Actor("system:gateway")) as tx:
            calls = [
                a_record(experiment_id=made.id, subject=uuid4().hex, allocation=1, variant="ab"[number % 2],
                         at=utc_now(), latency_ms=5.0)
                for number in range(USERS // 2)
            ]  # fmt: skip
            book(tx, calls)
            for call in calls:
                observations.rate(tx, made.id, call.subject, call.variant, float(call.variant == "b"))
        with platform.transaction(Actor("system:experiments")) as tx:
            row = library.load(tx, made.id)
            running.keep(tx, row, running.look(tx, row))
    return made


def end(platform: Platform, experiment: Experiment, *, days_ago: float) -> Look:
    """Stop it so long ago; what was known then."""
    with platform.transaction(ADMIN) as tx:
        running.stop(tx, experiment.id)
        at = utc_now() - timedelta(days=days_ago)
        shift = update(ExperimentRow).where(ExperimentRow.id == experiment.id)
        tx.session.execute(shift.values(started_at=at - timedelta(days=1), stopped_at=at))
        earlier = update(LookRow).where(LookRow.experiment_id == experiment.id)
        tx.session.execute(earlier.values(at=LookRow.at - timedelta(days=days_ago + 0.1)),
                           execution_options={"synchronize_session": False})  # fmt: skip
    return known(platform, experiment)


def known(platform: Platform, experiment: Experiment) -> Look:
    with platform.transaction(ADMIN) as tx:
        found = running.present(tx, experiment.id)
    assert found is not None
    return found


def kept(platform: Platform, experiment: Experiment) -> tuple[int, int]:
    """How many users and looks it still has."""
    with platform.transaction(ADMIN) as tx:
        users, looks = (
            tx.session.scalar(select(func.count()).select_from(table).filter_by(experiment_id=experiment.id))
            for table in (ExposureRow, LookRow)
        )
    return users or 0, looks or 0


def test_users_and_looks_of_experiments_that_ended_long_ago_go_and_what_was_found_stays(
    platform: Platform, prompts: list[UUID]
) -> None:
    old, recent, going_on = (run(platform, prompts, route) for route in ("one", "two", "three"))
    platform.settings.retention_days = 30
    before = end(platform, old, days_ago=31)
    assert sum(one.users for one in before.figures) == USERS
    end(platform, recent, days_ago=29)

    assert forget(platform) == USERS + 3  # users, and all looks but the one that is made of what was known
    assert kept(platform, old) == (0, 1)
    assert known(platform, old) == before
    assert kept(platform, recent) == (USERS, 3)
    assert kept(platform, going_on) == (USERS, 2)
    assert forget(platform) == 0


def test_an_experiment_is_concluded_from_what_was_known_though_its_users_are_forgotten(
    platform: Platform, prompts: list[UUID]
) -> None:
    experiment = run(platform, prompts, "one")
    before = end(platform, experiment, days_ago=400)
    forget(platform)
    with platform.transaction(ADMIN) as tx:
        outcome = concluding.conclude(tx, experiment.id, winner="a", notes="the old words stay").outcome
    assert outcome is not None
    assert outcome.evidence == before
    platform.settings.retention_days = 1e-9
    assert forget(platform) == USERS  # calls, and nothing of the experiment
    assert known(platform, experiment) == before
