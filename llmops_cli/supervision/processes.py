"""The processes of the platform on one machine: commands, order, addresses, environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.supervision import health
from llmops_resources.settings import Settings, TrainingBackend

MARK = "LLMOPS_SUPERVISED_HOME"  # in the environment of every process we start and, inherited, of theirs

#: Every thread pool of a numeric library would take all cores for itself; training programs set their own.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DAGSTER_GRPC_MAX_WORKERS": "32",  # each waiting sensor occupies one
    "DAGSTER_CODE_SERVER_MAX_WORKERS": "32",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Process:
    """One supervised program. It starts when every process in `after` is healthy."""

    name: str
    command: tuple[str, ...]
    probe: health.Probe
    after: tuple[str, ...] = ()
    address: str = ""
    port: int | None = None
    settle_seconds: float = 0.0  # how long it must have lived before its probe counts
    stop_seconds: float = 10.0


def platform_processes(settings: Settings) -> tuple[Process, ...]:
    """In the order of starting; stopping goes the other way round."""
    python, dagster = sys.executable, settings.home / "dagster"
    webserver = f"http://127.0.0.1:{settings.dagster_port}/dagster"
    workspace = str(dagster / "workspace.yaml")
    # elsewhere a fork is not safe, and a keeper has no way to find its program's end
    local = settings.training_backend is TrainingBackend.LOCAL and sys.platform == "linux"
    forking = ("llmops_assets.launching.code_server", str(settings.launcher_socket))
    code_server = forking if settings.run_preload and local else ("dagster", "code-server")
    warm = [
        Process(
            name=name,
            command=(python, "-m", "llmops_assets.warm", name, str(socket)),
            probe=health.always,  # until it listens, what it would fork is started without it
            after=("daemon",),
            stop_seconds=3.0,
        )
        for name, socket, wanted in (
            ("launcher", settings.launcher_socket, settings.run_preload),
            ("trainer", settings.trainer_socket, settings.training_preload),
        )
        if wanted and local
    ]
    return (
        Process(
            name="api",
            command=(python, "-m", "serving_api"),
            probe=health.http_answers(f"http://{settings.api_host}:{settings.api_port}/health"),
            address=settings.console_url,
            port=settings.api_port,
        ),
        Process(
            name="code-server",
            command=(
                python, "-m", *code_server, "start", "-m", "llmops_assets.definitions",
                "-h", "127.0.0.1", "-p", str(settings.code_server_port), "--use-python-environment-entry-point",
                "--location-name", "llmops",
            ),
            probe=health.port_listens(settings.code_server_port),
            address=f"grpc://127.0.0.1:{settings.code_server_port}",
            port=settings.code_server_port,
        ),
        Process(
            name="endpoints",
            command=(python, "-m", "llmops_assets.serving.local_agent"),
            probe=health.always,
            settle_seconds=3.0,
        ),
        Process(
            name="webserver",
            stop_seconds=3.0,
            command=(
                python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(settings.dagster_port),
                "--path-prefix", "/dagster", "-w", workspace,
            ),
            probe=health.http_answers(f"{webserver}/server_info"),
            after=("code-server",),
            address=webserver,
            port=settings.dagster_port,
        ),
        Process(
            name="daemon",
            command=(python, "-m", "llmops_assets.daemon", "run", "-w", workspace),
            probe=health.dagster_daemon_beats(webserver),
            after=("code-server",),
            stop_seconds=3.0,  # it would wait for its sensors, whose ticks the next daemon takes up
        ),
        *warm,
    )  # fmt: skip


def environment(settings: Settings, database_url: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the processes see: ours, quiet defaults, and the addresses that were settled at start."""
    programs = str(Path(sys.executable).parent)
    return {
        **QUIET,
        **base,
        "PATH": os.pathsep.join([programs, base.get("PATH", os.defpath)]),
        "LLMOPS_HOME": str(settings.home),
        "DATABASE_URL": database_url,
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "HF_HUB_OFFLINE": "1" if settings.hf_hub_offline else "0",  # imports alone ask it; programs are told "1"
        MARK: str(settings.home),
    }
