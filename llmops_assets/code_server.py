"""The code server these definitions are loaded in, seen through its proxy."""

from dataclasses import dataclass

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient

HOST = "127.0.0.1"  # a sensor is evaluated by the proxy's own child
RELOAD_SECONDS = 120
_QUICK = 2


@dataclass(frozen=True)
class CodeServer:
    """The proxy on this machine at `port`. Without one (tests, `dagster dev`) nothing is ever superseded."""

    port: int

    def server_id(self) -> str | None:
        """Names the set of definitions that is served now; None when there is no proxy."""
        try:
            return self._client().get_server_id(timeout=_QUICK)
        except DagsterUserCodeUnreachableError:
            return None

    def reload(self) -> bool:
        """Load the definitions again in a fresh process; runs under way are not disturbed. False without a proxy.

        Webserver and daemon notice within a second. This process serves its last calls and ends.
        """
        try:
            self._client().reload_code(timeout=RELOAD_SECONDS)
        except DagsterUserCodeUnreachableError:
            return False
        return True

    def _client(self) -> DagsterGrpcClient:
        return DagsterGrpcClient(host=HOST, port=self.port)
