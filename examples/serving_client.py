"""A client for serving: deploy approved models, watch their endpoints, chat with them, take them back.

    with ServingClient("http://localhost:8000") as client:
        client.wait(client.deploy("python_helper", route="support")["id"])
        print(client.chat("support", "What is a KeyError?").text)

It needs httpx and nothing else of this repository, so the file can be copied. `python serving_client.py workflow` walks
the whole way with it, which takes `serving_workflow.py` beside it.

Errors are `ServingError`s: `Refused` when the platform says no (with its words, its remedy, and the wrong fields),
`Unreachable` when nobody answers, `BrokeOff` when an answer ends in its middle, `NotInTime` when waiting was in vain.
Asked again by itself: reading, deploying, which carries an idempotency key, and changes that name no revision; the rest
only when it never left this machine or was refused for now with 429: a second rollback would go back twice.
"""

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypedDict
from urllib.parse import quote, urlsplit

import httpx

Environment = Literal["dev", "stg", "prod"]
Status = Literal["deploying", "healthy", "degraded", "failed", "stopped"]
_quoted: Final = partial(quote, safe="")


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


Said = str | Sequence[Message]  # a text is one message of the user


class Endpoint(TypedDict):
    """An endpoint as it was asked for, and as it was last seen."""

    id: str
    environment: Environment
    route: str
    modelId: str
    modelName: str
    version: str
    modelDigest: str
    backend: str
    minReplicas: int
    maxReplicas: int
    rollbackPlan: str | None
    revision: int
    status: Status
    statusDetail: str
    baseUrl: str | None
    replicas: dict[Literal["total", "ready", "available"], int]
    lastHealthCheck: str | None
    runtimeImage: str | None
    promptPolicyId: str | None


class Sampling(TypedDict, total=False):
    """How an answer is drawn; what is left out is the model's own choice."""

    temperature: float
    max_tokens: int
    top_p: float
    stop: str | list[str]
    seed: int
    user: str
    promptVariables: dict[str, Any]


class Redeployment(TypedDict, total=False):
    """What may be another when an endpoint is rolled out again; what is left out stays."""

    useGpu: bool
    gpuCount: int
    servingRuntimeImage: str
    cpuRequest: str
    cpuLimit: str
    memoryRequest: str
    memoryLimit: str


class Wishes(Redeployment, total=False):
    """Where and how a model is served, beside its route; what is left out the installation decides."""

    minReplicas: int
    maxReplicas: int
    rollbackPlan: str
    backend: Literal["local", "kubernetes", "kserve"]
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"]
    autoscalePolicy: dict[str, float]
    kserveMode: Literal["raw", "knative"]
    promptPolicyId: str


class Changes(TypedDict, total=False):
    """What is changed: what is left out stays, None goes back to the installation's default. `revision` is the one that
    was looked at: refused when another is current. `parityReasons` say why settings differ from those below."""

    minReplicas: int
    maxReplicas: int
    rollbackPlan: str
    status: Literal["stopped", "deploying"]
    useGpu: bool | None
    gpuCount: int | None
    servingRuntimeImage: str | None
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None
    cpuRequest: str | None
    cpuLimit: str | None
    memoryRequest: str | None
    memoryLimit: str | None
    autoscalePolicy: dict[str, float] | None
    kserveMode: Literal["raw", "knative"] | None
    promptPolicyId: str | None
    parityReasons: dict[str, str]
    note: str
    revision: int


@dataclass(frozen=True)
class Answer:
    """What a model answered. `route` is who really answered: a fallback under its own name, if it had to."""

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    route: str


@dataclass(frozen=True)
class Piece:
    """A piece of an answer on its way. The last ones carry the reason why it ended, and the usage."""

    text: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None


class ServingError(Exception):
    """What all errors of this client are."""


class Unreachable(ServingError):
    """Nobody answered, or not in time; whether the request was carried out is unknown unless it was a reading one."""


class NotInTime(ServingError):
    """What was waited for did not happen."""


class Refused(ServingError):
    """The platform said no. `kind` is for programs, such as `not_found`; `retry_after` is in seconds, if known."""

    def __init__(self, status: int, envelope: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        details = envelope.get("data") or {}
        self.status = status
        self.message = str(envelope.get("message") or f"refused with HTTP {status}")
        self.kind: str | None = details.get("kind")
        self.remedy = str(details.get("remedy") or "")
        self.errors: Sequence[Mapping[str, str]] = details.get("errors") or []  # path, problem, remedy of each
        self.request_id = (headers or {}).get("x-request-id", "")
        self.retry_after = _seconds((headers or {}).get("retry-after"))
        super().__init__(self.message)


class BrokeOff(Refused):
    """The answer was refused in its middle, as its last event says; or it just ended (`kind` is None then)."""


class ServingClient(AbstractContextManager["ServingClient"]):
    """A connection to one platform.

    `token` is an API key, which opens the chat routes, or a person's token. `user` and `roles` say who calls where the
    platform runs on this machine alone; left out, it is the local admin. `timeout` is in seconds, for an answer's next
    part. What may be asked again is, `retries` times, unless it was told to wait longer than `patience` seconds.
    """

    def __init__(
        self, url: str = "http://localhost:8000", *, token: str | None = None, user: str | None = None,
        roles: str | None = None, timeout: float = 120.0, retries: int = 2, patience: float = 30.0,
    ) -> None:  # fmt: skip
        named = {"Authorization": f"Bearer {token}" if token else None, "X-User-Id": user, "X-User-Roles": roles}
        self.url, self._retries, self._patience = url.rstrip("/"), retries, patience
        self._http = httpx.Client(
            base_url=self.url + "/llm-ops/v1",
            headers={name: value for name, value in named.items() if value},
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=urlsplit(url).hostname not in {"localhost", "127.0.0.1", "::1"},  # no proxy to ourselves
        )

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def model_id(self, reference: str) -> str:
        """The id of an approved model: itself, or by the model's name (its newest version) or `name@version`."""
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", reference):
            return reference
        name, _, version = reference.partition("@")
        for entry in self._pages("/catalog/models", name=name, status="approved"):
            if entry["name"] == name and version in {"", entry["version"]}:
                return str(entry["id"])
        raise Refused(404, {"message": f"there is no approved model {reference}", "data": {"kind": "not_found"}})

    def deploy(
        self, model: str, *, route: str, environment: Environment = "dev", wishes: Wishes | None = None,
        idempotency_key: str | None = None,
    ) -> Endpoint:  # fmt: skip
        """Ask for an approved model at a route; one that is there gets it as its next revision. Does not wait.

        The same `idempotency_key` never deploys twice; without one, each call has its own.
        """
        body = {"modelId": self.model_id(model), "environment": environment, "route": route, **(wishes or {})}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._endpoint("POST", again=True, json=body, headers=headers)

    def wait(self, endpoint_id: str, *, until: Status = "healthy", timeout: float = 300.0) -> Endpoint:
        """Look twice a second until the endpoint has a status. Raises NotInTime, at once when it failed instead."""
        deadline = time.monotonic() + timeout
        while (endpoint := self.get(endpoint_id))["status"] != until or not self._routed(endpoint):
            told = f"{endpoint['route']} is {endpoint['status']}: {endpoint['statusDetail']}"
            if endpoint["status"] == "failed":
                raise NotInTime(told)
            if time.monotonic() > deadline:
                raise NotInTime(f"after {timeout:.0f} s {told}")
            time.sleep(0.5)
        return endpoint

    def get(self, endpoint_id: str) -> Endpoint:
        """One endpoint."""
        return self._endpoint("GET", endpoint_id, again=True)

    def change(self, endpoint_id: str, changes: Changes) -> Endpoint:
        """Set what is named, as the endpoint's next revision; a change of nothing makes none."""
        return self._endpoint("PATCH", endpoint_id, again="revision" not in changes, json=changes)

    def redeploy(self, endpoint_id: str, settings: Redeployment | None = None) -> Endpoint:
        """Roll the present settings out once more, or with some of them changed; a stopped endpoint comes back."""
        return self._endpoint("POST", endpoint_id, "redeploy", params=settings)

    def rollback(self, endpoint_id: str, *, to: int | None = None) -> Endpoint:
        """Back to the revision `to`, or to what was served before.

        With nothing before, the endpoint is scaled to zero (maxReplicas is 0), which `redeploy` undoes.
        """
        return self._endpoint("POST", endpoint_id, "rollback", json={"to": to})

    def delete(self, endpoint_id: str) -> Endpoint:
        """Take an endpoint away."""
        return self._endpoint("DELETE", endpoint_id)

    def history(self, endpoint_id: str) -> Iterator[Mapping[str, Any]]:
        """Every revision with how its roll-out went, the newest first."""
        return self._pages(f"/serving/endpoints/{_quoted(endpoint_id)}/deployments")

    def events(self, endpoint_id: str) -> Iterator[Mapping[str, Any]]:
        """What was seen of an endpoint, the newest first: revision, status, detail, time."""
        return self._pages(f"/serving/endpoints/{_quoted(endpoint_id)}/events")

    def health(self, route: str) -> Mapping[str, Any]:
        """Ask the model server of a route whether it is well: status, model, version. Raises Refused when it is not."""
        well: Mapping[str, Any] = _opened(self._send("GET", f"/serve/{_quoted(route)}/health"))
        return well

    def chat(self, route: str, messages: Said, sampling: Sampling | None = None) -> Answer:
        """Ask a model and wait for its whole answer."""
        response = self._send("POST", f"/serve/{_quoted(route)}/chat", json=_body(messages, sampling))
        choice = (data := _opened(response))["choices"][0]
        answered_by = response.headers.get("x-llmops-route", route)
        return Answer(choice["message"]["content"], choice["finish_reason"], data["usage"], answered_by)

    def stream(self, route: str, messages: Said, sampling: Sampling | None = None) -> Iterator[Piece]:
        """The same, piece by piece as the model speaks; leaving the loop early frees the model. Raises BrokeOff."""
        body = {**_body(messages, sampling), "stream": True}
        response = self._send("POST", f"/serve/{_quoted(route)}/chat", stream=True, json=body)
        try:
            if response.is_error:
                response.read()
                _opened(response)
            for data in events(response.iter_bytes()):
                if data == "[DONE]":
                    return
                yield _piece(json.loads(data), response)
        except httpx.TransportError as error:
            raise BrokeOff(200, {"message": f"the answer broke off: {error}"}, response.headers) from error
        finally:
            response.close()
        raise BrokeOff(200, {"message": "the answer broke off before its end"}, response.headers)

    def _routed(self, endpoint: Endpoint) -> bool:
        """Whether its route leads to this revision of it, or to another environment's; a moment after it is healthy."""
        if endpoint["status"] != "healthy":
            return True
        try:
            found = self.health(endpoint["route"])
        except Refused:
            return False
        return bool(found["endpointId"] != endpoint["id"] or found["revision"] == endpoint["revision"])

    def _endpoint(self, method: str, *parts: str, again: bool = False, **request: Any) -> Endpoint:
        path = "/".join(["/serving/endpoints", *map(_quoted, parts)])
        endpoint: Endpoint = _opened(self._send(method, path, again=again, **request))
        return endpoint

    def _pages(self, path: str, **query: str | None) -> Iterator[Any]:
        asked = {name: value for name, value in query.items() if value is not None}
        while True:
            response = self._send("GET", path, again=True, params=asked)
            yield from _opened(response)
            if (cursor := response.headers.get("x-next-cursor")) is None:
                return
            asked["cursor"] = cursor

    def _send(
        self, method: str, path: str, *, again: bool = False, stream: bool = False, **request: Any
    ) -> httpx.Response:
        """The answer; asked for again when nothing was done for it, or when `again` says that a repeat is harmless."""
        for left in reversed(range(self._retries + 1)):
            wait = 0.2 * 2 ** (self._retries - left)
            try:
                response = self._http.send(self._http.build_request(method, path, **request), stream=stream)
            except httpx.TransportError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if not left or not (unsent or again):
                    raise Unreachable(f"{self.url} does not answer: {error or type(error).__name__}") from error
            else:
                passing = response.status_code == 429 or (again and response.status_code in {502, 503, 504})
                wait = max(wait, _seconds(response.headers.get("retry-after")) or 0.0)
                if not left or not passing or wait > self._patience:
                    return response
                response.close()
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    # last, as a method of this name hides the type in what follows it in a class
    def list(
        self, *, environment: Environment | None = None, model_id: str | None = None, status: Status | None = None,
        route: str | None = None,
    ) -> Iterator[Endpoint]:  # fmt: skip
        """Every endpoint that passes the filters, the newest first, page after page."""
        return self._pages("/serving/endpoints", environment=environment, modelId=model_id, status=status, route=route)


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event, wherever the network cut the stream. Only LF and CRLF end a line."""
    rest, data = b"", list[bytes]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (each.removesuffix(b"\r") for each in lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data).decode()
                data = []


def _piece(event: Mapping[str, Any], response: httpx.Response) -> Piece:
    if event.get("status") == "fail":
        raise BrokeOff(response.status_code, event, response.headers)
    choice: Mapping[str, Any] = next(iter(event.get("choices") or ()), {})
    return Piece((choice.get("delta") or {}).get("content") or "", choice.get("finish_reason"), event.get("usage"))


def _opened(response: httpx.Response) -> Any:
    """The data of an envelope. Raises Refused."""
    try:
        envelope = response.json()
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        told = f"{response.url} answered {response.status_code} with something that is not of this platform"
        raise Refused(response.status_code, {"message": told}, response.headers)
    if response.is_error or envelope["status"] != "success":
        raise Refused(response.status_code, envelope, response.headers)
    return envelope["data"]


def _body(messages: Said, sampling: Sampling | None) -> dict[str, Any]:
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
    return {"messages": said, **(sampling or {})}


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None


if __name__ == "__main__":
    import serving_workflow

    raise SystemExit(serving_workflow.main())
