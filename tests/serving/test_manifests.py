"""What an endpoint is in a cluster: whole values, the schemas of Kubernetes and KServe, and that no text bends them."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.blobs import StoredFile
from llmops_resources.errors import Conflict, ValidationFailed
from llmops_resources.serving import falling_back, manifests, reference, runtimes
from llmops_resources.serving.options import AutoscalePolicy, Options, decide
from llmops_resources.serving.placing import MISMATCH, image_of, sums
from llmops_resources.serving.runtimes import RuntimeKind
from llmops_resources.settings import Settings
from tests.cluster import kserve_schema
from tests.cluster.jobs import check, unsafe
from tests.serving.cluster_things import DIGEST, ENDPOINT_ID, GPU_IMAGE, cluster_settings, place

HARD = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
        "readOnlyRootFilesystem": True, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip


def _of(made: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [thing for thing in made if thing["kind"] == kind]
    return found


def _container(made: list[dict[str, Any]]) -> dict[str, Any]:
    spec = made[0]["spec"]
    pod = spec["predictor"] if "predictor" in spec else spec["template"]["spec"]
    (found,) = pod["containers"]
    return dict(found)


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_a_vllm_endpoint_on_a_gpu_is_exactly_this() -> None:
    settings = cluster_settings(serving_image_pull_secret="pull")
    placed = place(settings, options={"serving_runtime_image": GPU_IMAGE, "cpu_request": "4", "memory_limit": "32Gi"})
    made = manifests.deployment(placed, settings)
    labels = {"app": placed.name, "app.kubernetes.io/name": "llmops-serving",
              "app.kubernetes.io/managed-by": "llmops", "llmops/role": "serving",
              "llmops/endpoint": str(ENDPOINT_ID)}  # fmt: skip
    annotations = {"llmops/revision": "3", "llmops/route": "/support-chat", "llmops/digest": DIGEST}
    pod_labels = {**labels, "llmops/revision": "3", "llmops/model": DIGEST[7:23]}
    fetch = made["spec"]["template"]["spec"]["initContainers"][0]
    script = fetch["command"].pop()
    assert "sha256sum --check --strict" in script
    assert "support-chat" not in script
    store = [
        {"name": "MODEL_STORAGE_URI", "value": "s3://llmops/production/models/m/1"},
        {"name": "AWS_ENDPOINT_URL", "valueFrom": {"configMapKeyRef": {
            "name": "llm-ops-object-store-config", "key": "AWS_ENDPOINT_URL", "optional": True}}},
        {"name": "AWS_DEFAULT_REGION", "value": "us-east-1"},
    ]  # fmt: skip
    keys = [{"name": name, "valueFrom": {"secretKeyRef": {"name": "llm-ops-object-store-credentials", "key": name}}}
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]  # fmt: skip
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": placed.name, "labels": labels, "annotations": annotations},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": 1800,
            "selector": {"matchLabels": {"app": placed.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": annotations},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 30,
                    "imagePullSecrets": [{"name": "pull"}],
                    "securityContext": {
                        "runAsNonRoot": True, "runAsUser": 10_001, "runAsGroup": 10_001, "fsGroup": 10_001,
                        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "initContainers": [{
                        "name": "fetch",
                        "image": "amazon/aws-cli:2.22.35",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/bin/sh", "-c"],
                        "env": [*store, *keys,
                                {"name": "SHA256SUMS",
                                 "value": f"{'a' * 64}  config.json\n{'b' * 64}  model.safetensors\n"},
                                {"name": "HOME", "value": "/tmp"}],
                        "resources": {"requests": {"cpu": "1", "memory": "2Gi"},
                                      "limits": {"cpu": "2", "memory": "4Gi"}},
                        "securityContext": HARD,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "model", "mountPath": "/models"},
                                         {"name": "tmp", "mountPath": "/tmp"}],
                    }],
                    "containers": [{
                        "name": "kserve-container",
                        "image": GPU_IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                        "args": ["--model", "/models", "--host", runtimes.HOST, "--port", "8000",
                                 "--served-model-name", "support-chat"],
                        "env": [*store, *({"name": name, "value": value} for name, value in {
                            "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HOME": "/tmp",
                            "HF_HOME": "/tmp/hf_cache", "XDG_CACHE_HOME": "/tmp/cache",
                            "TRITON_CACHE_DIR": "/tmp/triton", "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",
                            "USER": "llmops", "OMP_NUM_THREADS": "4", "VLLM_LOGGING_LEVEL": "DEBUG",
                            "VLLM_NO_USAGE_STATS": "1", "VLLM_CACHE_ROOT": "/tmp/vllm"}.items())],
                        "ports": [{"name": "http1", "containerPort": 8000, "protocol": "TCP"}],
                        "resources": {"requests": {"cpu": "4", "memory": "2Gi", "nvidia.com/gpu": "1"},
                                      "limits": {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "1"}},
                        "startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 5,
                                         "timeoutSeconds": 5, "failureThreshold": 360},
                        "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}, "initialDelaySeconds": 120,
                                          "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "initialDelaySeconds": 60,
                                           "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
                        "securityContext": HARD,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "model", "mountPath": "/models", "readOnly": True},
                                         {"name": "tmp", "mountPath": "/tmp"},
                                         {"name": "shm", "mountPath": "/dev/shm"}],
                    }],
                    "volumes": [{"name": "model", "emptyDir": {"sizeLimit": "100Gi"}},
                                {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}},
                                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
                },
            },
        },
    }  # fmt: skip


def test_the_service_the_autoscaler_and_the_ingress_beside_it_are_exactly_these() -> None:
    guarded = {"nginx.ingress.kubernetes.io/auth-url": "https://a/b"}
    settings = cluster_settings(serving_ingress_host="models.example.com", serving_ingress_class="nginx",
                                serving_ingress_tls_secret="tls", serving_ingress_annotations=guarded)  # fmt: skip
    policy = AutoscalePolicy(cpu_utilization=60, gpu_utilization=85, target_latency_ms=900)
    placed = place(settings, options={"autoscale_policy": policy}, min_replicas=2, max_replicas=5)
    made = manifests.build(placed, settings)
    assert [thing["kind"] for thing in made] == ["Deployment", "Service", "HorizontalPodAutoscaler", "Ingress"]
    assert "replicas" not in made[0]["spec"]  # the autoscaler decides
    assert {thing["metadata"]["namespace"] for thing in made} == {"llm-ops-dev"}
    assert _of(made, "Service")["spec"] == {
        "type": "ClusterIP", "selector": {"app": placed.name},
        "ports": [{"name": "http", "port": 80, "targetPort": 8000, "protocol": "TCP"}]}  # fmt: skip
    assert _of(made, "HorizontalPodAutoscaler")["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": placed.name},
        "minReplicas": 2, "maxReplicas": 5,
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "DCGM_FI_DEV_GPU_UTIL"},
                                      "target": {"type": "AverageValue", "averageValue": "85"}}},
            {"type": "External", "external": {
                "metric": {"name": "llmops_route_latency_milliseconds",
                           "selector": {"matchLabels": {"route": "support-chat"}}},
                "target": {"type": "Value", "value": "900"}}},
            {"type": "Resource", "resource": {"name": "cpu",
                                              "target": {"type": "Utilization", "averageUtilization": 60}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}}  # fmt: skip
    ingress = _of(made, "Ingress")
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["models.example.com"], "secretName": "tls"}],
        "rules": [{"host": "models.example.com", "http": {"paths": [{
            "path": "/support-chat(/|$)(.*)", "pathType": "ImplementationSpecific",
            "backend": {"service": {"name": placed.name, "port": {"name": "http"}}}}]}}]}  # fmt: skip
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-url"] == "https://a/b"
    for thing in made:
        check(thing)


def test_without_a_host_nothing_is_reachable_from_outside_the_cluster() -> None:
    settings = cluster_settings()
    assert [thing["kind"] for thing in manifests.build(place(settings), settings)] == ["Deployment", "Service"]


def test_an_inference_service_holds_the_same_pod_and_is_accepted_by_kserve() -> None:
    settings = cluster_settings(serving_backend="kserve")
    placed = place(settings, backend="kserve", options={"serving_runtime_image": GPU_IMAGE}, max_replicas=3,
                   metadata={"huggingface_model_id": "example/model"})  # fmt: skip
    (made,) = manifests.build(placed, settings)
    twin = manifests.deployment(placed.model_copy(update={"backend": "kubernetes"}), settings)
    predictor = made["spec"]["predictor"]
    for key, value in twin["spec"]["template"]["spec"].items():
        assert predictor[key] == value
    assert (made["apiVersion"], made["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert {key: predictor[key] for key in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")} == {
        "minReplicas": 1, "maxReplicas": 3, "scaleMetric": "cpu", "scaleTarget": 80}  # fmt: skip
    said = made["metadata"]["annotations"]
    assert said["serving.kserve.io/route"] == "/support-chat"
    assert said["serving.kserve.io/deploymentMode"] == "RawDeployment"
    assert (said["serving.kserve.io/stop"], said["llmops/huggingface-model-id"]) == ("false", "example/model")
    assert kserve_schema.problem(made) is None
    assert manifests.address(placed, settings) == f"http://{placed.name}-predictor.llm-ops-dev.svc.cluster.local"


def test_with_knative_replicas_come_with_calls_and_pods_are_as_knative_lets_them_be() -> None:
    settings = cluster_settings(serving_backend="kserve", kserve_mode="knative")
    asked = {"serving_runtime_image": GPU_IMAGE, "autoscale_policy": AutoscalePolicy(concurrency=8)}
    placed = place(settings, backend="kserve", options=asked, min_replicas=0, max_replicas=3)
    (made,) = manifests.build(placed, settings)
    said, predictor = made["metadata"]["annotations"], made["spec"]["predictor"]
    assert said["serving.kserve.io/deploymentMode"] == "Serverless"
    assert "serving.kserve.io/autoscalerClass" not in said
    names = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout")
    assert [predictor[name] for name in names] == [0, 3, "concurrency", 8, 600]
    assert predictor["annotations"]["serving.knative.dev/progress-deadline"] == "1800s"
    assert predictor["annotations"]["autoscaling.knative.dev/scale-to-zero-pod-retention-period"] == "10m"
    # What Knative's own validation does not let through.
    assert not {"terminationGracePeriodSeconds", "deploymentStrategy"} & predictor.keys()
    assert "fsGroupChangePolicy" not in predictor["securityContext"]
    assert unsafe(predictor) == []
    assert kserve_schema.problem(made) is None
    twin = manifests.deployment(placed.model_copy(update={"backend": "kubernetes"}), settings)
    assert predictor["containers"] == twin["spec"]["template"]["spec"]["containers"]
    assert predictor["initContainers"] == twin["spec"]["template"]["spec"]["initContainers"]


@pytest.mark.parametrize(("image", "arguments"), [
    (GPU_IMAGE, ["--tensor-parallel-size", "4"]),
    (runtimes.TGI_GPU_IMAGE, ["--num-shard", "4"]),
    (runtimes.HUGGINGFACE_GPU_IMAGE, ["--tensor-parallel-size=4"]),
    ("registry.example.com/our-server:1", []),
])  # fmt: skip
@pytest.mark.parametrize("backend", ["kubernetes", "kserve"])
def test_several_gpus_of_a_replica_are_reserved_and_the_runtime_is_told_to_share_the_model(
    backend: str, image: str, arguments: list[str]
) -> None:
    settings = cluster_settings()

    def container(count: int | None) -> dict[str, Any]:
        placed = place(settings, backend=backend, options={"serving_runtime_image": image, "gpu_count": count})
        return _container(manifests.build(placed, settings))

    alone, shared = container(None), container(4)
    assert shared["resources"]["requests"]["nvidia.com/gpu"] == shared["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert shared.get("args", []) == [*alone.get("args", []), *arguments]
    assert container(1) == alone


@pytest.mark.parametrize("backend", ["kubernetes", "kserve"])
def test_scaled_to_zero_it_keeps_everything_but_its_replicas(backend: str) -> None:
    settings = cluster_settings(serving_ingress_host="models.example.com")
    made = manifests.build(place(settings, backend=backend, min_replicas=0, max_replicas=0), settings)
    if backend == "kserve":
        assert [made[0]["spec"]["predictor"][key] for key in ("minReplicas", "maxReplicas")] == [0, 0]
        assert made[0]["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
        assert kserve_schema.problem(made[0]) is None
    else:
        assert [thing["kind"] for thing in made] == ["Deployment", "Service"]
        assert made[0]["spec"]["replicas"] == 0


def test_the_schema_of_kserve_finds_a_field_that_does_not_exist_and_a_wrong_type() -> None:
    settings = cluster_settings()
    (made,) = manifests.build(place(settings, backend="kserve"), settings)
    made["spec"]["predictor"]["replicaCount"] = 2
    assert "replicaCount: unknown field" in (kserve_schema.problem(made) or "")
    made["spec"]["predictor"].pop("replicaCount")
    made["spec"]["predictor"]["minReplicas"] = "one"
    assert "minReplicas" in (kserve_schema.problem(made) or "")


@pytest.mark.parametrize("backend", ["kubernetes", "kserve"])
@pytest.mark.parametrize("image", [row.image for row in runtimes.curated(cluster_settings())])
def test_every_runtime_on_every_backend_is_accepted_hardened_and_holds_no_keys(backend: str, image: str) -> None:
    settings = cluster_settings()
    use_gpu = next(row.use_gpu for row in runtimes.curated(settings) if row.image == image)
    made = manifests.build(place(settings, backend=backend, options={"serving_runtime_image": image,
                                                                     "use_gpu": use_gpu}), settings)  # fmt: skip
    for thing in made:
        if thing["kind"] == "InferenceService":
            assert kserve_schema.problem(thing) is None
        else:
            check(thing)
    spec = made[0]["spec"]
    assert unsafe(spec["predictor"] if backend == "kserve" else spec["template"]["spec"]) == []
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & _environment(_container(made)).keys()
    asks = _container(made)["resources"]["limits"].get("nvidia.com/gpu")
    assert asks == ("1" if use_gpu else None)


@pytest.mark.parametrize(("image", "device"), [
    ("vllm/vllm-openai:v0.8.5", True), ("example.com/vllm-cpu@sha256:" + "0" * 64, True),
    ("example.com/vllm-cpu:latest", True), ("example.com:5000/vllm-cpu:v0.9.0", False), ("x/vllm:0.11.0-cpu", False),
])  # fmt: skip
def test_only_old_and_unknown_vllm_images_are_told_their_device_and_before_the_model(image: str, device: bool) -> None:
    settings = cluster_settings()
    placed = place(settings, options={"serving_runtime_image": image, "use_gpu": False})
    container = _container(manifests.build(placed, settings))
    start = ["--device", "cpu", "--model"] if device else ["--model", "/models", "--host"]
    assert container["args"][:3] == start
    assert {"VLLM_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "",
            "VLLM_CPU_KVCACHE_SPACE": "4"}.items() <= _environment(container).items()  # fmt: skip


def test_tgi_has_the_patience_and_the_environment_that_it_needs() -> None:
    settings = cluster_settings()
    container = _container(manifests.build(place(settings, options={
        "serving_runtime_image": runtimes.TGI_CPU_IMAGE, "use_gpu": False}), settings))  # fmt: skip
    assert container["args"] == ["--model-id", "/models", "--hostname", runtimes.HOST, "--port", "8000"]
    assert {"HF_HUB_DOWNLOAD_TIMEOUT": "1800", "HF_HOME": "/tmp/hf_cache", "HF_HUB_ENABLE_HF_TRANSFER": "1",
            "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512", "DISABLE_TRITON": "1", "MAMBA_DISABLE_TRITON": "1",
            "TORCH_COMPILE_DISABLE": "1"}.items() <= _environment(container).items()  # fmt: skip
    probes = [container[name] for name in ("livenessProbe", "readinessProbe")]
    assert [(p["initialDelaySeconds"], p["failureThreshold"], p["periodSeconds"]) for p in probes] == [
        (300, 5, 10), (300, 10, 10)]  # fmt: skip


@pytest.mark.parametrize(("image", "kind"), [
    ("vllm/vllm-openai:v0.11.0", "vllm"), ("vllm.example.com/models/tgi:3", "tgi"),
    ("ghcr.io/huggingface/text-generation-inference:3.3.6", "tgi"), ("example.com/postgis:1", "custom"),
    ("kserve/huggingfaceserver:v0.15.2", "huggingface"), ("example.com:5000/llmops:0.1.0", "llmops"),
    ("example.com/our-server:tgi", "custom"), ("localhost/vllm", "vllm"),
])  # fmt: skip
def test_the_runtime_is_told_by_the_images_name_alone(image: str, kind: str) -> None:
    assert runtimes.detect(image, cluster_settings()).kind is RuntimeKind(kind)


def test_without_a_gpu_the_platforms_own_image_serves_where_there_is_one() -> None:
    own = "registry.example.com/llmops@sha256:" + "0" * 64
    image = lambda settings: image_of(place(settings, options={"use_gpu": False}), settings)  # noqa: E731
    assert image(cluster_settings(training_image=own)) == own
    assert image(cluster_settings()) == runtimes.TGI_CPU_IMAGE
    assert image(cluster_settings(serving_runtime_image="vllm/vllm-openai:v0.11.0")) == runtimes.VLLM_CPU_IMAGE
    assert image(cluster_settings(serving_cpu_runtime_image="x/y:1", training_image=own)) == "x/y:1"
    placed = place(cluster_settings(training_image=own), options={"use_gpu": False, "memory_limit": "3Gi"})
    container = _container(manifests.build(placed, cluster_settings(training_image=own)))
    assert container["command"] == ["python", "-m", "llmops_assets.serving.runtime"]
    assert container["args"][-6:] == ["--digest", DIGEST, "--memory", str(3 * 2**30), "--drain", "25"]
    assert _arguments_are_known(container["args"])


def _arguments_are_known(arguments: list[str]) -> bool:
    """Whether our own runtime has these options."""
    source = (Path(__file__).parents[2] / "llmops_assets/serving/runtime/__main__.py").read_text()
    return all(f'"{argument}"' in source for argument in arguments if argument.startswith("--"))


def test_the_image_and_the_gpu_are_decided_once_and_stay() -> None:
    decided = decide(cluster_settings(use_gpu=False), "kubernetes", Options())
    assert decided.config == {"useGpu": False, "servingRuntimeImage": runtimes.TGI_CPU_IMAGE}
    assert Options.of({**decided.config, "other": 1}) == decided


def test_a_limit_below_what_is_reserved_is_refused_and_a_larger_request_lifts_the_installations_limit() -> None:
    settings = cluster_settings()
    with pytest.raises(ValidationFailed) as refused:
        decide(settings, "kubernetes", Options(memory_request="4Gi", memory_limit="2Gi"))
    assert refused.value.details[0]["path"] == "memoryLimit"
    placed = place(settings, options={"use_gpu": False, "memory_request": "16Gi"})
    resources = _container(manifests.build(placed, settings))["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("16Gi", "16Gi")


def test_a_backend_that_is_not_set_up_is_refused_with_the_way_to_set_it_up() -> None:
    with pytest.raises(ValidationFailed) as refused:
        decide(Settings(_env_file=None), "kserve", Options())
    assert "SERVING_BACKEND" in refused.value.details[0]["remedy"]
    assert cluster_settings(use_kserve=True).endpoint_backend == "kserve"


@pytest.mark.parametrize(("backend", "asked", "field", "remedy"), [
    ("kubernetes", {"use_gpu": False, "gpu_count": 2}, "gpuCount", "useGpu"),
    ("kubernetes", {"gpu_count": 2, "serving_runtime_image": "llmops:1"}, "gpuCount", "vLLM or TGI"),
    ("kubernetes", {"kserve_mode": "knative"}, "kserveMode", "kserve"),
    ("local", {"kserve_mode": "raw"}, "kserveMode", "kserve"),
    ("kserve", {"kserve_mode": "knative", "autoscale_policy": {"cpuUtilization": 50}},
     "autoscalePolicy.cpuUtilization", "concurrency"),
    ("kserve", {"autoscale_policy": {"concurrency": 5}}, "autoscalePolicy.concurrency", "cpuUtilization"),
])  # fmt: skip
def test_what_a_place_cannot_use_is_refused_beside_its_field(
    backend: str, asked: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decide(cluster_settings(), backend, Options(**asked))
    (problem,) = refused.value.details
    assert problem["path"] == field
    assert remedy in problem["remedy"]


@pytest.mark.parametrize(("image", "on_cpus"), [
    (GPU_IMAGE, runtimes.VLLM_CPU_IMAGE), (runtimes.TGI_GPU_IMAGE, runtimes.TGI_CPU_IMAGE),
    (runtimes.HUGGINGFACE_GPU_IMAGE, runtimes.HUGGINGFACE_CPU_IMAGE), ("llmops:1", "llmops:1"),
    ("registry.example.com/our-server:1", runtimes.TGI_CPU_IMAGE),
])  # fmt: skip
def test_without_a_gpu_the_same_runtime_goes_on_and_nothing_that_counts_gpus_stays(image: str, on_cpus: str) -> None:
    settings = cluster_settings()
    policy = AutoscalePolicy(gpu_utilization=80)
    asked = {"serving_runtime_image": image, "autoscale_policy": policy, "memory_limit": "32Gi"}
    found = falling_back.options_on_cpus(place(settings, options=asked), settings)
    assert found.config == {"useGpu": False, "servingRuntimeImage": on_cpus, "memoryLimit": "32Gi"}
    both = {**asked, "autoscale_policy": policy.model_copy(update={"cpu_utilization": 50})}
    kept = falling_back.options_on_cpus(place(settings, options=both), settings).autoscale_policy
    assert kept == AutoscalePolicy(cpu_utilization=50)


def test_how_kserve_runs_an_endpoint_is_decided_once_and_stays() -> None:
    decided = decide(cluster_settings(kserve_mode="knative"), "kserve", Options())
    assert decide(cluster_settings(), "kserve", Options.of(decided.config)).on_knative
    assert not decide(cluster_settings(), "kserve", Options()).on_knative
    assert decide(cluster_settings(kserve_mode="knative"), "kubernetes", Options()).kserve_mode is None


@pytest.mark.parametrize("image", [
    "x y", "x;y", "https://x/y", "$(X)", "x:y:z", "-x", "X/Y", "x\n", "x@sha256:12", "../x"])  # fmt: skip
def test_an_image_that_is_no_reference_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="serving"):
        Options(serving_runtime_image=image)


@given(st.text(max_size=60))
def test_a_file_is_fetched_by_a_plain_name_or_not_at_all(path: str) -> None:
    settings = cluster_settings()
    placed = place(settings, files=(StoredFile(path=path, size=1, sha256="c" * 64),))
    try:
        line = sums(placed)
    except Conflict:
        return
    assert line == f"{'c' * 64}  {path}\n"
    assert not set(path) & set(" \n\t\\\"'`$(){};&|<>*?!~#")
    assert not {"..", ".", ""} & set(path.split("/"))


def test_names_stay_short_enough_for_what_kserve_adds_and_differ_by_endpoint() -> None:
    settings = cluster_settings()
    placed = place(settings, route="9" + "x" * 62)
    assert placed.name.startswith("serve-9")
    assert len(f"{placed.name}-predictor-llm-ops-prod") <= 63
    assert placed.model_copy(update={"endpoint_id": uuid4()}).name != placed.name


def test_the_reference_of_manifests_is_what_the_builders_say_and_has_every_runtime_everywhere() -> None:
    assert reference.stale() == [], "run: python -m llmops_resources.serving.reference"
    kinds = {(kind, gpus) for kind, gpus, _ in reference.images()}
    assert kinds >= {(kind, gpus) for kind in RuntimeKind for gpus in (0, 1)}
    assert {kind for kind, gpus in kinds if gpus == 2} == set(RuntimeKind) - {RuntimeKind.LLMOPS}
    assert len(reference.files()) == len(reference.WAYS) * len(kinds)


AWS = """#!/bin/sh
# s3 cp --only-show-errors FROM TO
cp "$STORE/${4#s3://llmops/}" "$5"
"""


def _fetch(tmp_path: Path, files: dict[str, bytes], *, listed: dict[str, bytes]) -> tuple[int, dict[str, bytes], str]:
    """Runs the fetcher's own script, its folders moved, against a store that is a folder."""
    store, models, programs = (tmp_path / name for name in ("store", "models", "programs"))
    for folder in (store, models, programs):
        folder.mkdir()
    (programs / "aws").write_text(AWS)
    (programs / "aws").chmod(0o755)
    for name, content in files.items():
        (store / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (store / "m" / name).write_bytes(content)
    entries = tuple(StoredFile(path=n, size=len(c), sha256=hashlib.sha256(c).hexdigest()) for n, c in listed.items())
    settings = cluster_settings()
    placed = place(settings, files=entries, storage_uri="s3://llmops/m")
    (container,) = manifests.deployment(placed, settings)["spec"]["template"]["spec"]["initContainers"]
    given = {name: value for name, value in _environment(container).items() if isinstance(value, str)}
    shell, option, script = container["command"]
    moved = script.replace("/models", str(models)).replace("/tmp/sums", str(tmp_path / "sums"))
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run([shell, option, moved], env={**given, "PATH": path, "STORE": str(store)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    there = {str(p.relative_to(models)): p.read_bytes() for p in models.rglob("*") if p.is_file()}
    return done.returncode, there, done.stdout + done.stderr


def test_the_fetcher_takes_exactly_the_approved_files(tmp_path: Path) -> None:
    wanted = {"config.json": b"{}", "tokenizer/vocab.txt": b"a"}
    code, there, _ = _fetch(tmp_path, {**wanted, "planted.py": b"evil"}, listed=wanted)
    assert (code, there) == (0, wanted)


def test_the_fetcher_refuses_bytes_that_are_not_the_approved_ones_with_a_status_of_their_own(tmp_path: Path) -> None:
    code, _, said = _fetch(tmp_path, {"config.json": b"changed"}, listed={"config.json": b"{}"})
    assert code == MISMATCH
    assert "config.json" in said


def test_the_fetcher_ends_with_another_status_when_a_file_is_not_there(tmp_path: Path) -> None:
    code, _, _ = _fetch(tmp_path, {"config.json": b"{}"}, listed={"config.json": b"{}", "gone.json": b"{}"})
    assert code not in {0, MISMATCH}
