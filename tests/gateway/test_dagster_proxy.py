"""Dagster's pages behind /dagster: passed through for those who may, and an honest page while it is down."""

import asyncio
import json
from collections.abc import Iterator

import aiohttp
import httpx
import pytest
from aiohttp import web

from llmops_resources.platform import Platform
from tests.gateway.conftest import Outside, running_aiohttp, running_asgi


async def echo(request: web.Request) -> web.StreamResponse:
    """Answers what it was asked, in two pieces."""
    facts = {"method": request.method, "raw": request.raw_path, "headers": dict(request.headers)}
    response = web.StreamResponse(headers={"X-From": "dagster", "Connection": "close"})
    await response.prepare(request)
    await response.write(json.dumps({**facts, "body": (await request.read()).decode()}).encode())
    await response.write(b" ")
    return response


async def socket(request: web.Request) -> web.WebSocketResponse:
    response = web.WebSocketResponse(protocols=("graphql-ws",))
    await response.prepare(request)
    async for message in response:
        await response.send_str(f"echo {message.data}")
        await response.close(code=4001)
    return response


def webserver() -> web.Application:
    app = web.Application()
    app.router.add_get("/dagster/socket", socket)
    app.router.add_route("*", "/dagster{rest:.*}", echo)
    return app


@pytest.fixture
def address(platform: Platform) -> Iterator[str]:
    with running_aiohttp(webserver) as port:
        there = platform.settings.model_copy(update={"dagster_port": port})
        with running_asgi(Outside(type(platform)(there, platform.engine, platform.blobs))) as address:
            yield address


def test_requests_go_through_as_they_are_but_without_who_calls(address: str) -> None:
    headers = {
        "x-user-id": "kim",
        "x-user-roles": "operator",
        "authorization": "Bearer x",
        "cookie": "a=b",
        "accept": "x/y",
    }
    answer = httpx.post(f"{address}/dagster/graphql?op=a%2Fb", content="the body", headers=headers)

    seen = answer.json()
    assert (seen["method"], seen["raw"], seen["body"]) == ("POST", "/dagster/graphql?op=a%2Fb", "the body")
    names = {name.lower() for name in seen["headers"]}
    assert "accept" in names
    assert names.isdisjoint({"x-user-id", "x-user-roles", "authorization", "cookie"})
    assert answer.headers["x-from"] == "dagster"


def test_whoever_may_not_see_pipelines_is_refused(address: str) -> None:
    answer = httpx.get(f"{address}/dagster/runs", headers={"x-user-id": "eve", "x-user-roles": "viewer"})

    assert answer.status_code == 403
    assert answer.json()["status"] == "fail"


def test_a_link_cannot_carry_a_graphql_mutation(address: str) -> None:
    assert httpx.get(f"{address}/dagster/graphql?query=mutation").status_code == 403
    assert httpx.get(f"{address}/dagster/graphql").status_code == 200


def test_a_path_cannot_leave_the_prefix(address: str) -> None:
    assert httpx.get(f"{address}/dagster/%2e%2e/secret").status_code == 400
    assert httpx.get(f"{address}/dagster/..%5csecret").status_code == 400


def test_web_sockets_go_through_both_ways(address: str) -> None:
    async def scenario() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}/dagster/socket", protocols=("graphql-ws",)) as connection,
        ):
            assert connection.protocol == "graphql-ws"
            await connection.send_str("hi")
            assert (await connection.receive()).data == "echo hi"
            assert (await connection.receive()).type is aiohttp.WSMsgType.CLOSE
            assert connection.close_code == 4001

    asyncio.run(scenario())


def test_while_dagster_is_down_people_get_a_page_and_programs_the_envelope(platform: Platform) -> None:
    there = platform.settings.model_copy(update={"dagster_port": 9})
    with running_asgi(Outside(type(platform)(there, platform.engine, platform.blobs))) as address:
        page = httpx.get(f"{address}/dagster/runs", headers={"accept": "text/html,*/*"})
        envelope = httpx.get(f"{address}/dagster/runs")

    assert page.status_code == envelope.status_code == 503
    assert "llmops status" in page.text
    assert envelope.json()["data"]["remedy"]
