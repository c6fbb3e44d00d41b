"""KServe's own schema of an InferenceService, as its SDK has it: every field known, every value of its type."""

import functools
import importlib
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate

#: Fields of the predictor that are KServe's; all others are those of a pod.
OWN = {"minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "labels", "annotations", "deploymentStrategy",
       "timeout"}  # fmt: skip
PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "IntOrString": (int, str),
    "ResourceQuantity": str, "datetime": str, "K8sIoApimachineryPkgApisMetaV1ObjectMeta": dict,
}  # fmt: skip


def problem(thing: dict[str, Any]) -> str | None:
    """What KServe, or Kubernetes for the pod inside, would not accept; None when they would."""
    found = next(_check("V1beta1InferenceService", thing, ""), None)
    if found is not None:
        return found
    predictor = thing["spec"]["predictor"]
    pod = {key: value for key, value in predictor.items() if key not in OWN}
    try:
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}, "1.37", strict=True
        )
    except kubernetes_validate.ValidationError as error:
        return f"spec.predictor.{'.'.join(map(str, list(error.path)[1:]))}: {error.message}"
    low, high = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
    return "MinReplicas cannot be greater than MaxReplicas" if 0 < high < low else None


def _check(kind: str, value: Any, where: str) -> Iterator[str]:
    listed = re.fullmatch(r"list\[(.+)\]", kind)
    mapped = re.fullmatch(r"dict[(\[]str, (.+)[)\]]", kind)
    if listed or mapped:
        holder: type = list if listed else dict
        if not isinstance(value, holder):
            yield f"{where}: not a {holder.__name__}"
            return
        for key, item in enumerate(value) if listed else value.items():
            yield from _check((listed or mapped)[1], item, f"{where}.{key}")  # type: ignore[index]
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where}: {value!r} is no {kind}"
    else:
        yield from _check_model(kind, value, where)


def _check_model(kind: str, value: Any, where: str) -> Iterator[str]:
    model = _model(kind)
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    if not isinstance(value, dict):
        yield f"{where}: not an object"
        return
    for key, inner in value.items():
        if key not in types:
            yield f"{where}.{key}: unknown field of {kind}"
        else:
            yield from _check(types[key], inner, f"{where}.{key}")


@functools.cache
def _model(kind: str) -> Any:
    name = {"K8sIoApiAppsV1DeploymentStrategy": "V1DeploymentStrategy",
            "K8sIoApiAppsV1RollingUpdateDeployment": "V1RollingUpdateDeployment"}.get(kind, kind)  # fmt: skip
    for package in ("kserve.models", "kubernetes.client"):
        found = getattr(importlib.import_module(package), name, None)
        if found is not None:
            return found
    raise AssertionError(f"neither SDK knows {kind}")
