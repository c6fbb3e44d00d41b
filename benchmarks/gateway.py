"""The gateway against a bare pass-through: `python -m benchmarks.gateway [--seconds 4] [--rounds 3]`.

Both run under uvicorn in a process of their own on one core, with the same HTTP client in front of the same model
server, which with the load has the other core. The pass-through copies bytes and knows nothing: no key, no route, no
limit, no budget, no usage. The rounds are interleaved and medians told; trust the ratios, since on a shared machine the
figures themselves move. Load: `--connections` in a closed loop, so a slower gateway is asked less often.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import psutil
import uvicorn
import uvloop
from aiohttp import web
from starlette.types import Receive, Scope, Send

from llmops_resources import database, migrate, postgres
from llmops_resources.cost import budgets, prices
from llmops_resources.cost.budgets import BudgetWish, Period
from llmops_resources.cost.prices import PriceWish
from llmops_resources.governance import api_keys
from llmops_resources.governance.api_keys import KeyWish
from llmops_resources.inference import Inference, open_inference
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api import logs
from serving_api.app import create_app
from serving_api.server import spare_the_collector
from tests import factories
from tests.gateway.conftest import deployed

CHAT = "/llm-ops/v1/serve/support/chat"
BODY = json.dumps({"messages": [{"role": "user", "content": "hello " * 40}], "max_tokens": 16}).encode()
ANSWER = json.dumps({
    "id": "c", "object": "chat.completion", "created": 1, "model": "support",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 60}}],
    "usage": {"prompt_tokens": 60, "completion_tokens": 60, "total_tokens": 120},
}).encode()  # fmt: skip
GOAL = 0.5


@dataclass(frozen=True)
class Figures:
    """Of one round: calls a second, CPU microseconds a call of the process in the middle, and latencies in ms."""

    rate: float
    cpu: float
    p50: float
    p95: float


def serve_model(told: Connection) -> None:
    """The model server: answers at once."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        app.router.add_get("/health", lambda _request: web.Response(text="ok"))  # type: ignore[arg-type,return-value]
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    pin(1)
    uvloop.run(main())


def serve_pass_through(told: Connection, upstream: str) -> None:
    """Bytes in, bytes out, through the gateway's own client."""
    doors: list[Inference] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = await doors[0].ask(upstream + "/v1/chat/completions", body)
        try:
            whole = await answer.body()
        finally:
            answer.close()
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(whole))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": whole})

    async def main() -> None:
        doors.append(open_inference())  # it belongs to the loop that runs here
        await _serve(app, told)

    pin(0)
    uvloop.run(main())


def serve_gateway(told: Connection, settings: Settings) -> None:
    """The whole API, as in production."""

    async def main() -> None:
        with open_platform(settings, application="bench") as platform:
            app = create_app(platform)
            spare_the_collector()  # as the API does
            await _serve(app, told)

    pin(0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the request log is written, and read by nobody
    logs.configure(settings.log_level)
    uvloop.run(main())


async def _serve(app: Callable[..., object], told: Connection) -> None:
    config = uvicorn.Config(
        app, port=0, loop="uvloop", http="httptools", access_log=False, log_config=None, server_header=False,
        proxy_headers=False,
    )  # type: ignore[arg-type]  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn tells it in no other way
        await asyncio.sleep(0.01)
    told.send(server.servers[0].sockets[0].getsockname()[1])
    await task


@contextmanager
def running(program: Callable[..., None], *words: object) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its address and the process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=program, args=(there, *words), daemon=True)
    process.start()
    assert here.poll(120), "the server did not start"
    try:
        yield f"http://127.0.0.1:{here.recv()}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join(10)


async def load(address: str, headers: dict[str, str], connections: int, seconds: float) -> list[float]:
    """Latencies in seconds of every call answered with 200 in the time given."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"content-type": "application/json", **headers}
    async with aiohttp.ClientSession(address, connector=connector, headers=headers) as session:

        async def client() -> None:
            while (began := time.perf_counter()) < until:
                async with session.post(CHAT, data=BODY) as answer:
                    body = await answer.read()
                    assert answer.status == 200, body
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(client() for _ in range(connections)))
    return latencies


def measure(server: tuple[str, psutil.Process], headers: dict[str, str], connections: int, seconds: float) -> Figures:
    """One round."""
    address, process = server
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    latencies = asyncio.run(load(address, headers, connections, seconds))
    took, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
    cuts = statistics.quantiles(latencies, n=20)
    return Figures(len(latencies) / took, cpu / len(latencies) * 1e6, cuts[9] * 1e3, cuts[18] * 1e3)


def prepared(home: Path, upstream: str) -> tuple[Settings, str]:
    """A database with a route, a key with limits, a price and a budget; returns the settings and the key's secret."""
    url = postgres.start(home / "pg", databases=("bench",))
    engine = database.connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    settings = Settings(llmops_home=home / "home", database_url=url, secret_key="x" * 40, _env_file=None)
    with open_platform(settings) as platform:
        deployed(platform, upstream)
        with platform.transaction(factories.ADMIN) as tx:
            prices.declare(tx, PriceWish(model="m-support", prompt=Decimal(1), completion=Decimal(2)))
            budgets.declare(tx, BudgetWish(team="bench", period=Period.MONTH, amount=Decimal(1_000_000)))
            most = 1_000_000_000
            wish = KeyWish(name="bench", team="bench", requests_per_minute=most, tokens_per_minute=most)
            _key, secret = api_keys.create(tx, wish)
    return settings, secret


def main() -> None:
    """Measure and print; exits with 1 when the gateway falls below the goal."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--connections", type=int, default=32)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(serve_model) as (upstream, _):
        settings, secret = prepared(Path(folder), upstream)
        try:
            key = {"authorization": f"Bearer {secret}"}
            with running(serve_pass_through, upstream) as bare, running(serve_gateway, settings) as ours:
                pin(1)
                contestants = {"pass-through": (bare, {}), "gateway, no key": (ours, {}), "gateway, key": (ours, key)}
                rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
                for server, headers in contestants.values():
                    measure(server, headers, chosen.connections, 1.0)  # to warm up
                for _ in range(chosen.rounds):
                    for name, (server, headers) in contestants.items():
                        rounds[name].append(measure(server, headers, chosen.connections, chosen.seconds))
        finally:
            postgres.stop(Path(folder) / "pg")
    _tell(rounds)


def _tell(rounds: dict[str, list[Figures]]) -> None:
    def median(name: str, figure: str) -> float:
        return statistics.median(getattr(each, figure) for each in rounds[name])

    print(f"{'':<16} calls/s  ratio  CPU us/call  ratio   p50 ms   p95 ms")
    for name in rounds:
        rate, cpu = median(name, "rate"), median(name, "cpu")
        rate_ratio, cpu_ratio = rate / median("pass-through", "rate"), cpu / median("pass-through", "cpu")
        print(
            f"{name:<16} {rate:7.0f}  {rate_ratio:5.2f}  {cpu:11.0f}  {cpu_ratio:5.2f}"
            f"  {median(name, 'p50'):7.1f}  {median(name, 'p95'):7.1f}"
        )
    reached = median("gateway, key", "rate") / median("pass-through", "rate")
    print(
        f"goal: with every rule at least {GOAL:.2f} of the pass-through: {'reached' if reached >= GOAL else 'missed'}"
    )
    if reached < GOAL:
        raise SystemExit(1)


def pin(core: int) -> None:
    """Keep this process on one core."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0) or {0})
        os.sched_setaffinity(0, {cores[min(core, len(cores) - 1)]})


if __name__ == "__main__":
    main()
