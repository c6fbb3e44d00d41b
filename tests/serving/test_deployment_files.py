"""The files of deploy/serving: what Kubernetes accepts, and that they allow what the agent does and nothing more."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_resources.cluster.values import KINDS
from llmops_resources.serving import manifests
from llmops_resources.serving.endpoints import Environment
from llmops_resources.serving.placing import MARKS, namespace
from llmops_resources.serving.runtimes import PORT
from tests.cluster.jobs import check
from tests.serving.cluster_things import cluster_settings

FOLDER = Path(__file__).parents[2] / "deploy" / "serving"
NAMESPACES = {namespace(cluster_settings(), environment) for environment in Environment}


def _manifests() -> list[dict[str, Any]]:
    files = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [thing for name in files for thing in yaml.safe_load_all((FOLDER / name).read_text())]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [thing for thing in _manifests() if thing["kind"] == kind]


@pytest.mark.parametrize("manifest", _manifests(), ids=lambda m: f"{m['kind']}-{m['metadata'].get('namespace')}")
def test_every_manifest_satisfies_the_schemas_of_kubernetes(manifest: dict[str, Any]) -> None:
    check(manifest)


def test_every_environment_has_its_namespace_where_only_hardened_pods_may_run() -> None:
    modes = {
        thing["metadata"]["name"]: thing["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for thing in _of_kind("Namespace")
    }
    assert modes == dict.fromkeys(NAMESPACES, "restricted")


def test_the_agent_may_do_what_it_does_and_read_no_secret() -> None:
    verbs = ("create", "get", "list", "patch", "delete")
    needed = {(KINDS[kind][1], verb) for kind in manifests.APPLIED for verb in verbs}
    needed |= {("pods", "list"), ("pods/log", "get")}
    roles = {thing["metadata"]["namespace"]: thing for thing in _of_kind("Role")}
    assert roles.keys() == NAMESPACES
    for role in roles.values():
        allowed = {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
        assert allowed == needed
    assert _of_kind("ClusterRole") == []


def test_a_model_server_is_asked_by_the_gateway_alone_and_reaches_no_address_outside() -> None:
    policies = _of_kind("NetworkPolicy")
    assert {thing["metadata"]["namespace"] for thing in policies} == NAMESPACES
    for policy in policies:
        (rule,) = policy["spec"]["ingress"]
        (peer,) = rule["from"]
        (who,) = peer["podSelector"]["matchExpressions"]
        assert (who["key"], who["operator"]) == ("app.kubernetes.io/name", "In")
        assert who["values"] == ["llmops-api", "llmops-gateway"]
        assert not any("ipBlock" in peer for rule in policy["spec"]["egress"] for peer in rule["to"])


def test_knatives_own_parts_reach_the_queue_proxies_of_model_servers_and_nothing_else_does() -> None:
    policies = list(yaml.safe_load_all((FOLDER / "knative.yaml").read_text()))
    assert {policy["metadata"]["namespace"] for policy in policies} == NAMESPACES
    for policy in policies:
        check(policy)
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= MARKS.items()
        (rule,) = policy["spec"]["ingress"]
        assert PORT not in [port["port"] for port in rule["ports"]]
