"""The door to Kubernetes, against a server that speaks its protocol and misbehaves on request."""

import base64
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from llmops_resources.cluster import Cluster, QuotaExceeded, Role, labels, open_cluster, owner
from llmops_resources.cluster.values import Change, ChangeKind
from llmops_resources.errors import Conflict, InvalidInput, NotFound, Unavailable
from tests.cluster.kube_api import Fault, KubeApi

JOB_ID = UUID("7f0c4a52-6a53-4a2f-9c3c-0d2d6f4b8f11")
MINE = labels(JOB_ID, 1, Role.NODE)


def _map(name: str = "thing", attempt: int = 1, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels(JOB_ID, attempt, Role.NODE)},
        "data": data,
    }


def test_an_object_is_made_read_listed_changed_and_removed(cluster: Cluster) -> None:
    cluster.create(_map(colour="red"))
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}})
    assert [found["metadata"]["name"] for found in cluster.select("ConfigMap", MINE)] == ["thing"]
    cluster.patch("ConfigMap", "thing", {"data": {"colour": "blue"}})
    assert cluster.get("ConfigMap", "thing")["data"] == {"colour": "blue"}
    assert cluster.delete("ConfigMap", "thing") is True
    assert cluster.delete("ConfigMap", "thing") is False
    assert cluster.find("ConfigMap", "thing") is None
    with pytest.raises(NotFound):
        cluster.get("ConfigMap", "thing")


def test_applying_makes_an_object_and_then_changes_it(cluster: Cluster) -> None:
    assert cluster.apply(_map(colour="red"))["data"] == {"colour": "red"}
    assert cluster.apply(_map(colour="blue"))["data"] == {"colour": "blue"}


def test_a_manifest_that_kubernetes_would_refuse_is_refused_with_the_place(cluster: Cluster) -> None:
    with pytest.raises(InvalidInput, match="colours"):
        cluster.create({**_map(), "colours": "red"})


def test_making_the_same_object_twice_finds_the_first_and_never_another_attempts(cluster: Cluster) -> None:
    first = cluster.ensure(_map(colour="red"))
    assert cluster.ensure(_map(colour="red"))["metadata"]["uid"] == first["metadata"]["uid"]
    with pytest.raises(Conflict):
        cluster.create(_map())
    with pytest.raises(Conflict, match="belongs to something else"):
        cluster.ensure(_map(attempt=2))


def test_a_create_whose_answer_was_lost_is_found_and_not_made_twice(cluster: Cluster, api: KubeApi) -> None:
    api.faults.append(Fault("POST", after=True, drop=True))
    made = cluster.ensure(_map(colour="red"))
    assert api.names("ConfigMap") == [made["metadata"]["name"]]


@pytest.mark.parametrize("fault", [
    Fault("GET", times=3, status=500), Fault("GET", times=2, status=503), Fault("GET", times=2, drop=True),
    Fault("GET", times=1, status=429, headers={"Retry-After": "1"}),
])  # fmt: skip
def test_a_passing_failure_of_the_server_is_tried_again(cluster: Cluster, api: KubeApi, fault: Fault) -> None:
    api.put(_map())
    api.faults.append(fault)
    assert cluster.get("ConfigMap", "thing")["metadata"]["name"] == "thing"
    assert fault.times == 0


def test_a_server_that_keeps_failing_or_is_not_there_is_unavailable(cluster: Cluster, api: KubeApi) -> None:
    api.faults.append(Fault("GET", times=1000, status=500, message="etcd has no leader"))
    with pytest.raises(Unavailable, match="etcd has no leader"):
        cluster.get("ConfigMap", "thing")
    api.faults.clear()
    api.down = True
    with pytest.raises(Unavailable, match="cannot be reached"):
        cluster.get("ConfigMap", "thing")


def test_a_full_quota_and_missing_rights_are_told_apart_and_not_tried_again(cluster: Cluster, api: KubeApi) -> None:
    api.faults.append(Fault("POST", status=403, message='jobs "x" is forbidden: exceeded quota: gpus, used: 8'))
    with pytest.raises(QuotaExceeded, match="exceeded quota"):
        cluster.ensure(_map())
    api.faults.append(Fault("POST", status=403, message='configmaps is forbidden: User "x" cannot create'))
    with pytest.raises(Unavailable) as refused:
        cluster.ensure(_map())
    assert "role" in refused.value.remedy
    assert len(api.requests) == 2


def test_what_has_changed_since_is_not_deleted(cluster: Cluster) -> None:
    made = cluster.create(_map(colour="red"))
    cluster.patch("ConfigMap", "thing", {"data": {"colour": "blue"}})
    with pytest.raises(Conflict):
        cluster.delete("ConfigMap", "thing", version=made["metadata"]["resourceVersion"])
    assert cluster.delete("ConfigMap", "thing", uid=made["metadata"]["uid"]) is True


def test_what_an_object_owns_goes_with_it(cluster: Cluster) -> None:
    made = cluster.create(_map("owner"))
    owned = _map("owned")
    owned["metadata"]["ownerReferences"] = [owner(made, api_version="v1", kind="ConfigMap")]
    cluster.create(owned)
    cluster.delete("ConfigMap", "owner")
    assert cluster.find("ConfigMap", "owned") is None


def _changes(seen: Iterator[Change | None], number: int) -> list[tuple[str, str]]:
    told = (change for change in seen if change is not None)
    return [(change.kind.value, change.name) for change in itertools.islice(told, number)]


def test_a_watch_tells_what_is_there_and_then_what_changes(cluster: Cluster, api: KubeApi) -> None:
    api.put(_map("a"))
    seen = cluster.watch("ConfigMap", MINE)
    assert _changes(seen, 1) == [("present", "a")]
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "not-mine"}})
    api.put(_map("b"))
    api.patch("ConfigMap", "b", {"data": {"x": "y"}}, make=False)
    api.delete("ConfigMap", "a")
    assert _changes(seen, 3) == [("added", "b"), ("modified", "b"), ("deleted", "a")]


def test_a_silent_watch_lets_its_caller_look_elsewhere(cluster: Cluster) -> None:
    assert next(cluster.watch("ConfigMap", MINE, idle=0.05)) is None


@pytest.mark.parametrize("fault", [
    Fault("watch=true", drop=True), Fault("watch=true", status=500), Fault("watch=true", times=3, status=503),
    Fault("watch=true", status=410),
])  # fmt: skip
def test_a_watch_survives_a_server_that_fails(cluster: Cluster, api: KubeApi, fault: Fault) -> None:
    api.put(_map("a"))
    seen = cluster.watch("ConfigMap", MINE, idle=0.2)
    assert _changes(seen, 1) == [("present", "a")]
    api.faults.append(fault)
    api.put(_map("b"))
    found = itertools.islice(_named(seen), 10)
    assert "b" in set(itertools.islice(found, 2 if fault.status == 410 else 1))
    assert fault.times == 0


def test_a_watch_that_the_server_has_forgotten_begins_again_and_misses_nothing(cluster: Cluster, api: KubeApi) -> None:
    api.put(_map("a"))
    api.put(_map("b"))
    seen = cluster.watch("ConfigMap", MINE, idle=0.2)
    assert _changes(seen, 2) == [("present", "a"), ("present", "b")]
    with api.lock:
        api.delete("ConfigMap", "a")
        api.put(_map("c"))
        api.forget()
    assert _changes(seen, 3) == [("deleted", "a"), ("present", "b"), ("present", "c")]


def test_a_watch_outlives_a_restart_of_the_server(cluster: Cluster, api: KubeApi) -> None:
    seen = cluster.watch("ConfigMap", MINE, idle=0.2)
    assert next(seen) is None
    api.down = True
    assert next(seen) is None
    api.put(_map("a"))
    api.down = False
    assert next(_named(seen)) == "a"


def test_a_watch_on_a_server_that_does_not_come_back_ends(cluster: Cluster, api: KubeApi) -> None:
    seen = cluster.watch("ConfigMap", MINE, idle=0.2)
    next(seen)
    api.down = True
    with pytest.raises(Unavailable):
        list(itertools.islice(seen, 100))


def test_many_changes_while_nobody_listens_are_all_told(cluster: Cluster, api: KubeApi) -> None:
    seen = cluster.watch("ConfigMap", MINE)
    writer = threading.Thread(target=lambda: [api.put(_map(f"n{number}")) for number in range(200)])
    next_changes = _named(seen)
    writer.start()
    names = list(itertools.islice(next_changes, 200))
    writer.join()
    assert sorted(names) == sorted(f"n{number}" for number in range(200))


def test_the_log_of_a_pod_that_does_not_run_yet_is_empty(cluster: Cluster, api: KubeApi) -> None:
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Pending"}})
    assert cluster.log("p", container="train") == ""
    api.running("p")
    api.say("p", "step 1")
    assert cluster.log("p", container="train").endswith(" step 1\n")
    assert cluster.log("gone", container="train") == ""


def test_a_minikube_is_known_by_its_nodes_and_a_cluster_that_hides_its_nodes_is_none(
    cluster: Cluster, api: KubeApi
) -> None:
    assert cluster.is_minikube() is False
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "m", "labels": {"minikube.k8s.io/name": "m"}}}
    api.put(node)
    assert cluster.is_minikube() is True
    api.faults.append(Fault("nodes", status=403, message="nodes is forbidden"))
    assert cluster.is_minikube() is False


def test_a_minikube_is_known_by_the_context_of_the_kubeconfig(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: minikube\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: abc}}]\n"
        "contexts: [{name: minikube, context: {cluster: c, user: u}}, {name: else, context: {cluster: c, user: u}}]\n"
    )
    with open_cluster(namespace="x", kubeconfig=config) as found:
        assert found.is_minikube() is True
    with open_cluster(namespace="x", kubeconfig=config, context="else", sleep=lambda _: None) as found:
        assert found.is_minikube() is False


@pytest.mark.parametrize("content", ["", "not: [a config", "apiVersion: v1\nkind: Config\n"])
def test_a_kubeconfig_that_names_no_cluster_is_said_to(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(Unavailable, match="no Kubernetes cluster"), open_cluster(
        namespace="x", kubeconfig=tmp_path / "config"
    ):
        pass


def test_credentials_of_the_kubeconfig_are_sent_and_not_shown(
    tmp_path: Path, served: tuple[KubeApi, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = base64.b64encode(b"very secret").decode()
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: '{served[1]}'}}}}]\n"
        f"users: [{{name: u, user: {{token: '{token}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
    sent: list[str] = []
    from tests.cluster import kube_api

    original = kube_api.Handler._serve
    monkeypatch.setattr(
        kube_api.Handler, "do_GET", lambda self: (sent.append(self.headers["Authorization"]), original(self))[1]
    )
    with open_cluster(namespace="x", kubeconfig=config) as found:
        found.select("Job", {})
        assert token not in repr(found)
    assert sent == [f"Bearer {token}"]


def _named(seen: Iterator[Change | None]) -> Iterator[str]:
    return (change.name for change in seen if change is not None and change.kind is not ChangeKind.DELETED)
