"""The manifests of deploy/base: what Kubernetes accepts, what nobody may do, and that they fit the code."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_assets import cluster_instance
from llmops_resources.cluster.values import KINDS
from llmops_resources.errors import InvalidInput
from llmops_resources.settings import Settings
from llmops_resources.training.job import LAUNCHER, RUNNER
from tests.cluster.jobs import check, settings, unsafe

BASE = Path(__file__).parents[2] / "deploy" / "base"
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())


def _manifests() -> list[dict[str, Any]]:
    files = [BASE / name for name in KUSTOMIZATION["resources"]]
    return [thing for file in files for thing in yaml.safe_load_all(file.read_text())]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [thing for thing in _manifests() if thing["kind"] == kind]


def _names(kind: str) -> set[str]:
    return {thing["metadata"]["name"] for thing in _of_kind(kind)}


@pytest.mark.parametrize("manifest", _manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_every_manifest_satisfies_the_schemas_of_kubernetes(manifest: dict[str, Any]) -> None:
    check(manifest)


def test_every_file_is_part_of_the_whole() -> None:
    listed = {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    listed |= {file for entry in KUSTOMIZATION["configMapGenerator"] for file in entry["files"]}
    assert {str(path.relative_to(BASE)) for path in BASE.rglob("*.yaml")} == listed


def test_on_a_minikube_nodes_may_be_listed_and_nothing_else() -> None:
    role, binding = yaml.safe_load_all((BASE.parent / "overlays" / "minikube" / "nodes.yaml").read_text())
    check(role)
    check(binding)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert {subject["name"] for subject in binding["subjects"]} == {"llmops-dagster", LAUNCHER}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_puts_it_together() -> None:
    done = subprocess.run(["kubectl", "kustomize", BASE], capture_output=True, text=True, check=True)
    made = list(yaml.safe_load_all(done.stdout))
    assert {(thing["kind"], thing["metadata"]["name"]) for thing in made} >= {
        (thing["kind"], thing["metadata"]["name"]) for thing in _manifests()}  # fmt: skip
    named = [t for t in made if t["metadata"]["name"] == cluster_instance.INSTANCE]
    (instance,) = [t for t in named if t["kind"] == "ConfigMap"]
    assert instance["data"]["dagster.yaml"] == cluster_instance.rendered()


def test_every_pod_is_hardened() -> None:
    for thing in _of_kind("Deployment"):
        assert unsafe(thing["spec"]["template"]["spec"]) == []


def test_no_secret_is_checked_in_and_every_setting_of_the_configuration_exists() -> None:
    assert _names("Secret") == set()
    (config,) = [thing for thing in _of_kind("ConfigMap") if thing["metadata"]["name"] == cluster_instance.CONFIG]
    assert {name.lower() for name in config["data"]} <= set(Settings.model_fields)
    given = {name.lower(): value for name, value in config["data"].items()}
    Settings(**given, database_url="postgresql://db", secret_key="k" * 32, _env_file=None).check()


def test_what_runs_ask_for_is_there() -> None:
    assert {RUNNER, LAUNCHER} <= _names("ServiceAccount")
    assert cluster_instance.CONFIG in _names("ConfigMap")
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["name"] == cluster_instance.INSTANCE
    assert {Path(file).name for file in generated["files"]} >= {"dagster.yaml"}


def test_the_roles_allow_what_the_door_does_and_no_secret_can_be_read() -> None:
    rules = [rule for thing in _of_kind("Role") for rule in thing["rules"]]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert _names("ClusterRole") == set()
    assert {verb for resource, verb in allowed if resource == "secrets"} == {"create", "patch"}
    assert not any("*" in pair for pair in allowed)
    needed = {("jobs", verb) for verb in ("create", "get", "list", "watch", "patch", "delete")}
    needed |= {("pods", "list"), ("pods/log", "get"), ("events", "list"), ("services", "patch"), ("secrets", "patch")}
    assert needed <= allowed
    assert {"pods", "jobs", "services", "secrets", "events"} <= {plural for _, plural in KINDS.values()}


def test_what_every_other_run_and_training_pod_is_may_do_nothing() -> None:
    bound = {subject["name"] for thing in _of_kind("RoleBinding") for subject in thing["subjects"]}
    assert bound == {"llmops-dagster", LAUNCHER}
    tokens = {thing["metadata"]["name"]: thing["spec"]["template"]["spec"]["automountServiceAccountToken"]
              for thing in _of_kind("Deployment")}  # fmt: skip
    assert tokens == {
        "llmops-api": False, "llmops-gateway": False, "llmops-code-location": True, "llmops-dagster-daemon": True,
    }  # fmt: skip


def _policy(name: str) -> dict[str, Any]:
    (found,) = [thing["spec"] for thing in _of_kind("NetworkPolicy") if thing["metadata"]["name"] == name]
    return dict(found)


def test_nothing_may_talk_that_is_not_named_and_training_pods_reach_neither_database_nor_metadata_service() -> None:
    assert _policy("default-deny") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    training = _policy("training-pods")
    assert training["podSelector"] == {"matchLabels": {"llmops/role": "node"}}
    assert not any("ipBlock" in peer for rule in training["egress"] for peer in rule["to"])
    platform = _policy("platform")
    assert platform["podSelector"]["matchExpressions"][0]["operator"] == "NotIn"
    (rule,) = platform["egress"]
    assert rule["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_dagsters_webserver_listens_on_loopback_and_only_shows() -> None:
    (api,) = [thing for thing in _of_kind("Deployment") if thing["metadata"]["name"] == "llmops-api"]
    (webserver,) = [c for c in api["spec"]["template"]["spec"]["containers"] if c["name"] == "webserver"]
    assert "--read-only" in webserver["command"]
    assert webserver["command"][webserver["command"].index("-h") + 1] == "127.0.0.1"
    assert "ports" not in webserver


@pytest.mark.parametrize(("missing", "said"), [
    ({"training_image": None}, "TRAINING_IMAGE"), ({"object_store_url": "file:///x"}, "s3://"),
    ({"database_url": None}, "DATABASE_URL"), ({"secret_key": None}, "SECRET_KEY"),
])  # fmt: skip
def test_settings_that_pods_could_not_share_are_refused_at_start(missing: dict[str, Any], said: str) -> None:
    whole = {"training_backend": "kubernetes", "object_store_url": "s3://x/y", "database_url": "postgresql://db",
             "secret_key": "k" * 32}  # fmt: skip
    settings(**whole).check()
    with pytest.raises(InvalidInput) as refused:
        settings(**{**whole, **missing}).check()
    assert said in refused.value.remedy


@pytest.mark.parametrize("value", ["lots", "-1Gi", "0", "8GiB", "1 Gi", "$(X)"])
def test_a_quantity_that_is_none_is_refused_when_settings_are_read(value: str) -> None:
    with pytest.raises(ValueError, match="training_cpu_only_memory_limit"):
        settings(training_cpu_only_memory_limit=value)
