"""The only door to Kubernetes: a namespace of one cluster, and the few kinds of object that we make there.

Objects are what the API speaks: JSON as mappings, built by pure functions (`llmops_resources/training/job.py`). What
we make carries the labels of `values.labels`, so that a process that was restarted finds what its predecessor made.

    with open_cluster(namespace="llm-ops") as cluster:
        job = cluster.ensure(manifest)
        for change in cluster.watch("Job", labels):
            ...
        cluster.delete("Job", job["metadata"]["name"])

Not covered: custom resources but KServe's InferenceService, and anything outside the namespace but nodes' labels.
"""

from llmops_resources.cluster.api import Cluster
from llmops_resources.cluster.connecting import open_cluster
from llmops_resources.cluster.values import ATTEMPT, JOB, ROLE, Object, QuotaExceeded, Role, labels, owner

__all__ = ["ATTEMPT", "JOB", "ROLE", "Cluster", "Object", "QuotaExceeded", "Role", "labels", "open_cluster", "owner"]
