"""A sender that trickles: told within the time set for it, and nothing is kept of what it sent."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from llmops_resources.platform import Platform
from tests.api.sending import Sender, created, digest

ROWS = b"a,b\n" + b"1,2\n" * 200


@pytest.fixture
def impatient(platform: Platform) -> Platform:
    """A platform that waits half a second for the next bytes."""
    object.__setattr__(platform.settings, "upload_stall_seconds", 0.5)
    return platform


@pytest.fixture
def trickle(impatient: Platform, api: httpx.Client) -> Iterator[socket.socket]:
    """A connection to the API that will be closed."""
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=20) as connection:
        yield connection


def test_a_chunk_that_stalls_is_refused_in_time_and_sent_again(
    impatient: Platform, api: httpx.Client, trickle: socket.socket
) -> None:
    sender = Sender(api, created(api, "datasets"), {"rows.csv": ROWS})
    target = f"{api.base_url.path.rstrip('/')}{sender.path}/files/1?offset=0"
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(ROWS)}\r\n"
        f"Content-Digest: {digest(ROWS)}\r\n\r\n"
    )
    trickle.sendall(head.encode() + ROWS[:5])
    answer = trickle.recv(4096)
    assert b" 400 " in answer
    assert b"within 0.5 seconds" in answer
    assert sender.offsets() == [0]
    sender.send_all()
    assert sender.complete().status_code == 200


def test_a_form_that_stalls_leaves_nothing(impatient: Platform, api: httpx.Client, trickle: socket.socket) -> None:
    path = created(api, "datasets")
    start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="rows.csv"\r\n\r\n' + ROWS[:5]
    head = (
        f"POST {api.base_url.path.rstrip('/')}{path}/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n"
    )
    trickle.sendall(head.encode() + start)
    assert b" 400 " in trickle.recv(4096)
    assert [entry.key for prefix in ("datasets", "staging") for entry in impatient.blobs.list(prefix)] == []
    assert api.get(path).json()["data"]["digest"] is None
