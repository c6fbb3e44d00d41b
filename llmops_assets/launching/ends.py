"""What Dagster is told of a run whose process died before the run had ended."""

from dagster import DagsterInstance
from dagster._utils import get_run_crash_explanation


def report(run_id: str, status: int) -> None:
    """Mark the run as failed, unless it has ended; `status` is that of the process, negative for a signal."""
    with DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_engine_event(get_run_crash_explanation(f"The process of run {run_id}", status), run)
            instance.report_run_failed(run)
