"""A job's manifests: whole values, Kubernetes' own schemas, and that no user's text can bend them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import ValidationFailed
from llmops_resources.training import job
from tests.cluster.jobs import JOB_ID, NAME, OWNER, ask, check, settings, texts, unsafe

IMAGE = settings().training_image
LABELS = {"app.kubernetes.io/name": "llmops-training", "app.kubernetes.io/managed-by": "llmops",
          "llmops/job": str(JOB_ID), "llmops/attempt": "1", "llmops/role": "node"}  # fmt: skip
HARD = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
        "readOnlyRootFilesystem": True, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip


def test_the_job_of_two_gpu_nodes_is_exactly_this() -> None:
    wanted = ask(use_gpu=True, gpu_count=4, gpu_type="A100", nodes=2, processes=4, max_minutes=90)
    made = job.node_job(wanted, settings(training_image_pull_secret="pull"), minikube=False, owner=OWNER)
    products = ["NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-80GB-PCIe", "NVIDIA-A100-PCIE-40GB"]
    digest = made["metadata"]["annotations"].pop("llmops/manifest")
    assert digest.startswith("sha256:")
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "labels": LABELS, "annotations": {}, "ownerReferences": [OWNER]},
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": 2,
            "parallelism": 2,
            "backoffLimit": 0,
            "activeDeadlineSeconds": 90 * 60 + 600,
            "ttlSecondsAfterFinished": 3600,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
            "template": {
                "metadata": {"labels": LABELS,
                             "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
                "spec": {
                    "restartPolicy": "Never",
                    "subdomain": NAME,
                    "serviceAccountName": "llmops-runner",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 180,
                    "imagePullSecrets": [{"name": "pull"}],
                    "securityContext": {
                        "runAsNonRoot": True, "runAsUser": 10_001, "runAsGroup": 10_001, "fsGroup": 10_001,
                        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "nvidia.com/gpu.product", "operator": "In", "values": products}]}]}}},
                    "containers": [{
                        "name": "train",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python", "-m", "llmops_assets.training.node", "/errand/errand.json", "/work"],
                        "args": ["--nnodes=2", "--nproc-per-node=4", "--node-rank=$(JOB_COMPLETION_INDEX)",
                                 f"--master-addr={NAME}-0.{NAME}", "--master-port=29500"],
                        "env": [
                            {"name": "API_BASE_URL", "value": "http://llmops-api.llm-ops.svc:8000/llm-ops/v1"},
                            {"name": "JOB_ID", "value": str(JOB_ID)},
                            {"name": "JOB_TOKEN", "valueFrom": {"secretKeyRef": {"name": NAME, "key": "token"}}},
                            {"name": "HF_HUB_OFFLINE", "value": "1"},
                            {"name": "OMP_NUM_THREADS", "value": "8"},
                            {"name": "HOME", "value": "/tmp"},
                            {"name": "TORCHINDUCTOR_CACHE_DIR", "value": "/tmp/inductor"},
                        ],
                        "resources": {
                            "requests": {"cpu": "8000m", "memory": str(64 * 2**30), "nvidia.com/gpu": "4"},
                            "limits": {"cpu": "32000m", "memory": str(256 * 2**30), "nvidia.com/gpu": "4"}},
                        "securityContext": HARD,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [
                            {"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"},
                            {"name": "work", "mountPath": "/work"},
                            {"name": "errand", "mountPath": "/errand", "readOnly": True}],
                    }],
                    "volumes": [
                        {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}},
                        {"name": "shm", "emptyDir": {"medium": "Memory"}},
                        {"name": "work", "emptyDir": {"sizeLimit": "100Gi"}},
                        {"name": "errand", "secret": {"secretName": NAME, "defaultMode": 0o440,
                                                      "items": [{"key": "errand.json", "path": "errand.json"}]}}],
                },
            },
        },
    }  # fmt: skip


def test_the_service_and_the_secret_beside_it_are_exactly_these() -> None:
    meta = {"name": NAME, "labels": LABELS, "ownerReferences": [OWNER]}
    assert job.rendezvous(ask(nodes=2), OWNER) == {
        "apiVersion": "v1", "kind": "Service", "metadata": meta,
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": LABELS,
                 "ports": [{"name": "rendezvous", "port": 29_500, "protocol": "TCP"}]},
    }  # fmt: skip
    assert job.secret(ask(nodes=2), OWNER, token="t", errand="{}") == {
        "apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque",
        "stringData": {"token": "t", "errand.json": "{}"},
    }  # fmt: skip
    check(job.rendezvous(ask(nodes=2), OWNER))
    check(job.secret(ask(nodes=2), OWNER, token="t", errand="{}"))


def test_a_run_that_trains_itself_gets_its_resources_and_its_place_by_tags() -> None:
    (config,) = job.run_tags(ask(cpu_cores=2.5, memory="6Gi", max_minutes=30), settings(), minikube=True).values()
    url = "http://host.minikube.internal:8000/llm-ops/v1"
    assert json.loads(config) == {
        "container_config": {
            "env": [{"name": "API_BASE_URL", "value": url}, {"name": "TRAINING_API_BASE_URL", "value": url},
                    {"name": "HF_HUB_OFFLINE", "value": "1"}],
            "resources": {"requests": {"cpu": "2500m", "memory": "6Gi"}, "limits": {"cpu": "8", "memory": "16Gi"}}},
        "pod_spec_config": {"terminationGracePeriodSeconds": 180},
        "pod_template_spec_metadata": {"labels": LABELS | {"llmops/role": "run"}},
        "job_metadata": {"labels": LABELS | {"llmops/role": "run"}},
        "job_spec_config": {"activeDeadlineSeconds": 30 * 60 + 600, "ttlSecondsAfterFinished": 3600},
    }  # fmt: skip


def test_a_gpu_run_asks_for_whole_gpus_on_their_nodes() -> None:
    (text,) = job.run_tags(ask(use_gpu=True, gpu_count=2, gpu_type="l4"), settings(), minikube=False).values()
    config = json.loads(text)
    assert config["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert config["pod_spec_config"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "NVIDIA-L4" in json.dumps(config["pod_spec_config"]["affinity"])


@pytest.mark.parametrize("wanted", [{"nodes": 2}, {"nodes": 2, "use_gpu": True, "gpu_type": "h100"}])
def test_a_run_that_launches_others_is_small_and_may_talk_to_the_cluster(wanted: dict[str, Any]) -> None:
    (text,) = job.run_tags(ask(**wanted), settings(), minikube=False).values()
    config = json.loads(text)
    assert "nvidia.com/gpu" not in text
    assert config["pod_spec_config"]["serviceAccountName"] == "llmops-launcher"
    assert config["pod_spec_config"]["automountServiceAccountToken"] is True
    assert {"POD_NAME", "POD_UID"} <= {entry["name"] for entry in config["container_config"]["env"]}
    one = job.node_job(ask(**wanted), settings(), minikube=False)["spec"]["activeDeadlineSeconds"]
    assert config["job_spec_config"]["activeDeadlineSeconds"] > one  # it outlives what it watches


def test_a_job_of_one_node_has_pods_of_its_own_only_where_isolation_is_asked_for() -> None:
    assert not job.has_own_pods(ask(), settings())
    assert job.has_own_pods(ask(), settings(training_isolated=True))
    assert job.has_own_pods(ask(nodes=2), settings())


def test_a_lone_pod_that_loses_its_place_is_made_again_and_one_of_several_ends_the_job() -> None:
    actions = [
        job.node_job(ask(nodes=nodes), settings(), minikube=False)["spec"]["podFailurePolicy"]["rules"][0]["action"]
        for nodes in (1, 2)
    ]
    assert actions == ["Ignore", "FailJob"]


def test_two_attempts_that_ask_for_the_same_have_the_same_digest_and_others_do_not() -> None:
    def digest(**given: Any) -> str:
        made: str = job.node_job(ask(nodes=2, **given), settings(), minikube=False)["metadata"]["annotations"][
            "llmops/manifest"
        ]
        return made

    assert digest(attempt=1) == digest(attempt=2) == digest(attempt=11)
    assert digest(attempt=1) != digest(attempt=1, memory="9Gi")


@pytest.mark.parametrize(
    ("asked", "configured", "minikube", "url"),
    [
        ("https://api.example.com/llm-ops/v1", "http://set/llm-ops/v1", True, "https://api.example.com/llm-ops/v1"),
        (None, "http://set:1/llm-ops/v1", True, "http://set:1/llm-ops/v1"),
        (None, None, True, "http://host.minikube.internal:8000/llm-ops/v1"),
        (None, None, False, "http://llmops-api.llm-ops.svc:8000/llm-ops/v1"),
    ],
)
def test_the_apis_address_is_the_jobs_then_the_settings_then_the_minikubes_then_ours(
    asked: str | None, configured: str | None, minikube: bool, url: str
) -> None:
    assert job.api_base_url(asked, settings(training_api_base_url=configured), minikube=minikube) == url


@pytest.mark.parametrize("url", [
    "", "api", "file:///etc/passwd", "http://", "http://user:pw@host/v1", "http://host/v1?x=1", "http://host/v1#x",
    "http://host:99999/v1", "http://host:0/v1", "http://ho st/v1", "http://host/v1\n- name: X", "http://host/$(JOB_TOKEN)",
    "http://-host/v1", "http://host/" + "x" * 600, "javascript:alert(1)", "http://[::1",
])  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        job.api_base_url(url, settings(), minikube=False)
    assert refused.value.details[0]["path"] == "apiBaseUrl"


@pytest.mark.parametrize(("given", "path"), [
    ({"cpu_cores": 9}, "cpuCores"), ({"memory": "17Gi"}, "memory"), ({"memory": "lots"}, "memory"),
    ({"memory": "٣Gi"}, "memory"), ({"use_gpu": True, "gpu_type": "nvidia.com/gpu"}, "gpuType"),
    ({"use_gpu": True, "memory": "65Gi"}, "memory"),
])  # fmt: skip
def test_more_than_a_node_may_have_is_refused_before_anything_is_made(given: dict[str, Any], path: str) -> None:
    for nodes in (1, 2):
        with pytest.raises(ValidationFailed) as refused:
            job.run_tags(ask(nodes=nodes, **given), settings(), minikube=False)
        assert refused.value.details[0]["path"] == f"resourceProfile.{path}"
        assert refused.value.details[0]["remedy"]


def test_an_operators_gpu_types_replace_the_built_in_ones() -> None:
    own = settings(training_gpu_products="a100:MY-A100,odd:ODD-1|ODD-2")
    made = json.dumps(job.node_job(ask(use_gpu=True, gpu_type="odd"), own, minikube=False))
    assert '["ODD-1", "ODD-2"]' in made
    assert '["MY-A100"]' in json.dumps(job.node_job(ask(use_gpu=True, gpu_type="a100"), own, minikube=False))
    assert "NVIDIA-T4" not in made


hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from([
        "a100\n      hostNetwork: true", "x'; hostPath: {path: /}", "$(JOB_TOKEN)", "{{ .Values }}", "a100,b", "a=b",
        "../../etc", "kubernetes.io/hostname", "privileged: true", "4Gi\n", "1e9Gi", "0Gi", "-1", "http://x/\x00",
    ]),
)  # fmt: skip


@given(
    use_gpu=st.booleans(), gpu_count=st.integers(1, 64), nodes=st.integers(1, 256), isolated=st.booleans(),
    gpu_type=st.one_of(st.none(), st.sampled_from(sorted(job.GPU_PRODUCTS)), hostile),
    cores=st.one_of(st.none(), st.floats(0.0001, 1024)), minutes=st.integers(1, 43_200),
    memory=st.one_of(st.none(), st.sampled_from(["1Gi", "16G", "512Mi"]), hostile),
    url=st.one_of(st.none(), st.just("http://api:8000/llm-ops/v1"), hostile), attempt=st.integers(1, 99),
)  # fmt: skip
def test_whatever_a_user_writes_is_refused_or_makes_a_valid_and_harmless_pod(
    use_gpu: bool, gpu_count: int, nodes: int, isolated: bool, gpu_type: str | None, cores: float | None,
    minutes: int, memory: str | None, url: str | None, attempt: int,
) -> None:  # fmt: skip
    wanted = ask(
        use_gpu=use_gpu, gpu_count=gpu_count, nodes=nodes, gpu_type=gpu_type, cpu_cores=cores, memory=memory,
        max_minutes=minutes, api_base_url=url, attempt=attempt,
    )  # fmt: skip
    own = settings(training_isolated=isolated)
    try:
        made = job.node_job(wanted, own, minikube=False)
        tags = job.run_tags(wanted, own, minikube=False)
    except ValidationFailed:
        return
    spec = made["spec"]["template"]["spec"]
    assert unsafe(spec) == []
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("llmops-runner", False)
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp", "shm", "work", "errand"]
    assert not use_gpu or gpu_type is None or gpu_type.lower() in job.GPU_PRODUCTS
    assert all(text.isascii() and text.isprintable() for text in texts([made, json.loads(tags[job.K8S_CONFIG])]))


@pytest.mark.parametrize("given", [
    {}, {"nodes": 2}, {"nodes": 256, "attempt": 99}, {"use_gpu": True, "gpu_count": 8, "gpu_type": "h100", "nodes": 3},
    {"cpu_cores": 0.00011, "memory": "1k"}, {"use_gpu": True},
])  # fmt: skip
def test_every_job_satisfies_the_schemas_of_kubernetes(given: dict[str, Any]) -> None:
    made = job.node_job(ask(**given), settings(), minikube=True, owner=OWNER)
    check(made)
    assert len(f"{made['metadata']['name']}-255") <= 63  # a host name


def test_the_checks_of_this_file_see_what_they_are_for() -> None:
    made = job.node_job(ask(), settings(), minikube=False)
    spec = made["spec"]["template"]["spec"]
    spec["hostNetwork"] = True
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    spec["containers"][0]["securityContext"] = {**HARD, "privileged": True}
    assert len(unsafe(spec)) == 3
    made["spec"]["paralelism"] = 2
    with pytest.raises(Exception, match="paralelism"):
        check(made)


def test_no_secret_is_in_the_pods_specification() -> None:
    made = job.node_job(ask(nodes=2), settings(), minikube=False)
    tags = job.run_tags(ask(nodes=2), settings(aws_secret_access_key="hidden", secret_key="k" * 40), minikube=False)
    told = json.dumps(made) + json.dumps(tags)
    assert "hidden" not in told
    assert "k" * 40 not in told
    token = [e for e in made["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == "JOB_TOKEN"]
    assert "value" not in token[0]
