"""The agent of endpoints: `python -m llmops_assets.serving.local_agent`.

Twice a second it reads the wanted endpoints, asks the pure reconciler what to do, starts and stops one runtime
process per endpoint, probes them and writes down what it saw. Endpoints of external models have no process; their
providers are asked now and then. With SERVING_BACKEND=kubernetes or kserve a second thread looks after the endpoints in
the cluster (`cluster_agent.py`), whose pods live on without the agent. The database may go away and come back: what
runs goes on running. Runtimes of this machine die with the agent; the next agent starts them again.
"""

import logging
import signal
import threading
from types import FrameType
from typing import Final

from llmops_assets.serving import cluster_agent
from llmops_assets.serving.externals import Externals
from llmops_assets.serving.log_tails import LogTails
from llmops_assets.serving.runtimes import Runtimes
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform, open_platform
from llmops_resources.serving import endpoints, events, reconcile
from llmops_resources.serving.endpoints import Observation
from llmops_resources.serving.options import IN_A_CLUSTER
from llmops_resources.serving.reconcile import Desired
from llmops_resources.settings import Settings

ACTOR: Final = Actor("system:local-agent")
BACKEND: Final = "local"
PERIOD: Final = 0.5
log = logging.getLogger("llmops.local_agent")


def run(settings: Settings, stop: threading.Event) -> None:
    """Reconcile until `stop` is set, then end every runtime. Waits for a database that is not there yet."""
    while not stop.is_set():
        try:
            with open_platform(settings, application="llmops-local-agent") as platform:
                _reconcile_until(platform, stop)
        except PlatformError as error:  # no database has been started yet
            log.warning("%s", error)
            stop.wait(2 * PERIOD)


def _reconcile_until(platform: Platform, stop: threading.Event) -> None:
    runtimes, externals = Runtimes(platform), Externals(platform, ACTOR)
    tails = LogTails(platform, ACTOR)
    seen: dict[object, Observation] = {}
    ended = threading.Event()
    cluster = threading.Thread(target=cluster_agent.run, args=(platform, ended), name="cluster")
    if platform.settings.endpoint_backend in IN_A_CLUSTER:
        cluster.start()
    try:
        while not stop.is_set():
            try:
                tails.bring(step(platform, runtimes, seen), runtimes.tail)
                for route, observation in externals.step():
                    _note(platform, route, observation, seen)
            except PlatformError as error:
                log.warning("%s", error)
            stop.wait(PERIOD)
    finally:
        ended.set()
        externals.close()
        if cluster.ident is not None:
            cluster.join()
        runtimes.stop_all()


def step(platform: Platform, runtimes: Runtimes, seen: dict[object, Observation]) -> list[Desired]:
    """One pass; what is wanted. Raises Unavailable while the database is away; nothing is started or stopped then."""
    with platform.transaction(ACTOR) as tx:
        wanted = reconcile.desired(tx, BACKEND)
    runtimes.probe()
    by_id = {endpoint.endpoint_id: endpoint for endpoint in wanted}
    for action in reconcile.reconcile(wanted, runtimes.running(), now=runtimes.clock()):
        log.info("%s %s: %s", action.verb, action.endpoint_id, action.reason)
        runtimes.act(action, by_id.get(action.endpoint_id))
    _write_down(platform, runtimes, wanted, seen)
    return wanted


def _write_down(platform: Platform, runtimes: Runtimes, wanted: list[Desired], seen: dict[object, Observation]) -> None:
    """One row an endpoint, each pass: it is also when the endpoint was last looked at."""
    for endpoint in wanted:
        _note(platform, endpoint.route, runtimes.observe(endpoint), seen)


def _note(platform: Platform, route: str, observation: Observation, seen: dict[object, Observation]) -> None:
    with platform.transaction(ACTOR) as tx:
        endpoints.observe(tx, observation)
        if seen.get(observation.endpoint_id) != observation:
            events.forget(tx, observation.endpoint_id)
    if seen.get(observation.endpoint_id) != observation:
        log.info("%s is %s %s", route, observation.status, observation.detail)
        seen[observation.endpoint_id] = observation


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    run(settings, stop)


if __name__ == "__main__":
    main()
