"""A Kubernetes API server for tests: real HTTP, the protocol of list, watch, create, patch and delete, and faults.

It keeps objects with resource versions, validates what it is given against Kubernetes' own schemas, runs the job
controller's part (pods of an Indexed Job, its status, the pod failure policy) and collects what an owner leaves
behind. Pods stay Pending until a test, or a kubelet (`kubelet.py`), says otherwise.

Not covered: authentication, admission beyond the schemas and one quota, scheduling, and any time-out.
"""

import copy
import json
import re
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from tests.cluster import kserve_schema

Object = dict[str, Any]
VERSION = "1.37"
KINDS = {"jobs": "Job", "pods": "Pod", "services": "Service", "secrets": "Secret", "configmaps": "ConfigMap",
         "events": "Event", "nodes": "Node", "deployments": "Deployment", "ingresses": "Ingress",
         "horizontalpodautoscalers": "HorizontalPodAutoscaler", "inferenceservices": "InferenceService"}  # fmt: skip
PATH = re.compile(
    r"^/(?:api/v1|apis/(?:batch/v1|apps/v1|autoscaling/v2|networking\.k8s\.io/v1|serving\.kserve\.io/v1beta1))(?:/namespaces/(?P<ns>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)


@dataclass
class Fault:
    """What happens instead of an answer to the next `times` requests whose `METHOD path?query` matches."""

    matches: str
    times: int = 1
    status: int = 500
    message: str = "injected"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False  # close the connection without a word
    after: bool = False  # do the work first, then fail: the client cannot know
    slow: float = 0.0


def _ignore(_: object) -> None:
    """Nobody runs pods here."""


class KubeApi:
    """The server's state; every method is safe from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.objects: dict[tuple[str, str], Object] = {}
        self.history: list[tuple[int, str, Object]] = []
        self.forgotten = 0  # versions up to this one are gone
        self.version = 100
        self.faults: list[Fault] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.bodies: list[Object] = []
        self.logs: dict[str, list[tuple[str, str]]] = {}
        self.down = False
        self.kserve = True  # whether InferenceServices are defined
        self.pod_quota: int | None = None
        self.on_pod: Callable[[Object], None] = _ignore
        self.on_pod_gone: Callable[[str], None] = _ignore

    # -- what tests do -------------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        with self.lock:
            return sorted(name for (k, name) in self.objects if k == kind)

    def get(self, kind: str, name: str) -> Object:
        with self.lock:
            return copy.deepcopy(self.objects[kind, name])

    def forget(self) -> None:
        """Compact the history: whoever watches from before now is told 410, and every stream ends."""
        with self.lock:
            self.version += 1
            self.forgotten = self.version
            self.history.clear()
            self.lock.notify_all()

    def event(self, name: str, reason: str, message: str) -> None:
        about = {"kind": "Job", "name": name}
        self.put({"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{uuid.uuid4().hex[:8]}"},
                  "reason": reason, "message": message, "involvedObject": about,
                  "lastTimestamp": now()})  # fmt: skip

    def pod_status(self, name: str, **status: Any) -> None:
        """Set a pod's status as its kubelet or the scheduler would, and let the job controller look."""
        with self.lock:
            if ("Pod", name) not in self.objects:
                return
            pod = copy.deepcopy(self.objects["Pod", name])
            pod["status"] = status
            self._store("MODIFIED", pod)
            for owner in pod["metadata"].get("ownerReferences", []):
                if owner["kind"] == "Job" and ("Job", owner["name"]) in self.objects:
                    self._job_controller(owner["name"])

    def running(self, name: str) -> None:
        state = {"running": {"startedAt": now()}}
        self.pod_status(name, phase="Running", containerStatuses=[{"name": "train", "state": state}])

    def ended(self, name: str, code: int = 0, *, reason: str = "", message: str = "", **status: Any) -> None:
        terminated = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"),
                      "message": message, "finishedAt": now()}  # fmt: skip
        containers = [{"name": "train", "state": {"terminated": terminated}}]
        self.pod_status(name, phase="Failed" if code else "Succeeded", containerStatuses=containers, **status)

    def say(self, pod: str, line: str) -> None:
        """A line of the container's log."""
        with self.lock:
            self.logs.setdefault(pod, []).append((now(), line))

    def overdue(self, job: str) -> None:
        """The job controller ends a job whose deadline has passed."""
        with self.lock:
            self._fail_job(copy.deepcopy(self.objects["Job", job]), "DeadlineExceeded", "Job was active too long")

    # -- objects -------------------------------------------------------------------------------------------------

    def put(self, thing: Object) -> Object:
        with self.lock:
            thing = copy.deepcopy(thing)
            metadata = thing["metadata"]
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", now())
            return self._store("ADDED", thing)

    def _store(self, kind: str, thing: Object) -> Object:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        key = (thing["kind"], thing["metadata"]["name"])
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = thing
        self.history.append((self.version, kind, copy.deepcopy(thing)))
        self.lock.notify_all()
        return thing

    def create(self, thing: Object) -> tuple[int, Object]:
        with self.lock:
            key = (thing["kind"], thing["metadata"]["name"])
            if key in self.objects:
                return problem(409, f'{key[0].lower()}s "{key[1]}" already exists', "AlreadyExists")
            if (wrong := invalid(thing)) is not None:
                return problem(422, wrong, "Invalid")
            stored = self.put(thing)
            if thing["kind"] == "Job":
                self._job_controller(key[1])
            if thing["kind"] == "Pod":
                self.on_pod(stored)
            return 201, copy.deepcopy(stored)

    def patch(self, kind: str, name: str, change: Object, *, make: bool) -> tuple[int, Object]:
        with self.lock:
            if (kind, name) not in self.objects:
                return self.create(change) if make else missing(kind, name)
            before = copy.deepcopy(self.objects[kind, name])
            merged = applied(before, change) if make else merge(before, change)
            if (wrong := invalid(merged)) is not None:
                return problem(422, wrong, "Invalid")
            self._store("MODIFIED", merged)
            if kind == "Job":
                self._job_controller(name)
            return 200, copy.deepcopy(self.objects[kind, name])

    def delete(self, kind: str, name: str, preconditions: Object | None = None) -> tuple[int, Object]:
        with self.lock:
            thing = self.objects.get((kind, name))
            if thing is None:
                return missing(kind, name)
            for key, value in (preconditions or {}).items():
                if thing["metadata"][key] != value:
                    return problem(409, f"the {key} in the precondition ({value}) does not match", "Conflict")
            self._store("DELETED", copy.deepcopy(thing))
            if kind == "Pod":
                self.on_pod_gone(name)
            uid = thing["metadata"]["uid"]
            owned = [key for key, other in self.objects.items() if uid in owners(other)]
            for owned_kind, owned_name in owned:
                self.delete(owned_kind, owned_name)
            return 200, {"kind": "Status", "status": "Success"}

    def listed(self, kind: str, namespace: str | None, labels: str, fields: str) -> tuple[list[Object], int]:
        """Names are unique over all namespaces here; an object that names none is in any."""
        with self.lock:
            found = [
                copy.deepcopy(o)
                for (k, _), o in self.objects.items()
                if k == kind and matches(o, labels, fields) and o["metadata"].get("namespace", namespace) == namespace
            ]
            return found, self.version

    def watch(self, kind: str, labels: str, since: int, bookmarks: bool) -> Iterator[Object | None]:
        """Events after a version; None now and then, so that a broken connection is noticed."""
        told = since
        while True:
            with self.lock:
                if self.down:
                    return
                if told < self.forgotten:
                    yield {"type": "ERROR", "object": problem(410, "too old resource version", "Expired")[1]}
                    return
                news = [(v, k, o) for v, k, o in self.history if v > told and o["kind"] == kind]
                if not news:
                    self.lock.wait(0.1)
            for version, what, thing in news:
                told = version
                if matches(thing, labels, ""):
                    yield {"type": what, "object": thing}
            if not news:
                if bookmarks:
                    told = max(told, self.version if not self._later(kind, told) else told)
                    mark = {"kind": kind, "metadata": {"resourceVersion": str(told)}}
                    yield {"type": "BOOKMARK", "object": mark}
                else:
                    yield None

    def _later(self, kind: str, told: int) -> bool:
        with self.lock:
            return any(v > told and o["kind"] == kind for v, _, o in self.history)

    # -- the job controller --------------------------------------------------------------------------------------

    def _job_controller(self, name: str) -> None:
        job = copy.deepcopy(self.objects["Job", name])
        spec, status = job["spec"], job.setdefault("status", {})
        if spec.get("completionMode") != "Indexed" or spec.get("suspend"):
            return
        if any(c["type"] in {"Failed", "Complete"} for c in status.get("conditions", [])):
            return
        pods = {p["metadata"]["labels"][INDEX]: p for p in self._pods(job)}
        for pod in list(pods.values()):
            if pod["status"].get("phase") == "Failed":
                if not self._ignored(spec, pod):
                    self._fail_job(job, "PodFailurePolicy", f"Pod {pod['metadata']['name']} failed")
                    return
                self.delete("Pod", pod["metadata"]["name"])
                del pods[pod["metadata"]["labels"][INDEX]]
        for index in map(str, range(spec["completions"])):
            if index not in pods and not self._make_pod(job, index):
                break
        pods = {p["metadata"]["labels"][INDEX]: p for p in self._pods(job)}
        done = sum(p["status"].get("phase") == "Succeeded" for p in pods.values())
        before = copy.deepcopy(status)
        status |= {"active": len(pods) - done, "succeeded": done}
        if done == spec["completions"]:
            status["conditions"] = [{"type": "Complete", "status": "True"}]
        if status != before:
            self._store("MODIFIED", job)

    def _make_pod(self, job: Object, index: str) -> bool:
        if self.pod_quota is not None and len(self.names("Pod")) >= self.pod_quota:
            name = job["metadata"]["name"]
            self.event(name, "FailedCreate", f'pods "{name}-{index}-x" is forbidden: exceeded quota: pods')
            return False
        template = copy.deepcopy(job["spec"]["template"])
        name = f"{job['metadata']['name']}-{index}-{uuid.uuid4().hex[:5]}"
        labels = {**template["metadata"].get("labels", {}), INDEX: index, "batch.kubernetes.io/job-name":
                  job["metadata"]["name"]}  # fmt: skip
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"],
                 "uid": job["metadata"]["uid"]}  # fmt: skip
        pod = self.put({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "status": {"phase": "Pending"},
                        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}})  # fmt: skip
        self.on_pod(pod)
        return True

    def _fail_job(self, job: Object, reason: str, message: str) -> None:
        job["status"]["conditions"] = [{"type": "Failed", "status": "True", "reason": reason, "message": message}]
        job["status"]["active"] = 0
        self._store("MODIFIED", job)
        for pod in self._pods(job):
            if pod["status"].get("phase") in {"Running", "Pending"}:
                self.on_pod_gone(pod["metadata"]["name"])
                stopped = copy.deepcopy(pod)
                terminated = {"exitCode": 143, "reason": "Error", "finishedAt": now()}
                stopped["status"] = {"phase": "Failed", "containerStatuses": [
                    {"name": "train", "state": {"terminated": terminated}}]}  # fmt: skip
                self._store("MODIFIED", stopped)

    @staticmethod
    def _ignored(spec: Object, pod: Object) -> bool:
        conditions = pod["status"].get("conditions", [])
        for rule in spec.get("podFailurePolicy", {}).get("rules", []):
            for pattern in rule.get("onPodConditions", []):
                if any(c["type"] == pattern["type"] for c in conditions):
                    return bool(rule["action"] == "Ignore")
        return False

    def _pods(self, job: Object) -> list[Object]:
        return [o for (k, _), o in self.objects.items() if k == "Pod" and job["metadata"]["uid"] in owners(o)]


INDEX = "batch.kubernetes.io/job-completion-index"


def now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09d}Z"


def owners(thing: Object) -> set[str]:
    return {reference["uid"] for reference in thing["metadata"].get("ownerReferences", [])}


def merge(into: Object, change: Object) -> Object:
    """RFC 7386."""
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            into[key] = merge(into[key] if isinstance(into.get(key), dict) else {}, value)
        else:
            into[key] = copy.deepcopy(value)
    return into


def applied(before: Object, change: Object) -> Object:
    """Server-side apply by the one manager there is: what it does not name any more is not there any more."""
    kept = {key: before["metadata"][key] for key in ("uid", "creationTimestamp", "resourceVersion")}
    status = {"status": before["status"]} if "status" in before else {}
    return {**copy.deepcopy(change), **status, "metadata": {**copy.deepcopy(change["metadata"]), **kept}}


def matches(thing: Object, labels: str, fields: str) -> bool:
    own = thing["metadata"].get("labels", {})
    for part in filter(None, labels.split(",")):
        key, equals, value = part.partition("=")
        if (own.get(key) != value) if equals else (key not in own):
            return False
    about = str(thing.get("involvedObject", {}).get("name"))
    return all(about == part.partition("=")[2] for part in filter(None, fields.split(",")))


def invalid(thing: Object) -> str | None:
    if thing["kind"] == "InferenceService":
        return kserve_schema.problem(thing)
    try:
        kubernetes_validate.validate(thing, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def problem(code: int, message: str, reason: str) -> tuple[int, Object]:
    return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def missing(kind: str, name: str) -> tuple[int, Object]:
    return problem(404, f'{kind.lower()}s "{name}" not found', "NotFound")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: KubeApi

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _serve(self) -> None:
        api, parts = self.api, urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else {}
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        line = f"{self.command} {self.path}"
        with api.lock:
            api.requests.append(line)
            if body:
                api.bodies.append(body)
            fault = next((f for f in api.faults if f.times > 0 and re.search(f.matches, line)), None)
            if fault is not None:
                fault.times -= 1
        if api.down or (fault and fault.drop and not fault.after):
            self._hang_up()
            return
        if fault is not None and fault.slow:
            time.sleep(fault.slow)
        elif fault is not None and not fault.after:
            self._answer(*problem(fault.status, fault.message, "Injected"), headers=fault.headers)
            return
        answer = self._route(parts.path, query, body)
        if fault is not None and fault.after:
            if fault.drop:
                self._hang_up()
            else:
                self._answer(*problem(fault.status, fault.message, "Injected"))
        elif answer is not None:
            self._answer(*answer)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _route(self, path: str, query: dict[str, str], body: Object) -> tuple[int, Any] | None:  # noqa: PLR0911
        found = PATH.match(path)
        if found is None or (found["plural"] == "inferenceservices" and not self.api.kserve):
            return problem(404, "the server could not find the requested resource", "NotFound")
        kind, name = KINDS[found["plural"]], found["name"]
        if found["log"]:
            return self._log(name, query)
        if self.command == "POST":
            return self.api.create(body)
        if self.command == "PATCH":
            make = "apply-patch" in self.headers["Content-Type"]
            return self.api.patch(kind, name, body, make=make)
        if self.command == "DELETE":
            return self.api.delete(kind, name, body.get("preconditions"))
        if name:
            with self.api.lock:
                there = self.api.objects.get((kind, name))
                return (200, copy.deepcopy(there)) if there else missing(kind, name)
        labels = query.get("labelSelector", "")
        if query.get("watch") == "true":
            self._stream(kind, labels, int(query.get("resourceVersion", "0")), "allowWatchBookmarks" in query)
            return None
        items, version = self.api.listed(kind, found["ns"], labels, query.get("fieldSelector", ""))
        return 200, {"kind": f"{kind}List", "items": items, "metadata": {"resourceVersion": str(version)}}

    def _log(self, name: str, query: dict[str, str]) -> tuple[int, Any]:
        with self.api.lock:
            pod = self.api.objects.get(("Pod", name))
            if pod is None:
                return missing("Pod", name)
            if pod["status"].get("phase") == "Pending":
                return problem(400, f'container "train" in pod "{name}" is waiting to start', "BadRequest")
            since = query.get("sinceTime", "")[:19]
            lines = [f"{at} {text}\n" for at, text in self.api.logs.get(name, []) if at[:19] >= since]
            return 200, "".join(lines)

    def _stream(self, kind: str, labels: str, since: int, bookmarks: bool) -> None:
        if since < self.api.forgotten and since:
            self._answer(*problem(410, f"too old resource version: {since}", "Expired"))
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        last = time.monotonic()
        for event in self.api.watch(kind, labels, since, bookmarks):
            if event is None or event["type"] == "BOOKMARK":
                if time.monotonic() - last < 30:  # a real server is silent for about a minute
                    if self._gone():
                        return
                    continue
                last = time.monotonic()
            data = json.dumps(event).encode() + b"\n" if event else b"\n"
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

    def _gone(self) -> bool:
        self.connection.settimeout(0.001)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(None)

    def _answer(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


class _Server(ThreadingHTTPServer):
    api: KubeApi
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that hung up is no news; anything else fails the test at its end."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.api.errors.append(traceback.format_exc())


@contextmanager
def kube_api() -> Iterator[tuple[KubeApi, str]]:
    """A server while the block runs, and its address."""
    api = KubeApi()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"api": api}))
    server.api = api
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        api.down = True
        server.shutdown()
        server.server_close()
        thread.join()
    assert api.errors == []
