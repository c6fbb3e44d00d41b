"""The objects of an endpoint, as pure functions of its placement: what is applied is exactly what these return.

`kubernetes`: Deployment, Service, HorizontalPodAutoscaler and Ingress, the last two where they are asked for.
`kserve`: one InferenceService, from which KServe makes the same, or what Knative needs (`knative.py`).
"""

from typing import Final

from llmops_resources.cluster.values import KINDS, Object
from llmops_resources.serving import knative
from llmops_resources.serving.placing import STARTUP_MINUTES, Placement, namespace, pod_spec, runtime_of
from llmops_resources.serving.runtimes import PORT
from llmops_resources.settings import ServingBackend, Settings
from llmops_resources.values import sha256_of

#: The digest of the rest of the manifest, by which a changed one is told from what was applied.
FINGERPRINT: Final = "llmops/manifest"
#: What the reconciler looks for, in the order in which it is applied; what is withdrawn goes the other way round.
APPLIED: Final = ("Deployment", "InferenceService", "Service", "HorizontalPodAutoscaler", "Ingress")
DEFAULT_CPU_UTILIZATION: Final = 80
GPU_METRIC: Final = "DCGM_FI_DEV_GPU_UTIL"
LATENCY_METRIC: Final = "llmops_route_latency_milliseconds"
#: By which KServe is told how it is to run a model; it lets nobody change it afterwards.
KSERVE_MODE: Final = "serving.kserve.io/deploymentMode"


def build(placed: Placement, settings: Settings) -> list[Object]:
    """Every object of the endpoint, each with its fingerprint. Raises Conflict when its files cannot be fetched."""
    if placed.backend == ServingBackend.KSERVE:
        made = [inference_service(placed, settings)]
    else:
        made = [deployment(placed, settings), service(placed)]
        made += [autoscaler(placed)] if _scales(placed) else []
        made += [ingress(placed, settings)] if settings.serving_ingress_host and placed.max_replicas else []
    for thing in made:
        thing["metadata"]["namespace"] = namespace(settings, placed.environment)
        thing["metadata"].setdefault("annotations", {})[FINGERPRINT] = sha256_of(thing)
    return made


def address(placed: Placement, settings: Settings) -> str:
    """Where the gateway finds the endpoint inside the cluster; without `/v1`."""
    host = f"{placed.name}-predictor" if placed.backend == ServingBackend.KSERVE else placed.name
    base = runtime_of(placed, settings).base_path
    return f"http://{host}.{namespace(settings, placed.environment)}.svc.cluster.local{base}"


def deployment(placed: Placement, settings: Settings) -> Object:
    """A rolling Deployment: the old replicas answer until the new ones do.

    The number of replicas is left out where an autoscaler decides it.
    """
    spec: Object = {
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 1800,
        "selector": {"matchLabels": {"app": placed.name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": placed.pod_labels, "annotations": placed.annotations},
            "spec": pod_spec(placed, settings),
        },
    }
    if not _scales(placed):
        spec = {"replicas": placed.min_replicas, **spec}
    return _object("Deployment", placed, spec)


def service(placed: Placement) -> Object:
    """The name under which its replicas are one."""
    ports = [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}]
    return _object("Service", placed, {"type": "ClusterIP", "selector": {"app": placed.name}, "ports": ports})


def autoscaler(placed: Placement) -> Object:
    """By CPU, by GPU (DCGM's exporter behind a metrics adapter), or by the route's latency (an adapter on ours)."""
    policy = placed.options.autoscale_policy
    metrics: list[Object] = []
    if policy and policy.gpu_utilization:
        average = {"type": "AverageValue", "averageValue": str(policy.gpu_utilization)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": GPU_METRIC}, "target": average}})
    if policy and policy.target_latency_ms:
        metric = {"name": LATENCY_METRIC, "selector": {"matchLabels": {"route": placed.route}}}
        longest = {"type": "Value", "value": str(policy.target_latency_ms)}
        metrics.append({"type": "External", "external": {"metric": metric, "target": longest}})
    if (policy and policy.cpu_utilization) or not metrics:
        share = {"type": "Utilization", "averageUtilization": _cpu(placed)}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": share}})
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": placed.name},
        "minReplicas": placed.min_replicas,
        "maxReplicas": placed.max_replicas,
        "metrics": metrics,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object("HorizontalPodAutoscaler", placed, spec)


def ingress(placed: Placement, settings: Settings) -> Object:
    """The route as a path of SERVING_INGRESS_HOST. Whoever comes this way passes the gateway by."""
    backend = {"service": {"name": placed.name, "port": {"name": "http"}}}
    path: Object = {"path": f"/{placed.route}", "pathType": "Prefix", "backend": backend}
    annotations = dict(settings.serving_ingress_annotations)
    if settings.serving_ingress_class == "nginx":
        path |= {"path": f"/{placed.route}(/|$)(.*)", "pathType": "ImplementationSpecific"}
        annotations = {
            "nginx.ingress.kubernetes.io/use-regex": "true",
            "nginx.ingress.kubernetes.io/rewrite-target": "/$2",
            "nginx.ingress.kubernetes.io/proxy-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
            **annotations,
        }
    spec: Object = {"rules": [{"host": settings.serving_ingress_host, "http": {"paths": [path]}}]}
    if settings.serving_ingress_class:
        spec["ingressClassName"] = settings.serving_ingress_class
    if settings.serving_ingress_tls_secret:
        spec["tls"] = [{"hosts": [settings.serving_ingress_host], "secretName": settings.serving_ingress_tls_secret}]
    made = _object("Ingress", placed, spec)
    made["metadata"]["annotations"] |= annotations
    return made


def inference_service(placed: Placement, settings: Settings) -> Object:
    """KServe's object. Stopped it keeps its settings, and KServe is told to stop it."""
    on_knative = placed.options.on_knative
    predictor: Object = {
        "minReplicas": placed.min_replicas,
        "maxReplicas": placed.max_replicas,
        "labels": placed.pod_labels,
        **(_through_knative(placed, settings) if on_knative else _in_a_deployment(placed, settings)),
    }
    made = _object("InferenceService", placed, {"predictor": predictor})
    made["metadata"]["annotations"] |= {
        KSERVE_MODE: knative.MODE if on_knative else "RawDeployment",
        **({} if on_knative else {"serving.kserve.io/autoscalerClass": "hpa"}),
        "serving.kserve.io/route": f"/{placed.route}",
        "serving.kserve.io/stop": "false" if placed.max_replicas else "true",
    }
    return made


def _in_a_deployment(placed: Placement, settings: Settings) -> Object:
    scaling = {"scaleMetric": "cpu", "scaleTarget": _cpu(placed)} if placed.max_replicas else {}
    return {
        "annotations": placed.annotations,
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        **pod_spec(placed, settings),
        **scaling,
    }


def _through_knative(placed: Placement, settings: Settings) -> Object:
    policy = placed.options.autoscale_policy
    return {
        "annotations": placed.annotations | knative.annotations(STARTUP_MINUTES * 60),
        **knative.admitted(pod_spec(placed, settings)),
        **knative.predictor(policy.concurrency if policy else None),
    }


def _object(kind: str, placed: Placement, spec: Object) -> Object:
    """An object with its names; `api/v1` and `apis/apps/v1` of the path are `v1` and `apps/v1` in the object."""
    version = KINDS[kind][0].removeprefix("apis/").removeprefix("api/")
    metadata = {"name": placed.name, "labels": placed.labels, "annotations": placed.annotations}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _scales(placed: Placement) -> bool:
    return 0 < placed.min_replicas < placed.max_replicas


def _cpu(placed: Placement) -> int:
    policy = placed.options.autoscale_policy
    return policy.cpu_utilization if policy and policy.cpu_utilization else DEFAULT_CPU_UTILIZATION
