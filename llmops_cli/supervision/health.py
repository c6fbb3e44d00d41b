"""Whether a process answers. A probe returns a bool within two seconds and never raises."""

import json
import socket
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import Request, urlopen

Probe = Callable[[], bool]
TIMEOUT = 2.0


def http_answers(url: str) -> Probe:
    """GET answers with 2xx."""
    return lambda: _fetch(Request(url)) is not None  # noqa: S310 - our own loopback addresses


def port_listens(port: int, host: str = "127.0.0.1") -> Probe:
    """Something accepts TCP connections."""

    def probe() -> bool:
        try:
            with socket.create_connection((host, port), timeout=TIMEOUT):
                return True
        except OSError:
            return False

    return probe


def dagster_daemon_beats(webserver: str) -> Probe:
    """All of the daemon's required parts sent a heartbeat lately, as the webserver tells over GraphQL."""
    query = {"query": "{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }"}

    def probe() -> bool:
        headers = {"Content-Type": "application/json"}
        request = Request(f"{webserver}/graphql", json.dumps(query).encode(), headers)  # noqa: S310 - as above
        try:
            statuses = json.loads(_fetch(request) or b"{}")["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        except (ValueError, KeyError, TypeError):
            return False
        return all(status["healthy"] for status in statuses if status["required"])

    return probe


def always() -> bool:
    """For a process that has nothing to ask: being alive is being well."""
    return True


def _fetch(request: Request) -> bytes | None:
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
            body: bytes = answer.read(1_000_000)
            return body
    except (URLError, OSError, ValueError):
        return None
