"""A proxy in front of a real S3 server that fails on purpose: refuses, breaks off, or cuts an answer short."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

#: What to do with a request (method, path): None lets it pass, or `refuse`, `reset` (before it is answered), `cut`
#: (half of the answer's body, then the end of the connection).
Fault = Callable[[str, str], str | None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: ClassVar[str]
    proxy: ClassVar["FaultyStore"]

    def _pass_on(self) -> None:
        body = self._body()
        what = self.proxy.fault(self.command, self.path)
        if what is not None:
            self.proxy.failed += 1
        if what == "refuse":
            self._send(503, [], b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
            return
        if what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
            return
        to = urlsplit(self.upstream)
        upstream = http.client.HTTPConnection(to.hostname or "", to.port, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"transfer-encoding", "content-length"}}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        self._send(answer.status, answer.getheaders(), content, cut=what == "cut")
        upstream.close()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  the handler's names

    def log_message(self, *_arguments: object) -> None:
        """Silence."""


class FaultyStore:
    """The proxy: its address, how many requests it spoiled, and the rule by which it does."""

    def __init__(self, upstream: str) -> None:
        self.failed = 0
        self.fault: Fault = lambda _method, _path: None
        handler = type("Handler", (_Handler,), {"upstream": upstream, "proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()

    def heal(self) -> None:
        """Let everything pass from now on."""
        self.fault = lambda _method, _path: None


@contextmanager
def faulty(upstream: str) -> Iterator[FaultyStore]:
    """A proxy while the block runs."""
    proxy = FaultyStore(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
