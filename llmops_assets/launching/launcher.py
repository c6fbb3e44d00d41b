"""Dagster's run launcher on one machine: a run's process is forked from one that has its imports done.

The process is the one that `dagster api execute_run` is, in a session of its own; it reads the definitions' state that
the code server kept with the run, so it shows the catalog as it was when the run was made. Where nothing can be forked
(no server, another system than Linux, files that have changed), the code server starts the process, as Dagster does by
default. A run whose process dies is reported by its keeper (`llmops_assets.launching.ends`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster import Field, StringSource
from dagster._core.launcher import DefaultRunLauncher, LaunchRunContext
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value

from llmops_assets.warm import asking


class ForkingRunLauncher(DefaultRunLauncher):
    """Asks the server at `socket`; configured in `llmops_cli/supervision/dagster_home.py`."""

    def __init__(self, socket: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._socket = Path(socket)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The path of the server's socket."""
        return {"socket": Field(StringSource, description="Where the warm server listens.")}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Made from dagster.yaml."""
        return cls(socket=config_value["socket"], inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork the run's process, or have the code server start it. Raises DagsterLaunchFailedError."""
        run, origin = context.dagster_run, context.job_code_origin
        if origin is not None:
            told = ExecuteRunArgs(origin, run.run_id, self._instance.get_ref(), set_exit_code_on_failure=True)
            command = ["api", "execute_run", serialize_value(told)]
            if asking.detach(self._socket, run.run_id, "dagster", command, os.environ):
                self._run_ids.add(run.run_id)
                return
        super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Ask the run's process to stop, whoever started it; False when there is none."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if GRPC_INFO_TAG in run.tags:  # the code server started it
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        return asking.stop(run_id)
