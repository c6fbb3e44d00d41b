"""Clients that send or read slowly, or not at all, hold neither the gateway nor the model for long."""

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from llmops_resources.gateway.usage import Outcome
from llmops_resources.platform import Platform
from serving_api.chat import exchange
from tests.gateway.conftest import ModelServer, eventually
from tests.gateway.test_chat import CHAT, HELLO, booked


def _connected(gateway: str) -> socket.socket:
    address = urlsplit(gateway)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((address.hostname, address.port))
    return connection


def _head(length: int) -> bytes:
    lines = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"{lines}\r\n".encode()


def test_a_body_that_does_not_arrive_is_refused_in_time_and_asks_no_model(
    gateway: str, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "BODY_PATIENCE", 0.3)
    with _connected(gateway) as connection:
        connection.sendall(_head(1000) + b'{"messages": [')
        answer = connection.recv(65536)
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"did not arrive within" in answer
    assert model_server.seen == []


def test_a_reader_who_stops_reading_is_left_and_what_was_said_is_booked(
    gateway: str, client: httpx.Client, platform: Platform, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SEND_PATIENCE", 0.5)
    model_server.mood, model_server.says = "talks forever", "x" * 50_000  # a chunk a letter: megabytes to be read
    body = json.dumps({**HELLO, "stream": True}).encode()
    with _connected(gateway) as connection:
        connection.sendall(_head(len(body)) + body)
        assert connection.recv(16).startswith(b"HTTP/1.1 200")
        eventually(lambda: [record.status for record in booked(platform, 0)] == [Outcome.CANCELLED], seconds=60)
        model_server.mood, model_server.says = "well", ""
        assert client.post(CHAT, json=HELLO).status_code == 200
