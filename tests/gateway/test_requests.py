"""What may be sent to the gateway, and how a server's stream is cut into events: pure functions."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import InvalidInput, PlatformError, UpstreamFailed, ValidationFailed
from llmops_resources.gateway import chat, completions, sse

HELLO = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0), ("temperature", 2.0), ("max_tokens", 1), ("max_tokens", 4000), ("top_p", 1), ("stop", "x"),
        ("stop", ["a", "b", "c", "d"]), ("seed", 0), ("stream", True),
    ],
)  # fmt: skip
def test_a_field_at_its_bound_is_accepted(field: str, value: Any) -> None:
    assert getattr(chat.read_chat(json.dumps({**HELLO, field: value}).encode()), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1), ("temperature", 2.01), ("temperature", "1"), ("temperature", None), ("max_tokens", 0),
        ("max_tokens", 4001), ("max_tokens", 1.5), ("max_tokens", True), ("messages", []), ("messages", None),
        ("messages", "hi"), ("stream", None), ("stop", ""), ("stop", ["a"] * 5), ("top_p", 0), ("seed", -1),
    ],
)  # fmt: skip
def test_a_field_beyond_its_bound_is_named_with_the_remedy(field: str, value: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        chat.read_chat(json.dumps({**HELLO, field: value}).encode())

    (problem,) = refused.value.details
    assert problem["path"] == field
    assert problem["remedy"] == chat.REMEDIES[field]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", InvalidInput), (b"{", InvalidInput), (b"[]", ValidationFailed), (b"null", ValidationFailed),
        (b"\xff\xfe", InvalidInput), (b'{"messages": "\\ud800"}', InvalidInput), (b"[" * 100_000, PlatformError),
        (b'{"seed": "x", "messages": ' + b"[" * 100_000, InvalidInput),
        (b'{"seed":"x","seed":1,"messages":[{"role":"user","content":"a"}]}', ValidationFailed),
    ],
)  # fmt: skip
def test_a_body_that_is_no_chat_is_refused(body: bytes, error: type[PlatformError]) -> None:
    with pytest.raises(error):
        chat.read_chat(body)
    with pytest.raises(PlatformError):
        chat.read_openai(body)


def test_a_hundred_thousand_wrong_fields_give_a_short_answer() -> None:
    body = json.dumps({**HELLO, **{f"field{n}": 1 for n in range(100_000)}}).encode()

    with pytest.raises(ValidationFailed) as refused:
        chat.read_chat(body)

    assert len(refused.value.details) == 100


def test_an_openai_body_keeps_its_bytes_but_for_the_name_and_the_usage() -> None:
    body = b'{"x": 1.000, "model": "a", "model": "support", "stream": true, "stream_options": {"other": 1}}'
    sent = chat.upstream_openai(body, chat.read_openai(body), "support")

    assert b"1.000" in sent
    assert sent.count(b'"model"') == 1
    assert json.loads(sent)["stream_options"] == {"other": 1, "include_usage": True}


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=6),
    st.data(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_events_are_the_same_wherever_the_network_cuts_them(payloads: list[str], data: st.DataObject, end: str) -> None:
    stream = "".join(f": keep-alive{end}{end}data: {text}{end}{end}" for text in payloads).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    reader = sse.EventReader()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert [event for piece in pieces for event in reader.feed(piece)] == [text.encode() for text in payloads]


def test_an_endless_event_is_cut_off() -> None:
    reader = sse.EventReader()

    with pytest.raises(UpstreamFailed):
        for _ in range(100):
            reader.feed(b"data: " + b"x" * 65536)


def test_a_server_that_claims_impossible_tokens_is_not_believed() -> None:
    counted = completions.count(completions.Tokens(-5, 2**60), prompt_bytes=1, completion=1)

    assert (counted.prompt, counted.completion, counted.estimated) == (0, completions.MOST_TOKENS, False)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["choices", "usage", "message", "content", "prompt_tokens"]), inner), max_leaves=8,
).map(msgspec.json.encode))  # fmt: skip
def test_whatever_a_server_answers_is_a_completion_or_a_failed_upstream(body: bytes) -> None:
    for read in (lambda: completions.enveloped(body, "r"), lambda: completions.passed_on(body)):
        with suppress(UpstreamFailed):
            read()
