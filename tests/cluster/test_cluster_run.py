"""A job in pods of its own, against a Kubernetes API server that fails, forgets and is away, and a real S3 server."""

import itertools
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from llmops_assets.claims import Cancelled
from llmops_assets.training.cluster_run import ClusterRun
from llmops_resources.blobs import Blobs, open_blobs
from llmops_resources.cluster import Cluster
from llmops_resources.errors import InvalidInput, PlatformError, Unavailable
from llmops_resources.platform import Platform
from llmops_resources.training.errand import Errand, Index, folder, keys_of
from llmops_resources.training.failures import JobFailed, RootCause
from llmops_resources.training.job import Ask
from tests.cluster.jobs import JOB_ID, NAME, ask, settings
from tests.cluster.kube_api import Fault, KubeApi

KINDS = ("Job", "Service", "Secret", "Pod")
DEADLINE = 20.0


@pytest.fixture(scope="module")
def store() -> Iterator[Blobs]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="llmops")
    url = f"s3://llmops/{uuid4().hex}"  # servers of one process share what they hold
    yield open_blobs(url, endpoint=endpoint, access_key="test", secret_key="test", region="us-east-1")
    server.stop()


@pytest.fixture
def doors(store: Blobs, tmp_path: Path) -> Platform:
    """A platform whose database nobody asks, and where no model was left."""
    store.delete(folder(JOB_ID))
    own = settings(llmops_home=tmp_path / "home", secret_key="a test's signing key, long enough")
    own = own.model_copy(update={"pod_name": "dagster-run-1-abc", "pod_uid": "uid-of-the-run"})
    return Platform(settings=own, engine=None, blobs=store)  # type: ignore[arg-type]


class Running:
    """A cluster run in a thread: what it said, and how it ended."""

    def __init__(self, run: ClusterRun, output: Path, events: list[dict[str, Any]]) -> None:
        self.events, self.error = events, None
        self._run, self._output = run, output
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    error: BaseException | None

    def _train(self) -> None:
        try:
            self._run.train("{}", {}, self._output)
        except BaseException as error:  # noqa: BLE001  - told by `end`
            self.error = error

    def end(self) -> BaseException | None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "it is stuck"
        return self.error


@pytest.fixture
def start(doors: Platform, cluster: Cluster, tmp_path: Path) -> Callable[..., Running]:
    numbers = itertools.count()

    def begin(wanted: Ask | None = None, *, stop: Callable[[], bool] = lambda: False, hurry: float = 1.0) -> Running:
        events: list[dict[str, Any]] = []
        began = time.monotonic()

        def clock() -> float:
            return began + (time.monotonic() - began) * hurry

        run = ClusterRun(
            doors, cluster, wanted or ask(nodes=2), on_event=events.append, should_stop=stop, clock=clock
        )  # fmt: skip
        return Running(run, tmp_path / f"output-{next(numbers)}", events)

    return begin


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def pods(api: KubeApi, number: int = 2) -> list[str]:
    """The pods of the nodes, in the order of their index, once they are there."""
    until(lambda: len(api.names("Pod")) >= number)
    return api.names("Pod")


def leave_model(store: Blobs) -> None:
    """What the first pod does at its end."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("model.safetensors")
        entry.size = 7
        archive.addfile(entry, BytesIO(b"weights"))
    index, parts = keys_of(f"{folder(JOB_ID)}/output")
    data = buffer.getvalue()
    store.write(parts[0], [data[:4000]])
    store.write(parts[1], [data[4000:]])
    told = Index(serial=1, parts=(("0" * 64, 4000), ("1" * 64, len(data) - 4000)))
    store.write(index, [told.model_dump_json().encode()])


def finish(api: KubeApi, store: Blobs) -> None:
    leave_model(store)
    for name in pods(api):
        api.running(name)
        api.ended(name)


def nothing_is_left(api: KubeApi) -> bool:
    return [name for kind in KINDS for name in api.names(kind)] == []


def cause(error: BaseException | None) -> RootCause:
    assert isinstance(error, JobFailed), error
    assert error.remedy
    return error.cause.tag


def test_a_job_trains_in_its_pods_brings_its_model_and_leaves_nothing(
    start: Callable[..., Running], api: KubeApi, store: Blobs, tmp_path: Path
) -> None:
    running = start()
    first, second = pods(api)
    job, secret, service = api.get("Job", NAME), api.get("Secret", NAME), api.get("Service", NAME)
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-of-the-run"
    assert {s["metadata"]["ownerReferences"][0]["uid"] for s in (secret, service)} == {job["metadata"]["uid"]}
    assert service["spec"]["selector"].items() <= api.get("Pod", first)["metadata"]["labels"].items()
    told = Errand.model_validate_json(secret["stringData"]["errand.json"])
    assert told.job_id == JOB_ID
    api.running(first)
    api.running(second)
    for step in (1, 2, 3):
        api.say(first, json.dumps({"event": "metric", "name": "loss", "step": step, "value": 1 / step, "unit": ""}))
    api.say(first, "a library says something")
    api.say(first, json.dumps({"event": "checkpoint", "step": 3, "folder": "/work/run/checkpoints/step-3"}))
    until(lambda: len(running.events) >= 3)
    api.say(first, json.dumps({"event": "metric", "name": "loss", "step": 4, "value": 0.1, "unit": ""}))
    leave_model(store)
    api.ended(first)
    api.ended(second)
    assert running.end() is None
    metrics = [event for event in running.events if event["event"] != "log"]
    assert {"event": "log", "message": "a library says something"} in running.events
    assert [event["step"] for event in metrics] == [1, 2, 3, 4]  # each once, the last one too
    assert (tmp_path / "output-0" / "model.safetensors").read_bytes() == b"weights"
    assert nothing_is_left(api)


def test_the_pods_wait_until_their_service_and_their_secret_are_there(
    start: Callable[..., Running], api: KubeApi, store: Blobs
) -> None:
    running = start()
    finish(api, store)
    assert running.end() is None
    made = [line for line in api.requests if line.startswith(("POST", "PATCH"))]
    order = [line.split("/")[-2 if line.startswith("PATCH") else -1] for line in made]
    assert order == ["jobs", "services", "secrets", "jobs"]
    assert api.bodies[0]["spec"]["suspend"] is True
    assert api.bodies[3] == {"spec": {"suspend": False}}


def test_cancelling_removes_everything(start: Callable[..., Running], api: KubeApi) -> None:
    stop = threading.Event()
    running = start(stop=stop.is_set)
    api.running(pods(api)[0])
    stop.set()
    assert isinstance(running.end(), Cancelled)
    assert nothing_is_left(api)


@pytest.mark.parametrize(("ending", "tag"), [
    ({"code": 137, "reason": "OOMKilled"}, RootCause.OUT_OF_MEMORY),
    ({"code": 1, "message": "Traceback (most recent call last):\nKeyError: 'x'"}, RootCause.USER_CODE),
    ({"code": 1, "message": "CUDA out of memory"}, RootCause.OUT_OF_MEMORY),
    ({"code": 143, "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
     RootCause.PREEMPTION),
    ({"code": 1}, RootCause.UNKNOWN),
])  # fmt: skip
def test_a_pod_that_fails_ends_the_job_with_its_cause_and_nothing_is_left(
    start: Callable[..., Running], api: KubeApi, ending: dict[str, Any], tag: RootCause
) -> None:
    running = start()
    first, second = pods(api)
    api.running(first)
    api.running(second)
    api.ended(second, ending.pop("code"), **ending)
    assert cause(running.end()) is tag
    assert nothing_is_left(api)


def test_a_node_that_evicts_its_pod_is_told_from_a_failure(start: Callable[..., Running], api: KubeApi) -> None:
    running = start()
    api.pod_status(pods(api)[1], phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    assert cause(running.end()) is RootCause.OUT_OF_MEMORY


def test_a_job_that_passes_its_deadline_timed_out(start: Callable[..., Running], api: KubeApi) -> None:
    running = start()
    pods(api)
    api.overdue(NAME)
    error = running.end()
    assert isinstance(error, JobFailed)
    assert nothing_is_left(api)


def test_a_program_that_refuses_its_input_is_quoted(start: Callable[..., Running], api: KubeApi) -> None:
    running = start()
    first, _ = pods(api)
    api.running(first)
    api.say(first, json.dumps({"event": "refused", "message": "the loss is nan at step 3", "remedy": "lower it"}))
    api.ended(first, 1)
    error = running.end()
    assert isinstance(error, InvalidInput)
    assert (str(error), error.remedy) == ("the loss is nan at step 3", "lower it")
    assert nothing_is_left(api)


def _waiting(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    return {"phase": "Pending", "containerStatuses": [{"name": "train", "state": state}]}


@pytest.mark.parametrize(("status", "hurry", "tag"), [
    (_waiting("InvalidImageName"), 10, RootCause.IMAGE_PULL),
    (_waiting("ImagePullBackOff"), 1000, RootCause.IMAGE_PULL),
    ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
      "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]}, 2000, RootCause.UNSCHEDULABLE),
])  # fmt: skip
def test_pods_that_cannot_start_are_given_up_with_the_reason(
    start: Callable[..., Running], api: KubeApi, status: dict[str, Any], hurry: float, tag: RootCause
) -> None:
    running = start(hurry=hurry)
    api.pod_status(pods(api)[1], **status)
    assert cause(running.end()) is tag
    assert nothing_is_left(api)


def test_a_pod_that_waits_says_why_and_trains_when_it_may(
    start: Callable[..., Running], api: KubeApi, store: Blobs
) -> None:
    running = start(hurry=10)
    api.pod_status(pods(api)[1], **_waiting("ErrImagePull"))
    until(lambda: any("ErrImagePull" in event["message"] for event in list(running.events)))
    finish(api, store)
    assert running.end() is None


def test_a_quota_that_leaves_no_room_for_pods_is_said(start: Callable[..., Running], api: KubeApi) -> None:
    api.pod_quota = 0
    running = start(hurry=2000)
    error = running.end()
    assert cause(error) is RootCause.UNSCHEDULABLE
    assert "quota" in str(error)
    assert nothing_is_left(api)


@pytest.mark.parametrize("refused", ["jobs", "services", "secrets"])
@pytest.mark.parametrize("message", ["exceeded quota: count", "not allowed"])
def test_whatever_the_cluster_refuses_nothing_is_left(
    start: Callable[..., Running], api: KubeApi, refused: str, message: str
) -> None:
    api.faults.append(Fault(f"^(POST|PATCH) .*{refused}", times=100, status=403, message=message))
    error = start().end()
    if "quota" in message:
        assert cause(error) is RootCause.UNSCHEDULABLE
    else:
        assert isinstance(error, Unavailable)
    assert nothing_is_left(api)


@pytest.mark.parametrize("fault", [
    Fault("^POST", after=True, drop=True), Fault("^PATCH", times=2, status=500), Fault("watch=", times=3, drop=True),
    Fault("^GET", times=6, status=503), Fault("^DELETE", status=500), Fault("watch=true", status=410),
    Fault("^GET .*/log", times=3, status=500),
])  # fmt: skip
def test_a_server_that_fails_now_and_then_changes_nothing(
    start: Callable[..., Running], api: KubeApi, store: Blobs, fault: Fault
) -> None:
    api.faults.append(fault)
    running = start()
    finish(api, store)
    assert running.end() is None
    assert nothing_is_left(api)


def test_pods_train_on_while_the_api_is_away(start: Callable[..., Running], api: KubeApi, store: Blobs) -> None:
    running = start()
    names = pods(api)
    api.down = True
    time.sleep(1.0)
    assert running.error is None
    api.down = False
    for name in names:
        api.running(name)
    finish(api, store)
    assert running.end() is None
    assert nothing_is_left(api)


def test_an_api_that_stays_away_is_given_up_and_can_still_be_cancelled_before(
    start: Callable[..., Running], api: KubeApi
) -> None:
    running = start(hurry=5000)
    pods(api)
    api.down = True
    assert isinstance(running.end(), Unavailable)


def test_the_run_after_a_killed_one_takes_its_job_over(
    doors: Platform, cluster: Cluster, api: KubeApi, start: Callable[..., Running], store: Blobs
) -> None:
    killed = ClusterRun(doors, cluster, ask(nodes=2), on_event=lambda _: None, should_stop=lambda: False)
    killed._begin("{}", {})
    names = pods(api)
    running = start(ask(nodes=2, attempt=2))
    until(lambda: api.get("Job", NAME)["metadata"]["labels"]["llmops/attempt"] == "2")
    killed.remove()  # it lives on unnoticed, and may not take the job away
    assert api.names("Pod") == names
    finish(api, store)
    assert running.end() is None
    assert nothing_is_left(api)


def test_a_run_killed_before_the_pods_were_let_go_is_finished_by_the_next(
    doors: Platform, cluster: Cluster, api: KubeApi, start: Callable[..., Running], store: Blobs
) -> None:
    api.faults.append(Fault("^PATCH .*secrets", times=100, status=403, message="killed here"))
    killed = ClusterRun(doors, cluster, ask(nodes=2), on_event=lambda _: None, should_stop=lambda: False)
    with pytest.raises(PlatformError):
        killed._begin("{}", {})
    assert (api.names("Job"), api.names("Pod")) == ([NAME], [])
    api.faults.clear()
    running = start(ask(nodes=2, attempt=2))
    finish(api, store)
    assert running.end() is None
    assert nothing_is_left(api)


def test_a_predecessor_that_failed_or_asked_for_something_else_is_removed_first(
    doors: Platform, cluster: Cluster, api: KubeApi, start: Callable[..., Running], store: Blobs
) -> None:
    for number, wanted in enumerate([ask(nodes=2), ask(nodes=2, attempt=2, memory="9Gi")], start=1):
        ClusterRun(doors, cluster, wanted, on_event=lambda _: None, should_stop=lambda: False)._begin("{}", {})
        if number == 1:
            api.ended(pods(api)[0], 1)
    running = start(ask(nodes=2, attempt=3))
    until(lambda: api.names("Job") == [f"train-{JOB_ID}-3"])
    finish(api, store)
    assert running.end() is None
    assert nothing_is_left(api)


def test_a_model_that_was_sent_before_the_run_died_is_not_trained_again(
    doors: Platform, cluster: Cluster, api: KubeApi, start: Callable[..., Running], store: Blobs, tmp_path: Path
) -> None:
    leave_model(store)
    assert start(ask(nodes=2, attempt=2)).end() is None
    assert (tmp_path / "output-0" / "model.safetensors").read_bytes() == b"weights"
    assert not any(line.startswith("POST") for line in api.requests)


def test_the_same_attempt_twice_makes_one_job(
    doors: Platform, cluster: Cluster, api: KubeApi, start: Callable[..., Running], store: Blobs
) -> None:
    ClusterRun(doors, cluster, ask(nodes=2), on_event=lambda _: None, should_stop=lambda: False)._begin("{}", {})
    running = start()
    assert len(pods(api)) == 2
    finish(api, store)
    assert running.end() is None
    assert len([line for line in api.requests if line.startswith("POST")]) == 1


def test_a_job_that_somebody_deletes_is_no_success(start: Callable[..., Running], api: KubeApi) -> None:
    running = start(hurry=10)
    pods(api)
    api.delete("Job", NAME)
    assert cause(running.end()) is RootCause.INFRASTRUCTURE


def test_a_job_that_leaves_no_model_is_no_success(start: Callable[..., Running], api: KubeApi, store: Blobs) -> None:
    running = start()
    for name in pods(api):
        api.ended(name)
    assert cause(running.end()) is RootCause.UNKNOWN
    assert nothing_is_left(api)


def test_links_are_renewed_before_they_expire(start: Callable[..., Running], api: KubeApi, store: Blobs) -> None:
    running = start(hurry=100_000)
    pods(api)
    before = api.get("Secret", NAME)["stringData"]
    until(lambda: api.get("Secret", NAME)["stringData"]["errand.json"] != before["errand.json"])
    assert api.get("Secret", NAME)["stringData"]["token"] == before["token"]
    finish(api, store)
    assert running.end() is None


def test_a_lone_pod_that_loses_its_place_goes_on_in_a_new_one(
    start: Callable[..., Running], api: KubeApi, store: Blobs
) -> None:
    running = start(ask(nodes=1))
    (name,) = pods(api, 1)
    api.running(name)
    lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    api.ended(name, 143, conditions=[lost])
    until(lambda: api.names("Pod") not in ([name], []))
    (again,) = api.names("Pod")
    leave_model(store)
    api.ended(again)
    assert running.end() is None


