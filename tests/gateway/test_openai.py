"""The official OpenAI client, pointed at the gateway."""

from collections.abc import Iterator

import httpx
import openai
import pytest

from llmops_resources.platform import Platform
from tests.gateway.conftest import ModelServer
from tests.gateway.test_chat import booked

HI: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


@pytest.fixture
def sdk(gateway: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway + "/openai/v1", api_key="sk-anything", max_retries=0, timeout=10) as client:
        yield client


def test_the_official_client_gets_a_completion(
    sdk: openai.OpenAI, platform: Platform, model_server: ModelServer
) -> None:
    answer = sdk.chat.completions.create(model="support", messages=HI, logit_bias={"5": 1}, n=1)

    assert answer.choices[0].message.content == "hello world"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 9
    assert model_server.seen[0]["logit_bias"] == {"5": 1}  # not ours to judge, so it is passed on
    assert booked(platform)[0].prompt_tokens == 7


def test_a_route_may_be_named_in_full(sdk: openai.OpenAI, model_server: ModelServer) -> None:
    sdk.chat.completions.create(model="/llm-ops/v1/serve/support", messages=HI)

    assert model_server.seen[0]["model"] == "support"


def test_the_official_client_gets_a_stream_without_the_usage_it_did_not_ask_for(
    sdk: openai.OpenAI, platform: Platform
) -> None:
    chunks = list(sdk.chat.completions.create(model="support", messages=HI, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello world"
    assert all(chunk.usage is None for chunk in chunks)
    assert booked(platform)[0].completion_tokens == 2


def test_the_official_client_gets_the_usage_it_asked_for(sdk: openai.OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    *_, last = sdk.chat.completions.create(model="support", messages=HI, stream=True, stream_options=options)

    assert last.usage is not None
    assert last.usage.total_tokens == 9


def test_text_completions_work_whole_and_streamed(sdk: openai.OpenAI) -> None:
    whole = sdk.completions.create(model="support", prompt="hi")
    chunks = list(sdk.completions.create(model="support", prompt="hi", stream=True))

    assert whole.choices[0].text == "hello world"
    assert "".join(chunk.choices[0].text for chunk in chunks) == "hello world"


def test_the_models_are_the_routes(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["support"]
    assert sdk.models.retrieve("support").owned_by == "m-support"


def test_errors_reach_the_official_client_as_its_own(sdk: openai.OpenAI, model_server: ModelServer) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        sdk.chat.completions.create(model="nothing", messages=HI)
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.chat.completions.create(model="support", messages=HI, n=1000)
    with pytest.raises(openai.PermissionDeniedError):
        sdk.with_options(default_headers={"X-User-Id": "eve"}).models.list()
    model_server.mood = "broken"
    with pytest.raises(openai.InternalServerError):
        sdk.chat.completions.create(model="support", messages=HI)

    assert unknown.value.code == "model_not_found"
    assert wrong.value.param == "n"


def test_a_broken_stream_raises_in_the_official_client(sdk: openai.OpenAI, model_server: ModelServer) -> None:
    model_server.mood = "dies"

    with pytest.raises(openai.APIError, match="connection to the model server broke"):
        list(sdk.chat.completions.create(model="support", messages=HI, stream=True))


def test_a_token_that_looks_like_ours_but_is_forged_is_refused(gateway: str) -> None:
    forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2I6MSJ9."
    answer = httpx.get(gateway + "/openai/v1/models", headers={"authorization": f"Bearer {forged}"})

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
