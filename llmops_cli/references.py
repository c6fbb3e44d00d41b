"""What people type for a catalog entry: its id, its name, or name@version."""

from typing import Any
from uuid import UUID

from llmops_cli.api import Api
from llmops_resources.errors import NotFound


def path_of(kind: str) -> str:
    """Where the API keeps a kind: `datasets`, `models` or `prompts`."""
    return "/prompts/templates" if kind == "prompts" else f"/catalog/{kind}"


def find_version(api: Api, kind: str, name: str, version: str | None = None) -> Any | None:
    """The entry of that exact name (and version; else the newest), or None. `kind`: as `path_of` takes it."""
    for entry in api.everything(path_of(kind), name=name):
        if entry["name"] == name and version in {None, entry["version"]}:
            return entry
    return None


def resolve(api: Api, kind: str, reference: str) -> Any:
    """The entry somebody means. Raises NotFound, or Refused by the API."""
    try:
        UUID(reference)
    except ValueError:
        name, _, version = reference.partition("@")
        entry = find_version(api, kind, name, version or None)
        if entry is None:
            raise NotFound(
                f"there is no {kind[:-1]} {reference}", remedy=f"See `llmops {kind} list`; use an id or name@version."
            ) from None
        return entry
    return api.get(f"{path_of(kind)}/{reference}")


def endpoint_of(api: Api, reference: str) -> Any:
    """The endpoint of an id, of environment/route, or of a route that one environment alone serves. Raises NotFound."""
    try:
        UUID(reference)
    except ValueError:
        environment, slash, route = reference.strip("/").rpartition("/")
        found = list(api.everything("/serving/endpoints", route=route, environment=environment if slash else None))
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{it['environment']}/{it['route']}" for it in found)
        remedy = f"Say which: {there}." if found else "See `llmops endpoints list`; use an id or environment/route."
        raise NotFound(f"there is no one endpoint {reference}", remedy=remedy) from None
    return api.get(f"/serving/endpoints/{reference}")


def approve(api: Api, kind: str, entry: Any, *, decision: str = "approve", notes: str = "") -> Any:
    """Submit a draft for review, then decide on exactly the bytes we saw; done already is fine."""
    path = f"{path_of(kind)}/{entry['id']}"
    if entry["status"] == "approved" and decision == "approve":
        return entry
    if entry["status"] == "draft":
        entry = api.post(f"{path}/submit")
    body = {"decision": decision, "digest": entry["digest"], "notes": notes}
    return api.post(f"{path}/versions/{entry['version']}/approve", body)
