"""Every route that there is, with the permissions that open it, and requests as no library would send them."""

import http.client
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from llmops_resources.governance.permissions import ROLES, Permission, Role
from serving_api import openapi
from serving_api.app import BASE, PUBLIC
from serving_api.chat import description
from serving_api.chat.app import RULES
from serving_api.dependencies import Requires


@dataclass(frozen=True)
class Operation:
    """A method of a path, with ids that are nobody's in the place of its parameters."""

    method: str
    template: str
    permissions: tuple[Permission, ...]

    @property
    def path(self) -> str:
        """A path that leads to it."""
        return re.sub(r"{(\w+)(:\w+)?}", lambda found: NAMES.get(found[1], str(uuid4())), self.template)

    @property
    def strangers(self) -> frozenset[Role]:
        """The roles that do not open it, not even all together."""
        return frozenset(Role) - frozenset().union(*(ROLES[each] for each in self.permissions))


#: What a parameter of a path is when it is no id.
NAMES = {"kind": "model", "version": "1", "route": "nothing", "name": "nothing"}


def operations(api: FastAPI) -> list[Operation]:
    """Of FastAPI's routes and of the gateway's."""
    found = [
        Operation(method, BASE + route.path, tuple(_permissions(route.dependant)))
        for route in _routes(api.routes)
        for method in sorted(route.methods or ())
        if route.path not in PUBLIC and route.include_in_schema
    ]
    for path, methods in description.paths().items():
        for method in methods:
            concrete = path.replace("{route}", "name")
            (rule,) = [each for each in RULES if each.method == method.upper() and each.path.fullmatch(concrete)]
            found.append(Operation(rule.method, path, (rule.permission,)))
    return found


def queries() -> list[tuple[str, str, dict[str, Any]]]:
    """Path, name and schema of each parameter in a query, as the description has them."""
    paths = json.loads(openapi.FILE.read_bytes())["paths"]
    return [
        (path, parameter["name"], parameter["schema"])
        for path, methods in paths.items()
        for parameter in methods.get("get", {}).get("parameters", ())
        if parameter["in"] == "query"
    ]


def successes() -> Iterator[tuple[str, str, set[str], list[set[str]]]]:
    """Of each described operation: method, path, the statuses of success, and the fields of each such JSON body."""
    described = json.loads(openapi.FILE.read_bytes())
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            answers = {status: each for status, each in operation["responses"].items() if status[0] not in "45"}
            schemas = [each["content"]["application/json"]["schema"] for each in answers.values()
                       if "application/json" in each.get("content", {})]  # fmt: skip
            names = [schema["$ref"].rpartition("/")[2] if "$ref" in schema else None for schema in schemas]
            known = [described["components"]["schemas"][name] if name else schema
                     for name, schema in zip(names, schemas, strict=True)]  # fmt: skip
            yield method, path, set(answers), [set(each.get("properties", {})) for each in known]


def ask(
    address: str, method: str, path: str, headers: dict[str, str] | None = None, *, host: str | None = None,
    body: str | None = None,
) -> tuple[int, str]:  # fmt: skip
    """Status and body of one request whose path and Host are sent as they are given."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host if host is not None else urlsplit(address).netloc)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body is not None else None)
        answer = connection.getresponse()
        assert answer.getheader("Set-Cookie") is None, f"{method} {path} sets a cookie"
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _routes(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from _routes(included.routes)
        elif isinstance(route, APIRoute):
            yield route


def _permissions(dependant: Dependant) -> Iterator[Permission]:
    if isinstance(dependant.call, Requires):
        yield from dependant.call.permissions
    for part in dependant.dependencies:
        yield from _permissions(part)
