"""The end of a runtime's log comes to whoever looks, from this machine and from pods, without the secrets in it."""

from uuid import UUID

import pytest

from llmops_assets.serving import log_tails as bringing
from llmops_assets.serving.cluster_agent import ClusterAgent
from llmops_assets.serving.local_agent import ACTOR
from llmops_assets.serving.log_tails import LogTails
from llmops_assets.serving.runtimes import LONGEST_TAIL, Runtimes
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.cluster import Cluster
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, log_tails
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.options import Options, decide
from llmops_resources.serving.reconcile import desired
from tests.cluster.conftest import api, cluster, served  # noqa: F401  - fixtures
from tests.cluster.kube_api import KubeApi
from tests.factories import ADMIN, approved
from tests.serving.cluster_things import ready, start_pods
from tests.serving.in_a_store import settings, store  # noqa: F401  - fixtures


def deploy(platform: Platform, backend: str) -> UUID:
    model = approved(platform, Kind.MODEL, "tiny")
    config = decide(platform.settings, backend, Options()).config
    with platform.transaction(ADMIN) as tx:
        made = endpoints.deploy(
            tx, model_id=model.id, environment=Environment.DEV, backend=backend, route="chat", config=config
        )
    return made.id


def lines(platform: Platform, endpoint_id: UUID) -> tuple[str, ...]:
    with platform.transaction(ADMIN) as tx:
        return log_tails.read(tx, endpoint_id).lines


def test_of_a_process_it_is_the_end_of_its_file(platform: Platform) -> None:
    endpoint_id = deploy(platform, "local")
    home = platform.settings.home / "runtimes" / str(endpoint_id)
    home.mkdir(parents=True)
    secret = "api_key=abcdefghijklmnop"
    (home / "runtime.log").write_text("early\n" + "x" * 80 + "\n" * LONGEST_TAIL + f"loading\n{secret}\nready\n")
    runtimes, tails = Runtimes(platform), LogTails(platform, ACTOR)
    with platform.transaction(ACTOR) as tx:
        wanted = desired(tx, "local")
    tails.bring(wanted, runtimes.tail)
    assert lines(platform, endpoint_id) == ()  # nobody had looked
    tails.bring(wanted, runtimes.tail)
    assert lines(platform, endpoint_id) == ()  # it was asked just now
    LogTails(platform, ACTOR).bring(wanted, runtimes.tail)
    assert lines(platform, endpoint_id)[-3:] == ("loading", "api_key=•••", "ready")
    runtimes.stop_all()


def test_of_pods_it_is_what_each_says_under_its_name(
    platform: Platform, cluster: Cluster, api: KubeApi, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(bringing, "PERIOD", 0.0)
    endpoint_id = deploy(platform, "kubernetes")
    agent = ClusterAgent(platform, cluster)
    agent.step()
    pods = start_pods(api, number=2, **ready())
    for pod in pods:
        api.say(pod, f"{pod} is ready")
    lines(platform, endpoint_id)
    agent.step()
    told = "\n".join(lines(platform, endpoint_id))
    assert all(f"── {pod} ──" in told and f"{pod} is ready" in told for pod in pods)
    assert any("container=kserve-container" in line and "tailLines=300" in line for line in api.requests)
