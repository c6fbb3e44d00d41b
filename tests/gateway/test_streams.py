"""Streams: complete, cut, broken and abandoned ones."""

import json
import threading
from typing import Any

import httpx
import pytest

from llmops_resources.gateway.usage import Outcome
from llmops_resources.platform import Platform
from tests.gateway.conftest import ModelServer
from tests.gateway.test_chat import CHAT, HELLO, booked

STREAM = {**HELLO, "stream": True}


def events_of(text: str) -> list[Any]:
    """The decoded data of each event; DONE stays a string."""
    found = []
    for event in text.split("\n\n"):
        if event:
            assert event.startswith("data: ")
            data = event.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def words_of(events: list[Any]) -> str:
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events if e != "[DONE]" and e.get("choices")]
    return "".join(pieces)


def test_a_stream_is_openai_chunks_with_usage_and_ends_with_done(client: httpx.Client, platform: Platform) -> None:
    answer = client.post(CHAT, json=STREAM)

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert words_of(events) == "hello world"
    assert events[-2]["usage"]["total_tokens"] == 9
    assert events[-1] == "[DONE]"
    (record,) = booked(platform)
    assert (record.prompt_tokens, record.completion_tokens, record.streamed) == (7, 2, True)
    assert record.status is Outcome.SUCCEEDED


def test_a_stream_that_breaks_ends_with_the_failure_envelope_never_in_silence(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    for number, mood in enumerate(("dies", "babbles", "just stops"), start=1):
        model_server.mood = mood
        events = events_of(client.post(CHAT, json=STREAM).text)

        assert words_of(events[:-1]).startswith("hello"), mood
        assert events[-1]["status"] == "fail"
        assert events[-1]["message"]
        record = booked(platform, number)[0]
        assert (record.status, record.estimated) == (Outcome.FAILED, True)
        assert record.completion_tokens == len(events) - 1


def test_an_error_before_the_first_event_keeps_its_http_status(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.mood = "broken"
    assert client.post(CHAT, json=STREAM).status_code == 502
    model_server.mood = "busy forever"
    assert client.post(CHAT, json=STREAM).status_code == 504


def test_a_model_server_that_answers_a_stream_with_json_is_a_502(
    client: httpx.Client, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole(_request: Any, body: dict[str, Any]) -> Any:
        return model_server._whole(body, completion=False)

    monkeypatch.setattr(model_server, "_stream", whole)

    assert client.post(CHAT, json=STREAM).status_code == 502


def test_a_client_that_leaves_in_the_middle_frees_the_model_server_and_is_booked(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    model_server.mood = "talks forever"
    with client.stream("POST", CHAT, json=STREAM) as answer:
        events = (line for line in answer.iter_lines() if line.startswith("data: "))
        assert words_of([json.loads(next(events).removeprefix("data: ")) for _ in range(2)]) == "hello world"

    assert model_server.freed.wait(30)
    (record,) = booked(platform)
    assert (record.status, record.estimated) == (Outcome.CANCELLED, True)
    assert record.completion_tokens >= 2
    assert record.prompt_tokens > 0


def test_a_client_that_leaves_while_the_model_thinks_frees_it(
    gateway: str, platform: Platform, model_server: ModelServer
) -> None:
    model_server.mood = "busy forever"

    def impatient() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(gateway + CHAT, json=HELLO, timeout=0.3)

    thread = threading.Thread(target=impatient)
    thread.start()
    assert model_server.asked.wait(30)
    thread.join()

    assert model_server.freed.wait(30)
    assert booked(platform)[0].status is Outcome.CANCELLED
