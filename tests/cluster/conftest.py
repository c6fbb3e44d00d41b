"""A Kubernetes API server of our own, and a door to it whose pauses take no time."""

import time
from collections.abc import Iterator

import pytest

from llmops_resources.cluster import Cluster, open_cluster
from tests.cluster.kube_api import KubeApi, kube_api


@pytest.fixture
def served() -> Iterator[tuple[KubeApi, str]]:
    with kube_api() as pair:
        yield pair


@pytest.fixture
def api(served: tuple[KubeApi, str]) -> KubeApi:
    return served[0]


@pytest.fixture
def cluster(served: tuple[KubeApi, str]) -> Iterator[Cluster]:
    """Pauses are a hundredth of what they would be."""
    with open_cluster(namespace="llm-ops", server=served[1], sleep=lambda s: time.sleep(s / 100)) as door:
        yield door
