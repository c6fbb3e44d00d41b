"""Dagster's own launcher with our configuration, against an API server: what a run's pod is, and what no tag may do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test

from llmops_assets import cluster_instance
from llmops_resources.training.job import K8S_CONFIG, run_tags
from tests.cluster.jobs import JOB_ID, ask, settings, unsafe
from tests.cluster.kube_api import KubeApi

ORIGIN = JobPythonOrigin(
    job_name="__ASSET_JOB",
    repository_origin=RepositoryPythonOrigin(
        executable_path="/usr/local/bin/python",
        code_pointer=dg._core.code_pointer.ModuleCodePointer("llmops_assets.definitions", "defs"),
        container_image="registry.example.com/llmops:1",
        entry_point=("dagster",),
        container_context={},
    ),
)


@pytest.fixture
def instance(
    served: tuple[KubeApi, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Our configuration with a local database and a kubeconfig instead of a service account."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": served[1]}}], "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    monkeypatch.setenv("TRAINING_IMAGE", "registry.example.com/llmops:1")
    monkeypatch.setenv("KUBERNETES_NAMESPACE", "llm-ops")
    config = {**cluster_instance.launcher(), "load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    launcher = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as made:
        yield made


def _launch(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    run = create_run_for_test(instance, job_name="__ASSET_JOB", tags=tags, job_code_origin=ORIGIN)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    return run


def test_the_checked_in_configuration_is_what_the_code_says() -> None:
    fresh = cluster_instance.FILE.read_text() == cluster_instance.rendered()
    assert fresh, "run: .venv/bin/python -m llmops_assets.cluster_instance"


def test_dagster_accepts_the_whole_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql://u:p@db/dagster")
    (tmp_path / "dagster.yaml").write_text(cluster_instance.rendered())
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["run_launcher"]["class"] == "K8sRunLauncher"
    (tmp_path / "dagster.yaml").write_text(cluster_instance.rendered() + "run_lancher: {}\n")
    with pytest.raises(dg.DagsterInvalidConfigError):
        dagster_instance_config(str(tmp_path))


def test_every_run_is_a_hardened_pod_that_kubernetes_accepts(instance: dg.DagsterInstance, api: KubeApi) -> None:
    run = _launch(instance, {})
    job = api.get("Job", f"dagster-run-{run.run_id}")
    spec = job["spec"]["template"]["spec"]
    assert unsafe(spec) == []
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("llmops-runner", False)
    assert job["spec"]["backoffLimit"] == 0
    (container,) = spec["containers"]
    assert {source.get("configMapRef", source.get("secretRef"))["name"] for source in container["envFrom"]} == {
        "llmops-config", "llmops-secrets"}  # fmt: skip
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp", "/dev/shm", "/scratch"}


@pytest.mark.parametrize("given", [{}, {"use_gpu": True, "gpu_type": "a100", "gpu_count": 2}, {"nodes": 3}])
def test_a_training_run_is_the_pod_its_job_asks_for(
    instance: dg.DagsterInstance, api: KubeApi, given: dict[str, Any]
) -> None:
    wanted = ask(api_base_url="http://api:1/llm-ops/v1", max_minutes=10, **given)
    run = _launch(instance, run_tags(wanted, settings(), minikube=False))
    job = api.get("Job", f"dagster-run-{run.run_id}")
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert unsafe(spec) == []
    assert environment["API_BASE_URL"] == "http://api:1/llm-ops/v1"
    assert job["metadata"]["labels"]["llmops/job"] == str(JOB_ID)
    assert job["spec"]["template"]["metadata"]["labels"]["llmops/job"] == str(JOB_ID)
    assert job["spec"]["activeDeadlineSeconds"] >= 10 * 60
    launches = wanted.nodes > 1
    assert spec["serviceAccountName"] == ("llmops-launcher" if launches else "llmops-runner")
    assert spec["automountServiceAccountToken"] is launches
    assert container["resources"]["limits"].get("nvidia.com/gpu") == ("2" if given.get("use_gpu") else None)
    cpu = {"cpu": "250m"} if launches else {"cpu": "4000m"} if given else {"cpu": "4"}
    assert container["resources"]["requests"]["cpu"] == cpu["cpu"]


@pytest.mark.parametrize("config", [
    {"container_config": {"securityContext": {"privileged": True}}},
    {"container_config": {"image": "evil:latest"}},
    {"container_config": {"command": ["sh"]}},
    {"container_config": {"volumeMounts": [{"name": "h", "mountPath": "/h"}]}},
    {"pod_spec_config": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}},
    {"pod_spec_config": {"hostNetwork": True}},
    {"pod_spec_config": {"containers": [{"name": "x", "image": "evil"}]}},
    {"pod_spec_config": {"priorityClassName": "system-node-critical"}},
    {"pod_spec_config": {"nodeName": "control-plane"}},
    {"job_spec_config": {"parallelism": 100}},
    {"job_config": {"metadata": {"name": "x"}}},
])  # fmt: skip
def test_a_tag_cannot_change_what_a_run_is(
    instance: dg.DagsterInstance, api: KubeApi, config: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match="violated the allowed list"):
        _launch(instance, {K8S_CONFIG: json.dumps(config)})
    assert api.names("Job") == []


def test_a_tag_cannot_bring_its_own_environment(instance: dg.DagsterInstance, api: KubeApi) -> None:
    config = {"container_config": {"env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]}}
    run = _launch(instance, {K8S_CONFIG: json.dumps(config)})
    assert "LD_PRELOAD" not in json.dumps(api.get("Job", f"dagster-run-{run.run_id}"))
