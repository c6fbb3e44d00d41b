"""Dagster's configuration in a cluster: every run is a pod. `python -m llmops_assets.cluster_instance` writes it.

What stands here holds for every run; what one training job needs besides (GPUs, cores, memory, its node, the API's
address) are tags of its run (`llmops_resources/training/job.py`). Dagster takes any tag from whoever may launch a run,
so only the fields that those tags set are allowed: no image, command, volume, host path or security context.
"""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from llmops_resources.cluster import hardening
from llmops_resources.training import pods
from llmops_resources.training.job import CHECKPOINT_SECONDS, RUNNER

FILE: Final = Path(__file__).parents[1] / "deploy" / "base" / "dagster" / "dagster.yaml"
HOME: Final = "/opt/dagster/dagster_home"
SCRATCH: Final = "/scratch"  # LLMOPS_HOME of a run
#: By what each run finds the platform: the settings, their secrets, and Dagster's own configuration.
CONFIG, SECRETS, INSTANCE = "llmops-config", "llmops-secrets", "llmops-dagster"
_KEPT_DAYS: Final = {"skipped": 1, "success": 30, "failure": 30, "started": 1}


def instance() -> dict[str, Any]:
    """The content of dagster.yaml. What differs between installations is read from the environment of each process."""
    return {
        "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_DATABASE_URL"}}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": "/tmp/dagster"},  # noqa: S108  - a volume of the pod's own
        },
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher()},
        # A lease tells of a dead run at once (llmops_assets/admission.py).
        "run_monitoring": {"enabled": False},
        "sensors": {"use_threads": True, "num_workers": 16},
        "schedules": {"use_threads": True, "num_workers": 2},
        "retention": {"sensor": {"purge_after_days": _KEPT_DAYS}, "schedule": {"purge_after_days": _KEPT_DAYS}},
        "telemetry": {"enabled": False},
    }


def launcher() -> dict[str, Any]:
    """What every run's pod is, and which of it a run's tags may change."""
    return {
        "service_account_name": RUNNER,
        "job_image": {"env": "TRAINING_IMAGE"},
        "image_pull_policy": "IfNotPresent",
        "job_namespace": {"env": "KUBERNETES_NAMESPACE"},
        "instance_config_map": INSTANCE,
        "dagster_home": HOME,
        "env_config_maps": [CONFIG],
        "env_secrets": [SECRETS],
        "labels": {"app.kubernetes.io/managed-by": "llmops"},
        "run_k8s_config": {
            "container_config": {
                "resources": pods.LAUNCHER_RESOURCES,
                "securityContext": hardening.CONTAINER_SECURITY,
                "env": [*pods.HOME, {"name": "LLMOPS_HOME", "value": SCRATCH}],
                "volumeMounts": [*pods.MOUNTS, {"name": "scratch", "mountPath": SCRATCH}],
                "terminationMessagePolicy": "FallbackToLogsOnError",
            },
            "pod_template_spec_metadata": {"annotations": pods.STAY},
            "pod_spec_config": {
                "securityContext": hardening.POD_SECURITY,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": CHECKPOINT_SECONDS,
                "volumes": [*pods.volumes(), {"name": "scratch", "emptyDir": {}}],
            },
            "job_spec_config": {"backoffLimit": 0, "ttlSecondsAfterFinished": 86_400},
        },
        "only_allow_user_defined_k8s_config_fields": {
            "container_config": {"resources": True, "env": True},
            "pod_template_spec_metadata": {"labels": True},
            "pod_spec_config": dict.fromkeys(
                (
                    "affinity",
                    "tolerations",
                    "terminationGracePeriodSeconds",
                    "serviceAccountName",
                    "automountServiceAccountToken",
                ),
                True,
            ),
            "job_metadata": {"labels": True},
            "job_spec_config": {"activeDeadlineSeconds": True, "ttlSecondsAfterFinished": True},
        },
        "only_allow_user_defined_env_vars": [
            "API_BASE_URL", "TRAINING_API_BASE_URL", "HF_HUB_OFFLINE", *(entry["name"] for entry in pods.ITSELF),
        ],
    }  # fmt: skip


def rendered() -> str:
    """dagster.yaml as it is checked in."""
    head = "# Written by `python -m llmops_assets.cluster_instance`; a test fails when it is stale.\n"
    plain = json.loads(json.dumps(instance()))  # so that nothing is shared, and YAML needs no anchors
    return head + str(yaml.safe_dump(plain, sort_keys=False, width=110))


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(rendered())
