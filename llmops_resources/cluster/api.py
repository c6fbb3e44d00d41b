"""Requests to the Kubernetes API: tried again where that is safe, and their refusals as errors that say what to do."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from llmops_resources.cluster.values import ATTEMPT, JOB, KINDS, Change, Object, QuotaExceeded, selector
from llmops_resources.cluster.watching import Gone, Lines, follow
from llmops_resources.errors import Conflict, InvalidInput, NotFound, PlatformError, Unavailable

TRIES: Final = 5
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
LONGEST_PAUSE: Final = 10.0
FIELD_MANAGER: Final = "llmops"
MINIKUBE_LABEL: Final = "minikube.k8s.io/name"
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_LOG_BYTES: Final = 4 * 1024**2


@dataclass(frozen=True)
class Cluster:
    """One namespace of one cluster.

    Every method raises Unavailable when the API server cannot be reached or keeps failing or refuses our credentials,
    InvalidInput when it does not accept a manifest, QuotaExceeded when the namespace is full.
    """

    namespace: str
    context: str  # of the kubeconfig; empty in a pod and for an explicit address
    client: Any = field(repr=False)
    sleep: Callable[[float], None] = field(repr=False)

    def create(self, manifest: Object) -> Object:
        """Make an object. Raises Conflict when there is one of its name."""
        created: Object = self._request("POST", self._path(manifest["kind"]), body=manifest)
        return created

    def ensure(self, manifest: Object) -> Object:
        """Make an object, or find the one that an earlier try of the same attempt has made.

        Raises Conflict when the name belongs to another job or attempt.
        """
        try:
            return self.create(manifest)
        except QuotaExceeded:
            raise
        except Conflict:
            there = self.get(manifest["kind"], manifest["metadata"]["name"])
        mine, theirs = manifest["metadata"].get("labels", {}), there["metadata"].get("labels", {})
        if any(mine.get(key) != theirs.get(key) for key in (JOB, ATTEMPT)):
            raise Conflict(
                f"{manifest['kind']} {manifest['metadata']['name']} belongs to something else",
                remedy="Remove it from the cluster if nothing needs it.",
            )
        return there

    def apply(self, manifest: Object) -> Object:
        """Make an object or bring it to this state (server-side apply; fields others own are left alone)."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        applied: Object = self._request(
            "PATCH", path, query=query, body=manifest, content="application/apply-patch+yaml"
        )
        return applied

    def patch(self, kind: str, name: str, change: Object) -> Object:
        """Merge a change into an object (RFC 7386). Raises NotFound."""
        changed: Object = self._request(
            "PATCH", self._path(kind, name), body=change, content="application/merge-patch+json"
        )
        return changed

    def get(self, kind: str, name: str) -> Object:
        """One object. Raises NotFound."""
        found: Object = self._request("GET", self._path(kind, name))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """One object, or None."""
        try:
            return self.get(kind, name)
        except NotFound:
            return None

    def select(self, kind: str, wanted: Mapping[str, str], *, fields: Mapping[str, str] | None = None) -> list[Object]:
        """The objects with these labels and fields."""
        return self._list(kind, wanted, fields)[0]

    def watch(self, kind: str, wanted: Mapping[str, str], *, idle: float = 2.0) -> Iterator[Change | None]:
        """What is there, then every change, for as long as the caller listens; None each `idle` seconds of silence.

        It goes on after dropped connections, and begins again (PRESENT for what is there, DELETED for what is not any
        more) when the server has forgotten where we were (410 Gone). Raises Unavailable when that fails for long.
        """

        def listing() -> tuple[list[Object], str]:
            return self._list(kind, wanted, None)

        def stream(version: str) -> Lines:
            query = [("labelSelector", selector(wanted)), ("watch", "true"), ("resourceVersion", version),
                     ("allowWatchBookmarks", "true")]  # fmt: skip
            response = self._call("GET", self._path(kind), query, None, None, read=idle)
            return Lines(response)

        return follow(listing, stream, self.sleep)

    def delete(self, kind: str, name: str, *, version: str | None = None, uid: str | None = None) -> bool:
        """Remove an object and, afterwards, what it owns; False when it is gone already.

        With `version` or `uid` only that one: Conflict when it has changed since.
        """
        preconditions = {"resourceVersion": version, "uid": uid}
        body: Object = {"propagationPolicy": "Background"}
        if version or uid:
            body["preconditions"] = {key: value for key, value in preconditions.items() if value}
        try:
            self._request("DELETE", self._path(kind, name), body=body)
        except NotFound:
            return False
        return True

    def log(self, pod: str, *, container: str, since: str | None = None, lines: int | None = None) -> str:
        """What a container has said, each line after its time; from the second `since` (RFC 3339) on, at most 4 MiB,
        of which the last `lines` when given.

        Empty while it has not started or when the pod is gone.
        """
        query = [("container", container), ("timestamps", "true"), ("limitBytes", str(_LOG_BYTES))]
        if since is not None:
            query.append(("sinceTime", since))
        if lines is not None:
            query.append(("tailLines", str(lines)))
        try:
            return str(self._request("GET", f"{self._path('Pod', pod)}/log", query=query, raw=True))
        except (NotFound, InvalidInput):  # 400 while the container waits to start
            return ""

    def events(self, name: str) -> Sequence[Object]:
        """What the cluster has noted about an object, the newest last."""
        found = self._list("Event", {}, {"involvedObject.name": name})[0]
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def is_minikube(self) -> bool:
        """Whether this is a minikube: by the context's name, or by its nodes' labels where we may read them."""
        if self.context == "minikube":
            return True
        with suppress(PlatformError):
            nodes = self._request("GET", "/api/v1/nodes", query=[("labelSelector", MINIKUBE_LABEL), ("limit", "1")])
            return bool(nodes["items"])
        return False

    def within(self, namespace: str) -> "Cluster":
        """The same cluster, another namespace."""
        return replace(self, namespace=namespace)

    # -- the wire --------------------------------------------------------------------------------------------------

    def _path(self, kind: str, name: str | None = None) -> str:
        group, plural = KINDS[kind]
        return f"/{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _list(
        self, kind: str, wanted: Mapping[str, str], fields: Mapping[str, str] | None
    ) -> tuple[list[Object], str]:
        query = [("labelSelector", selector(wanted))] if wanted else []
        if fields:
            query.append(("fieldSelector", selector(fields)))
        answer = self._request("GET", self._path(kind), query=query)
        return answer["items"], answer["metadata"]["resourceVersion"]

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content: str | None = None,
        raw: bool = False,
    ) -> Any:
        """One answer. A POST that is tried again can meet its own first try: then Conflict, which `ensure` resolves."""
        for number in range(1, TRIES + 1):
            try:
                data = self._call(method, path, query, body, content).data
                return data.decode(errors="replace") if raw else json.loads(data)
            except Unavailable as error:
                if number == TRIES or not isinstance(error, _Passing):
                    raise
                self.sleep(error.pause or min(0.2 * 2**number, LONGEST_PAUSE) * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError  # pragma: no cover

    def _call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Object | None,
        content: str | None,
        read: float = READ_SECONDS,
    ) -> Any:
        from kubernetes.client import ApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            return self.client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content or "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, read),
            )
        except ApiException as error:
            raise _refusal(error.status or 0, error.body or "", error.headers or {}) from error
        except (HTTPError, OSError) as error:
            raise _Passing(
                f"the Kubernetes API cannot be reached: {str(error)[:300]}",
                remedy="Check the cluster and KUBECONFIG_FILE, then try again.",
            ) from error


class _Passing(Unavailable):
    """Worth another try, after `pause` seconds when the server said so."""

    def __init__(self, message: str, *, remedy: str, pause: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.pause = pause


def _refusal(status: int, body: str, headers: Mapping[str, str]) -> Exception:
    message = _message(body) or f"HTTP {status}"
    remedies: Mapping[int, tuple[type[PlatformError], str]] = {
        401: (Unavailable, "Renew the credentials of the kubeconfig or the service account."),
        403: (Unavailable, "Give the platform's service account the roles in deploy/*/rbac.yaml."),
        404: (NotFound, "It may have been removed; check KUBERNETES_NAMESPACE too."),
        409: (Conflict, "Read it again: it exists already, or has changed since."),
    }
    if status == 410:
        return Gone(message)
    if status == 403 and "exceeded quota" in message:
        return QuotaExceeded(message, remedy="Wait for other jobs to end, or have the namespace's quota raised.")
    if status in _AGAIN:
        return _Passing(f"Kubernetes: {message}", remedy="Try again later.", pause=_pause(headers))
    kind, remedy = remedies.get(status, (InvalidInput, "Correct the manifest."))
    return kind(f"Kubernetes: {message}", remedy=remedy)


def _message(body: str) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return body.strip()[:300]
    return str(answer.get("message", ""))[:1000] if isinstance(answer, dict) else ""


def _pause(headers: Mapping[str, str]) -> float | None:
    try:
        return min(float(headers["Retry-After"]), LONGEST_PAUSE)
    except (KeyError, ValueError):
        return None
