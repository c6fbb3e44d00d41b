"""Jobs whose pods really run: a kubelet of our own starts them, `torchrun` joins them, and links bring their files."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import dagster as dg
import pytest
from moto.server import ThreadedMotoServer

from llmops_assets.claims import ROOM_TAG, WORK_TAG, Cancelled
from llmops_assets.definitions import build
from llmops_assets.mirror import read
from llmops_assets.training import cluster_run
from llmops_assets.training.cluster_run import ClusterRun
from llmops_resources.blobs import open_blobs
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.cluster import Cluster
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import errand, experiments, jobs, queueing, submission
from llmops_resources.training.profile import ResourceProfile, SubmittedType
from llmops_resources.training.recipe import Recipe
from llmops_resources.work import WorkStatus
from tests.cluster.jobs import ask, settings
from tests.cluster.kube_api import KubeApi
from tests.cluster.kubelet import Kubelet
from tests.factories import approved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
FACTS = b"question,answer\n" + b"".join(b"what is number %d?,it is called %d\n" % (i, i) for i in range(60))
TINY = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}, "evaluations": 1,
        "textColumn": "answer"}  # fmt: skip


@pytest.fixture
def clustered(platform: Platform, served: tuple[KubeApi, str], tmp_path: Path) -> Iterator[Platform]:
    """A platform whose objects are on an S3 server, as pods need it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="llmops")
    url = f"s3://llmops/{uuid4().hex}"  # servers of one process share what they hold
    blobs = open_blobs(url, endpoint=endpoint, access_key="test", secret_key="test", region="us-east-1")
    own = settings(
        training_backend="kubernetes", kubernetes_server=served[1], secret_key="k" * 40, llmops_home=tmp_path / "home"
    )
    yield dataclasses.replace(platform, blobs=blobs, settings=own)
    server.stop()


@pytest.fixture
def kubelet(api: KubeApi, tmp_path: Path) -> Iterator[Kubelet]:
    running = Kubelet(api, tmp_path / "pods")
    yield running
    running.close()


def test_a_distributed_job_trains_on_two_nodes_from_links_alone_and_its_run_registers_the_model(
    clustered: Platform, admin: Actor, api: KubeApi, kubelet: Kubelet
) -> None:
    dataset = approved(clustered, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    recipe = Recipe.from_hyperparameters("from_scratch", TINY, use_gpu=False, processes=2)
    terms = submission.Terms(kind=SubmittedType.DISTRIBUTED, resource_profile=ResourceProfile(nodes=2))
    with clustered.transaction(admin) as tx:
        made = submission.submit(
            tx, recipe=recipe, dataset_id=dataset.id, output_model_name="tiny", terms=terms
        )  # fmt: skip
        assert queueing.admit_waiting(tx, {"cpu": 1}) == [made.id]
        definitions = build(read(tx))
    assets: list[Any] = list(definitions.assets or [])
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets, selection=[dg.AssetKey(["models", "tiny"])], resources={"platform": clustered}, instance=instance,
            tags={WORK_TAG: f"{made.id}:1", ROOM_TAG: "training"}, raise_on_error=False,
        )  # fmt: skip
    with clustered.transaction(admin) as tx:
        job = jobs.get(tx, made.id)
        assert job.state.status is WorkStatus.SUCCEEDED, job.state.error
        assert versions.get(tx, job.output_version_id).manifest.files
        assert experiments.of_job(tx, made.id, name="loss")
    assert done.success
    assert len(kubelet.processes) == 2
    assert [name for kind in ("Job", "Pod", "Service", "Secret") for name in api.names(kind)] == []
    assert list(clustered.blobs.list("checkpoints")) == []


def test_a_cancelled_job_sends_its_last_checkpoint_and_the_next_attempt_goes_on_from_it(
    clustered: Platform, cluster: Cluster, api: KubeApi, kubelet: Kubelet, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = errand.errand
    monkeypatch.setattr(
        cluster_run, "errand",
        lambda *given, **more: original(*given, **more).model_copy(update={"program": "tests.cluster.pretend_program"}),
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    stop = threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        seen.append(event)
        if event.get("step") == 5:
            stop.set()

    first = ClusterRun(clustered, cluster, ask(), on_event=on_event, should_stop=stop.is_set)
    with pytest.raises(Cancelled):
        first.train(json.dumps({"count": 1000}), {}, tmp_path / "never")
    for process in kubelet.processes.values():
        process.wait(60)  # it was asked to end, and sends what it has
    again: list[dict[str, Any]] = []
    second = ClusterRun(
        clustered, cluster, ask(attempt=2), on_event=again.append, should_stop=lambda: False, clock=time.monotonic
    )  # fmt: skip
    second.train(json.dumps({"count": 8}), {}, tmp_path / "output")
    assert [event["step"] for event in seen if event["event"] == "metric"] == [1, 2, 3, 4, 5]
    assert [event["step"] for event in again if event["event"] == "metric"] == [6, 7, 8]
    assert (tmp_path / "output" / "count").read_text() == "8"
    assert api.names("Job") == []
