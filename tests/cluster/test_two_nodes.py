"""Jobs whose pods really run: a kubelet of our own starts them, `torchrun` joins them, and links bring their files."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from llmops_assets.claims import Cancelled
from llmops_assets.training import cluster_run
from llmops_assets.training.cluster_run import ClusterRun
from llmops_resources.blobs import open_blobs
from llmops_resources.catalog import airlock
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.cluster import Cluster
from llmops_resources.platform import Platform
from llmops_resources.training import errand
from llmops_resources.training.recipe import Recipe
from tests.cluster.jobs import ask, settings
from tests.cluster.kube_api import KubeApi
from tests.cluster.kubelet import Kubelet
from tests.factories import approved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
FACTS = b"question,answer\n" + b"".join(b"what is number %d?,it is called %d\n" % (i, i) for i in range(60))
TINY = {"architecture": {"hiddenSize": 16, "layers": 1, "vocabSize": 300, "contextLength": 64}, "evaluations": 1,
        "textColumn": "answer"}  # fmt: skip


@pytest.fixture
def clustered(platform: Platform) -> Iterator[Platform]:
    """A platform whose objects are on an S3 server, as pods need it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="llmops")
    blobs = open_blobs("s3://llmops/x", endpoint=endpoint, access_key="test", secret_key="test", region="us-east-1")
    yield dataclasses.replace(platform, blobs=blobs, settings=settings(secret_key="k" * 40))
    server.stop()


@pytest.fixture
def kubelet(api: KubeApi, tmp_path: Path) -> Iterator[Kubelet]:
    running = Kubelet(api, tmp_path / "pods")
    yield running
    running.close()


def test_two_nodes_train_one_model_from_links_alone(
    clustered: Platform, cluster: Cluster, api: KubeApi, kubelet: Kubelet, tmp_path: Path
) -> None:
    dataset = approved(clustered, Kind.DATASET, "facts", files={"part-0001.csv": FACTS})
    recipe = Recipe.from_hyperparameters("from_scratch", TINY, use_gpu=False)
    events: list[dict[str, Any]] = []
    run = ClusterRun(clustered, cluster, ask(nodes=2), on_event=events.append, should_stop=lambda: False)
    run.train(recipe.model_dump_json(by_alias=True), {"data": dataset}, tmp_path / "output")
    files = [path.name for path in (tmp_path / "output").iterdir()]
    assert {"model.safetensors", "training_summary.json"} <= set(files)
    assert [event["value"] for event in events if event.get("name") == "loss"]
    assert any(event.get("event") == "done" for event in events)
    reader = lambda path, start, length: (tmp_path / "output" / path).read_bytes()[start : start + length]  # noqa: E731
    manifest = clustered.blobs.publish("models/m/1", [
        clustered.blobs.write(f"models/m/1/{name}", [(tmp_path / "output" / name).read_bytes()]) for name in files
    ])  # fmt: skip
    assert airlock.inspect(manifest.files, reader).accepted
    assert [name for kind in ("Job", "Pod", "Service", "Secret") for name in api.names(kind)] == []
    assert len(kubelet.processes) == 2


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
