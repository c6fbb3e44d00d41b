"""Dagster's own configuration, written at every start: storage in our PostgreSQL, bounded runs, nothing sent home."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

INSTANCE = """\
# Written by `llmops up`; changes made here are lost.
storage:
  postgres:
    postgres_url: {url}
# Admission is ours (llmops_assets/admission.py), and a lease tells of a dead run at once: Dagster's own queue and
# monitoring would only add their delays.
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
run_monitoring:
  enabled: false
# Forks a run's process from one that has its imports done, where there is one (llmops_assets/warm).
run_launcher:
  module: llmops_assets.launching.launcher
  class: ForkingRunLauncher
  config:
    socket: {socket}
code_servers:
  local_startup_timeout: 180
  reload_timeout: 180
sensors:
  use_threads: true
  num_workers: 16  # every sensor waits for work inside its tick, and none may hold up another
schedules:
  use_threads: true
  num_workers: 2
retention:
  sensor:
    purge_after_days: {{skipped: 1, success: 30, failure: 30, started: 1}}
  schedule:
    purge_after_days: {{skipped: 1, success: 30, failure: 30, started: 1}}
telemetry:
  enabled: false
nux:
  enabled: false
"""

WORKSPACE = """\
# Written by `llmops up`; changes made here are lost.
load_from:
  - grpc_server:
      host: 127.0.0.1
      port: {port}
      location_name: llmops
"""


def write_dagster_home(folder: Path, *, database_url: str, code_server_port: int, launcher_socket: Path) -> None:
    """Write dagster.yaml and workspace.yaml. The first holds the database's address, so it is readable by us alone."""
    folder.mkdir(parents=True, exist_ok=True)
    url, socket = json.dumps(_with_driver(database_url)), json.dumps(str(launcher_socket))
    _write(folder / "dagster.yaml", INSTANCE.format(url=url, socket=socket))
    _write(folder / "workspace.yaml", WORKSPACE.format(port=code_server_port))


def dagster_database_name(database_url: str, *, embedded: bool) -> str:
    """`dagster` on our own server; on a shared one the name of our database with `_dagster` behind it."""
    name = urlsplit(database_url).path.lstrip("/")
    return "dagster" if embedded or not name else f"{name}_dagster"


def with_database(url: str, name: str) -> str:
    """The same server and user, another database; without SQLAlchemy's driver, so that psycopg understands it too."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme.partition("+")[0], parts.netloc, f"/{name}", parts.query, ""))


def _with_driver(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}+psycopg2://{rest}"  # what dagster-postgres is written and tested for


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
