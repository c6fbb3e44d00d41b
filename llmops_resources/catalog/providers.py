"""External models: where a provider is, what it calls the model, and how to connect to it.

The configuration is part of the version's metadata, without the API key, which is a secret of its own. The version's
digest is that of the configuration, so an approval names exactly one endpoint and model, and a changed configuration
needs a new version. The key may be replaced without one.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr
from yarl import URL

from llmops_resources import addresses
from llmops_resources.catalog import secrets, versions
from llmops_resources.catalog.lifecycle import Kind, ModelType, Status
from llmops_resources.catalog.secrets import SecretHint
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, FieldProblem, ValidationFailed, field_problem
from llmops_resources.settings import Settings
from llmops_resources.values import Value, sha256_of

OPENAI_ENDPOINT: Final = "https://api.openai.com/v1"
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_ORGANISATION: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_API_KEY: Final = re.compile(r"[!-~]{1,500}")
_CREDENTIALS: Final = frozenset(
    {"apikey", "apitoken", "accesstoken", "accesskey", "secret", "secretkey", "password", "token", "authorization"}
)


class Provider(StrEnum):
    OPENAI = "openai"
    OLLAMA = "ollama"
    OPENAI_COMPATIBLE = "openai_compatible"


class ProviderConfig(Value):
    """One model at one provider. All three speak OpenAI's protocol; they differ in what must be given."""

    provider: Provider
    endpoint: str
    model_name: str
    organisation: str | None = None

    @property
    def api_base(self) -> str:
        """What `/chat/completions` and `/models` are appended to."""
        return f"{self.endpoint}/v1" if self.provider is Provider.OLLAMA else self.endpoint

    @property
    def host(self) -> str:
        """Host and port."""
        return URL(self.endpoint).authority

    @property
    def digest(self) -> str:
        """The content that an approval of the external version names."""
        return sha256_of({"provider": self.json_dict()})


class ProviderView(Value):
    """A version's provider, and what may be known about its key."""

    config: ProviderConfig
    api_key: SecretHint | None


@dataclass(frozen=True)
class Connection:
    """All it takes to ask a provider; lives in memory only."""

    config: ProviderConfig
    key: SecretStr | None = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The headers that identify us."""
        named = {"OpenAI-Organization": self.config.organisation} if self.config.organisation else {}
        return {**named, "Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else named


def configure(
    *,
    provider: Provider,
    model_name: str,
    endpoint: str | None = None,
    organisation: str | None = None,
    api_key: SecretStr | None = None,
    allowed_hosts: Collection[str] = (),
) -> ProviderConfig:
    """A checked configuration. Raises ValidationFailed with every wrong field; no value of a key is in its words."""
    given = (endpoint or (OPENAI_ENDPOINT if provider is Provider.OPENAI else "")).strip()
    problems = list(_problems(provider, model_name, organisation, api_key))
    try:
        if not given:
            ask = "Give its address, such as http://ollama:11434."
            raise ValidationFailed("", details=[field_problem("provider.endpoint", "is required", ask)])
        addresses.check_url(given, allowed_hosts=allowed_hosts, path="provider.endpoint")
        if "?" in given:
            ask = "Leave out the ? and what follows it; a key belongs into apiKey."
            raise ValidationFailed("", details=[field_problem("provider.endpoint", "carries a query", ask)])
    except ValidationFailed as error:
        problems += error.details
    if problems:
        raise ValidationFailed("the provider's configuration is not complete", details=problems)
    return ProviderConfig(
        provider=provider,
        endpoint=_normal(provider, given),
        model_name=model_name,
        organisation=organisation or None,
    )


def register(
    tx: Transaction,
    settings: Settings,
    *,
    name: str,
    version: str,
    owner_team: str,
    metadata: Mapping[str, Any],
    config: ProviderConfig,
    api_key: SecretStr | None,
) -> Version:
    """A new external model in `draft`, complete without files. Raises as `versions.create` and `refuse_credentials`."""
    refuse_credentials(metadata)
    created = versions.create(
        tx, Kind.MODEL, name=name, version=version, owner_team=owner_team, type=ModelType.EXTERNAL,
        metadata={**metadata, "provider": config.json_dict()},
    )  # fmt: skip
    row = versions.load(tx, created.id)
    row.digest = config.digest
    if api_key is not None:
        secrets.put(tx, settings, row.id, config.digest, api_key)
    return versions.value(row)


def change_card(tx: Transaction, version: Version, metadata: Mapping[str, Any]) -> Version:
    """Replace the card of an external draft; the configuration stays as it is. Raises Conflict, ValidationFailed."""
    config = of_version(version).json_dict()
    if metadata.get("provider", config) != config:
        raise Conflict(
            "the provider's configuration of a version cannot be changed",
            remedy="Create a new version with the other configuration and have it approved.",
        )
    refuse_credentials(metadata)
    return versions.change_card(tx, version.id, {**metadata, "provider": config})


def of_version(version: Version) -> ProviderConfig:
    """The configuration of an external version. Raises Conflict when there is none that its digest names."""
    raw = version.metadata.get("provider")
    if version.type is not ModelType.EXTERNAL or not isinstance(raw, dict):
        raise Conflict(f"{version.name} {version.version} has no provider", remedy="Name an external model.")
    config = ProviderConfig.model_validate(raw)
    if config.digest != version.digest:
        raise Conflict(
            f"the provider's configuration of {version.name} {version.version} is not the one it was made with",
            remedy="Create a new version from the intended configuration.",
        )
    return config


def view(tx: Transaction, version_id: UUID) -> ProviderView:
    """The provider of an external model. Raises NotFound, Conflict for a model of another type."""
    return ProviderView(
        config=of_version(versions.get(tx, version_id, Kind.MODEL)), api_key=secrets.hint(tx, version_id)
    )


def replace_key(tx: Transaction, settings: Settings, version_id: UUID, api_key: SecretStr) -> ProviderView:
    """Use another key for the same configuration from now on, without a new version.

    Raises ValidationFailed for a key that cannot be one, Conflict for a version that is out of use.
    """
    version = versions.get(tx, version_id, Kind.MODEL)
    config = of_version(version)
    if version.status is Status.DEPRECATED:
        raise Conflict(f"{version.name} {version.version} is {version.status}", remedy="Use a version in use.")
    if problems := list(_key_problems(api_key, "apiKey")):
        raise ValidationFailed("the key cannot be stored", details=problems)
    secrets.put(tx, settings, version.id, config.digest, api_key)
    tx.audit("model.replace_key", "model", version.id, digest=config.digest)
    return view(tx, version.id)


def connect(tx: Transaction, settings: Settings, version: Version) -> Connection:
    """What asks this version's provider. Raises Conflict when its configuration or its key is not sound."""
    config = of_version(version)
    return Connection(config, secrets.reveal(tx, settings, version.id, config.digest))


def refuse_credentials(metadata: Mapping[str, Any]) -> None:
    """Raises ValidationFailed for metadata with a key or password in it: everybody may read metadata."""
    ask = "Send it as provider.apiKey; it is encrypted there."
    if found := list(_credentials(metadata, "metadata")):
        raise ValidationFailed(
            "credentials do not belong into metadata",
            details=[field_problem(path, "looks like a credential", ask) for path in found],
        )


def _credentials(data: object, path: str) -> Iterator[str]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            if re.sub(r"[^a-z]", "", str(name).lower()) in _CREDENTIALS:
                yield f"{path}.{str(name)[:60]}"
            else:
                yield from _credentials(value, f"{path}.{str(name)[:60]}")
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _credentials(value, f"{path}[{index}]")


def _problems(
    provider: Provider, model_name: str, organisation: str | None, api_key: SecretStr | None
) -> Iterator[FieldProblem]:
    if not _MODEL.fullmatch(model_name):
        ask = "Give the name the provider knows it by, such as gpt-4o or llama3.2:1b."
        yield field_problem("provider.modelName", "is not a model's name", ask)
    if organisation and not _ORGANISATION.fullmatch(organisation):
        yield field_problem("provider.organisation", "is not an organisation's id", "Copy it from the provider.")
    if api_key is not None:
        yield from _key_problems(api_key, "provider.apiKey")
    elif provider is Provider.OPENAI:
        yield field_problem("provider.apiKey", "is required for openai", "Create a key with the provider.")


def _key_problems(api_key: SecretStr, path: str) -> Iterator[FieldProblem]:
    if not _API_KEY.fullmatch(api_key.get_secret_value()):
        yield field_problem(path, "cannot be a key", "Give 1 to 500 ASCII characters without spaces.")


def _normal(provider: Provider, endpoint: str) -> str:
    """One spelling for every address that means the same."""
    url = URL(endpoint)
    path = url.raw_path.rstrip("/")
    if provider is Provider.OLLAMA:
        path = path.removesuffix("/v1").removesuffix("/api")
    return str(url.with_path(path or ("" if provider is Provider.OLLAMA else "/v1"), encoded=True)).rstrip("/")
