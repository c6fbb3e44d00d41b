"""An endpoint's backend follows its model, also on the way back."""

import pytest

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Decision, Kind
from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, revisions
from llmops_resources.serving.endpoints import Endpoint, Environment
from llmops_resources.training import submission
from llmops_resources.training.recipe import Recipe
from tests import factories
from tests.providers.test_secrets import external


def deploy(tx: Transaction, model_id: object) -> Endpoint:
    return endpoints.deploy(
        tx, model_id=str(model_id), environment=Environment.DEV, backend="local", route="r", rollback_plan=None
    )


def test_a_route_moves_to_a_provider_and_back_with_its_backend(platform: Platform) -> None:
    inside = factories.approved(platform, Kind.MODEL, "inside", files={"model.safetensors": b"weights"})
    outside = factories.approve(platform, external(platform).id)
    with platform.transaction(factories.ADMIN) as tx:
        assert deploy(tx, inside.id).backend == "local"
        moved = deploy(tx, outside.id)
        assert (moved.backend, moved.model_digest) == ("external", outside.digest)
        back = revisions.rollback(tx, platform.settings, moved.id)
        assert (back.backend, back.model_id) == ("local", inside.id)


def test_a_stale_digest_is_refused_and_the_right_one_is_live(platform: Platform) -> None:
    draft = external(platform)
    with platform.transaction(factories.ADMIN) as tx:
        approvals.submit(tx, draft.id)
        with pytest.raises(approvals.Conflict):
            approvals.decide(tx, draft.id, Decision.APPROVE, digest="sha256:another")
        approvals.decide(tx, draft.id, Decision.APPROVE, digest=draft.digest)
        assert approvals.is_live(tx, draft.id, draft.digest or "")


def test_an_external_model_cannot_be_fine_tuned(platform: Platform) -> None:
    model = factories.approve(platform, external(platform).id)
    dataset = factories.approved(platform, Kind.DATASET, "data")
    recipe = Recipe.from_hyperparameters("finetune", {"textColumn": "answer"}, use_gpu=False)
    with platform.transaction(factories.ADMIN) as tx, pytest.raises(ValidationFailed, match="external"):
        submission.submit(tx, recipe=recipe, dataset_id=dataset.id, model_id=model.id, output_model_name="next")
