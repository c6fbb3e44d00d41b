"""Finding the cluster: an explicit address, the pod we run in, or a kubeconfig; and whether it is a minikube."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep as real_sleep

from llmops_resources.cluster.api import Cluster
from llmops_resources.errors import Unavailable


@contextmanager
def open_cluster(
    *,
    namespace: str,
    server: str | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    sleep: Callable[[float], None] = real_sleep,
) -> Iterator[Cluster]:
    """Connect to a cluster, and close the connections at the end; no request is made yet.

    `server` is an address without credentials, for tests and `kubectl proxy`. Without it a named `kubeconfig` or
    `context` counts, then the service account of the pod we run in, then the user's own kubeconfig.

    Raises Unavailable when there is no cluster to be found.
    """
    import yaml  # noqa: PLC0415
    from kubernetes import client, config  # noqa: PLC0415  - half a second that only a cluster is worth

    settings, found = client.Configuration(), context or ""
    try:
        if server is not None:
            settings.host = server.rstrip("/")
        elif kubeconfig is None and context is None and _in_a_pod():
            config.load_incluster_config(settings)
        else:
            config.load_kube_config(str(kubeconfig) if kubeconfig else None, context, settings)
            found = context or config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)[1]["name"]
    except (config.ConfigException, yaml.YAMLError, OSError, KeyError, TypeError) as error:
        raise Unavailable(
            f"there is no Kubernetes cluster to be found: {str(error)[:300]}",
            remedy="Set KUBECONFIG_FILE (and KUBERNETES_CONTEXT), or run inside the cluster with a service account.",
        ) from error
    settings.retries = False  # ours know what may be tried again, and what the server asked for
    connection = client.ApiClient(settings)
    try:
        yield Cluster(namespace=namespace, context=found, client=connection, sleep=sleep)
    finally:
        connection.close()


def _in_a_pod() -> bool:
    return Path("/var/run/secrets/kubernetes.io/serviceaccount/token").is_file()
