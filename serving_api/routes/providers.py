"""The providers of external models: looked at, tested, given another key. Nothing here ever answers with a key."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import SecretStr

from llmops_resources.catalog import probes, providers, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.probes import ConnectionReport
from llmops_resources.catalog.providers import Provider, ProviderView
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, Requires, demand
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/catalog/models", tags=["models"])
Reader = Annotated[Actor, Depends(Requires(Permission.CATALOG_READ))]
Keeper = Annotated[Actor, Depends(Requires(Permission.SECRET_WRITE, Permission.MODEL_WRITE))]

#: How the specification spells a provider inside a model's metadata, and how we call it.
_SPELLINGS = {
    "model_name": "modelName", "modelName": "modelName", "api_key": "apiKey", "apiKey": "apiKey",
    "endpoint": "endpoint", "base_url": "endpoint", "baseUrl": "endpoint",
    "organisation": "organisation", "organization": "organisation",
}  # fmt: skip


class ProviderInput(Body):
    """Where an external model is. `apiKey` is written only: no answer has it."""

    provider: Provider
    model_name: str
    endpoint: str | None = None
    organisation: str | None = None
    api_key: SecretStr | None = None


class KeyInput(Body):
    api_key: SecretStr


def lifted(data: Any) -> Any:
    """A create-model body whose metadata holds the provider, as the specification writes it, in our spelling."""
    is_external = isinstance(data, dict) and data.get("type") == "external"
    metadata = data.get("metadata") if is_external else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("provider"), str) or data.get("provider"):
        return data
    rest = {name: value for name, value in metadata.items() if name not in _SPELLINGS and name != "provider"}
    given = {_SPELLINGS[name]: value for name, value in metadata.items() if name in _SPELLINGS}
    return {**data, "metadata": rest, "provider": {**given, "provider": metadata["provider"]}}


@router.get("/{model_id}/provider")
def get_provider(platform: Doors, actor: Reader, model_id: UUID) -> Envelope[ProviderView]:
    """An external model's provider, and the last characters of its key."""
    with platform.transaction(actor) as tx:
        return ok(providers.view(tx, model_id))


@router.put("/{model_id}/provider/key")
def replace_key(platform: Doors, actor: Keeper, model_id: UUID, body: KeyInput) -> Envelope[ProviderView]:
    """Use another key from now on; the version and its approval stay. For keepers of secrets and for its creator."""
    with platform.transaction(actor) as tx:
        created_by = versions.get(tx, model_id, Kind.MODEL).created_by
    if created_by != actor.id:
        demand(platform, actor, Permission.SECRET_WRITE, str(model_id))
    with platform.transaction(actor) as tx:
        view = providers.replace_key(tx, platform.settings, model_id, body.api_key)
    return ok(view, "the key was replaced")


@router.post("/{model_id}/test-connection")
def test_connection(platform: Doors, actor: Keeper, model_id: UUID) -> Envelope[ConnectionReport]:
    """Ask the provider whether it answers and lists the model. Bounded in time, bytes and number."""
    with platform.transaction(actor) as tx:
        connection = providers.connect(tx, platform.settings, versions.get(tx, model_id, Kind.MODEL))
        probes.admit(tx, model_id, connection.config.host)
    report = probes.probe(connection, platform.settings)
    return ok(report, "the provider answers" if report.reachable else "the provider was not reached")
