"""Sending experiments to MLflow: each request outside any transaction, each step kept before the next.

A sender that dies at any point loses nothing: what was not kept as taken is sent again after the claim, and MLflow
holds the same parameter, value or status once. A run is looked for by its tag before one is made.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound, PlatformError, Unavailable, UpstreamTimeout
from llmops_resources.settings import Settings
from llmops_resources.training import mirrors
from llmops_resources.training.mirrors import Mirror
from llmops_resources.training.mlflow import Tracking
from llmops_resources.work import ACTIVE

BUDGET: Final = 10.0  # seconds after which a look begins no other experiment
Begin = Callable[[], AbstractContextManager[Transaction]]
logger = logging.getLogger(__name__)


def mirror(settings: Settings, begin: Begin) -> int:
    """Bring the experiments that are due up to date; returns how many were. Nothing without MLFLOW_TRACKING_URI.

    An experiment that the server refuses is tried again later and keeps the reason; one that finds the server away
    ends the look.
    """
    if not settings.mlflow_tracking_uri:
        return 0
    server, end, done = Tracking(settings), time.monotonic() + BUDGET, 0
    while time.monotonic() < end:
        with begin() as tx:
            due = mirrors.claim_next(tx)
        if due is None:
            break
        try:
            _send(server, due, begin)
        except PlatformError as error:
            logger.warning("experiment %s was not mirrored to MLflow: %s", due.job_id, error)
            with begin() as tx:
                if isinstance(error, NotFound):
                    mirrors.lost(tx, due.job_id)
                mirrors.failed(tx, due.job_id, error.told)
            if isinstance(error, Unavailable | UpstreamTimeout):
                break
        else:
            done += 1
    return done


def _send(server: Tracking, due: Mirror, begin: Begin) -> None:
    run_id = due.run_id
    if run_id is None:
        run_id = server.run_of(due.description)
        with begin() as tx:
            mirrors.made(tx, due.job_id, run_id)
    if not due.described:
        server.describe(run_id, due.description)
        with begin() as tx:
            mirrors.described(tx, due.job_id)
    ended = due.status not in ACTIVE
    while True:
        with begin() as tx:
            batch = mirrors.unsent(tx, due.job_id, ended=ended)
        if not batch:
            break
        server.log(run_id, batch)
        with begin() as tx:
            mirrors.taken(tx, due.job_id, batch)
    if due.state != due.told:
        server.update(run_id, mirrors.STATUS[due.status], due.finished_at if ended else None)
    with begin() as tx:
        mirrors.caught_up(tx, due.job_id, due.state)
