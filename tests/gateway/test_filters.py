"""Personal data masked in what is sent and answered, and answers that are remembered, never across tenants."""

import asyncio
import json
import random
import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.gateway.cache import Cache, key_of
from llmops_resources.gateway.masking import Held, Masker, StreamMask, apart, replaced
from llmops_resources.platform import Platform
from tests.gateway.conftest import ModelServer, eventually
from tests.gateway.test_api_keys import CHAT, HELLO, issued, works
from tests.gateway.test_chat import booked
from tests.gateway.test_resilience import policy

LETTER = "Please write to jane.roe@corp-mail.com or to card 4111 1111 1111 1111, thank you. " + "Bye now. " * 30
_SECRET = re.compile(r"#[a-z]{1,60}#")


def finds(text: str) -> list[tuple[int, int, str]]:
    """What stands between two marks is personal."""
    return [(found.start(), found.end(), "SECRET") for found in _SECRET.finditer(text)]


words = st.one_of(st.text("abc #", max_size=30), st.text("xyz", min_size=1, max_size=60).map(lambda w: f" #{w}# "))


@given(st.lists(words, max_size=12).map("".join), st.data())
def test_a_stream_is_masked_as_the_whole_text_is_however_it_is_cut(text: str, data: st.DataObject) -> None:
    held, told, at = Held(), [], 0
    while at < len(text):
        step = data.draw(st.integers(1, 40))
        held.text += text[at : at + step]
        at += step
        told.append(held.release(finds, last=False))
    told.append(held.release(finds, last=True))

    assert "".join(told) == replaced(text, apart(finds(text)))


def test_spans_that_overlap_are_masked_as_one() -> None:
    assert replaced("abcdef", apart([(1, 3, "A"), (2, 5, "B"), (5, 6, "C")])) == "a<A><C>"


@pytest.mark.timeout(180)
def test_personal_data_is_masked_on_its_way_in_and_out_streamed_or_not(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    client.timeout = httpx.Timeout(90)  # the first masked call imports the recognizers
    policy(platform, mask_input=True, mask_output=True)
    model_server.says = LETTER
    asked = {"messages": [{"role": "user", "content": "I am kim@corp-mail.com"}]}
    eventually(lambda: "corp-mail" not in client.post(CHAT, json=asked).text, 90)

    assert model_server.seen[-1]["messages"][0]["content"] == "I am <EMAIL_ADDRESS>"
    whole = client.post(CHAT, json=asked).json()["data"]["choices"][0]["message"]["content"]
    assert whole.startswith("Please write to <EMAIL_ADDRESS> or to card <CREDIT_CARD>, thank you")
    openai = {**asked, "model": "support", "stream": True}
    for path, body in ((CHAT, {**asked, "stream": True}), ("/openai/v1/chat/completions", openai)):
        with client.stream("POST", path, json=body) as answer:
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data:")]
        chunks = [json.loads(line) for line in lines if line != "[DONE]"]
        texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
        assert "".join(texts) == whole
    parts = [{"type": "text", "text": "call kim@corp-mail.com"}]
    by_parts = {"model": "support", "messages": [{"role": "user", "content": parts}]}
    client.post("/openai/v1/chat/completions", json=by_parts)
    assert model_server.seen[-1]["messages"][0]["content"][0]["text"] == "call <EMAIL_ADDRESS>"


def test_a_stream_that_ends_without_saying_so_still_gives_up_what_was_held() -> None:
    async def scenario() -> None:
        masker = Masker(lambda: finds)
        mask = StreamMask(masker)
        chunk = {"id": "c", "choices": [{"index": 1, "finish_reason": None, "delta": {"content": "it is #abc#"}}]}
        told = json.loads(await mask.feed(json.dumps(chunk).encode()))
        assert told["choices"][0]["delta"]["content"] == ""
        rest = json.loads(await mask.rest() or b"")
        assert (rest["id"], rest["choices"]) == (
            "c", [{"index": 1, "finish_reason": None, "delta": {"content": "it is <SECRET>"}}],
        )  # fmt: skip
        assert await mask.rest() is None
        masker.close()

    asyncio.run(scenario())


def test_arguments_of_tools_are_masked_and_token_probabilities_left_out() -> None:
    async def scenario() -> None:
        masker = Masker(lambda: finds)
        mask, told = StreamMask(masker), []
        for arguments, finish in (('{"to": "#ab', None), ('c#"}', None), (None, "tool_calls")):
            tools = [{"index": 0, "function": {"arguments": arguments}}] if arguments else []
            choice = {"index": 0, "finish_reason": finish, "delta": {"tool_calls": tools}, "logprobs": {"content": []}}
            chunk = json.loads(await mask.feed(json.dumps({"choices": [choice]}).encode()))
            assert "logprobs" not in chunk["choices"][0]
            told += [tool["function"]["arguments"] for tool in chunk["choices"][0]["delta"]["tool_calls"]]
        assert "".join(told) == '{"to": "<SECRET>"}'
        masker.close()

    asyncio.run(scenario())


def cached(client: httpx.Client, body: dict[str, Any] | None = None, **headers: str) -> bool:
    answer = client.post(CHAT, json=body or HELLO, headers=headers)
    assert answer.status_code == 200
    return answer.headers.get("x-llmops-cache") == "hit"


def test_an_equal_call_of_the_same_team_is_answered_from_memory_and_books_nothing(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    policy(platform, cache_seconds=60)
    one, two = issued(platform)[1], issued(platform, name="another")[1]
    stranger = issued(platform, team="lab")[1]
    works(client, stranger)
    works(client, two)
    eventually(lambda: cached(client, **one))
    asked = len(model_server.seen)

    assert cached(client, **two)
    assert client.post(CHAT, json=HELLO, headers=two).json() == client.post(CHAT, json=HELLO, headers=one).json()
    assert len(model_server.seen) == asked
    assert len(booked(platform, asked)) == asked
    assert not cached(client, {**HELLO, "temperature": 0.1}, **one)
    other = {"messages": [{"role": "user", "content": "only for the shop"}]}
    assert not cached(client, other, **one)
    assert not cached(client, other, **stranger)
    assert not cached(client, other, **{"x-user-id": "shop", "x-user-roles": "researcher"})


def test_a_route_that_does_not_ask_for_it_remembers_nothing(client: httpx.Client) -> None:
    assert [cached(client) for _ in range(3)] == [False] * 3


def test_an_answer_is_forgotten_when_its_time_is_over_or_too_many_are_kept() -> None:
    cache = Cache(100)
    cache.keep(b"a", b"x" * 60, 0.0, 10)
    assert cache.find(b"a", 9.9) == b"x" * 60
    assert cache.find(b"a", 10.0) is None
    cache.keep(b"a", b"x" * 60, 0.0, 10)
    cache.keep(b"b", b"y" * 60, 0.0, 10)
    assert (cache.find(b"a", 0.0), cache.find(b"b", 0.0)) == (None, b"y" * 60)
    cache.keep(b"c", b"z" * 101, 0.0, 10)
    assert cache.find(b"c", 0.0) is None


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_calls_have_different_keys(one: list[str], two: list[str]) -> None:
    assert (key_of(*one) == key_of(*two)) == (one == two)


def test_however_answers_come_and_go_no_more_than_the_bytes_allowed_are_kept() -> None:
    cache, chance = Cache(1000), random.Random(7)
    for number in range(2000):
        cache.keep(b"%d" % chance.randint(0, 50), b"x" * chance.randint(0, 400), float(number), 50)
        assert sum(len(kept.body) for kept in cache._kept.values()) == cache._bytes <= 1000
