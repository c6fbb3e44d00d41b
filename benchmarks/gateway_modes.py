"""The gateway where models take their time: `python -m benchmarks.gateway_modes [--seconds 5] [--rounds 3]`.

Our gateway with every rule on, a bare pass-through over the same connections, and the model server asked directly:
answers after 50 ms, streams of 50 chunks 2 ms apart (both with 64 connections in a closed loop, by wrk), the median
latency at 50 calls a second (an open loop: counted from when a call was due), and calls a second with and without the
spool of usage records on the disk. One core for the process in the middle; the model server and the load share another.
Rounds are interleaved and medians told.
"""

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import aiohttp
import psutil
import uvloop

from benchmarks.gateway import ANSWER, BODY, CHAT, pin, prepared, running, serve_gateway, serve_pass_through
from benchmarks.gateway_peers import Contestant, measure, wait_until_it_answers
from llmops_resources import postgres
from llmops_resources.gateway.spool import Spool
from llmops_resources.settings import Settings

CHUNKS: Final = 50
APART: Final = 0.002  # seconds
DELAY: Final = 0.05
#: What is asked for says how the model server answers: its `max_tokens`.
LATE: Final = 50
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: "
_WHOLE: Final = _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
_PIECE: Final = json.dumps({
    "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "support",
    "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}],
}).encode()  # fmt: skip
_LAST: Final = json.dumps({
    "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "support",
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 60, "completion_tokens": CHUNKS, "total_tokens": 60 + CHUNKS},
}).encode()  # fmt: skip


class Model(asyncio.Protocol):
    """A model server in as few steps as it takes, so that the other side is what is measured."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if not found or len(body) < int(length[1] if length else 0):
            return
        self._received = b""
        asked = json.loads(body) if body else {}
        if asked.get("stream"):
            self._write(_HEAD + b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            self._next(0)
        elif asked.get("max_tokens") == LATE:
            self._loop.call_later(DELAY, self._write, _WHOLE)
        else:
            self._write(_WHOLE)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # wrk leaves in the middle of things when its time is up
            self._transport.write(data)

    def _next(self, sent: int) -> None:
        if self._transport.is_closing():
            return
        if sent < CHUNKS:
            self._write(_chunk(b"data: " + _PIECE + b"\n\n"))
            self._loop.call_later(APART, self._next, sent + 1)
        else:
            self._write(_chunk(b"data: " + _LAST + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def serve_model(told: Connection) -> None:
    """The model server, in a process of its own."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    pin(1)
    uvloop.run(main())


def serve_forgetful_gateway(told: Connection, settings: Settings) -> None:
    """The gateway with a spool that keeps nothing."""
    Spool.write = lambda _self, _lines: None  # type: ignore[method-assign]
    serve_gateway(told, settings)


async def _paced(contestant: Contestant, seconds: float, rate: float) -> float:
    """The median milliseconds from when a call was due until it was answered, at so many calls a second."""
    headers, took = {"content-type": "application/json", **contestant.headers}, []
    async with aiohttp.ClientSession(contestant.address, headers=headers) as session:

        async def call(due: float) -> None:
            await asyncio.sleep(due - time.perf_counter())
            async with session.post(contestant.path, data=BODY) as answer:
                await answer.read()
                assert answer.status == 200
            took.append(time.perf_counter() - due)

        began = time.perf_counter() + 0.1
        await asyncio.gather(*(call(began + number / rate) for number in range(int(seconds * rate))))
    return statistics.median(took) * 1e3


def _contestants(folder: Path, stack: ExitStack) -> dict[str, Contestant]:
    upstream, model = stack.enter_context(running(serve_model))
    settings, secret = prepared(folder, upstream)
    stack.callback(postgres.stop, folder / "pg")
    key = {"authorization": f"Bearer {secret}"}

    def started(program: Callable[..., None], *words: object, **headers: str) -> Contestant:
        address, process = stack.enter_context(running(program, *words))
        return Contestant(address, CHAT, headers, process)

    found = {
        "direct": Contestant(upstream, CHAT, {}, psutil.Process(model.pid)),
        "pass-through": started(serve_pass_through, upstream),
        "ours": started(serve_gateway, settings, **key),
        "no spool": started(serve_forgetful_gateway, settings, **key),
    }
    for contestant in found.values():
        wait_until_it_answers(contestant)
    return found


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    asked = json.loads(BODY)
    bodies = {
        "closed loop, at once": BODY,
        "closed loop, after 50 ms": json.dumps({**asked, "max_tokens": LATE}).encode(),
        "streams": json.dumps({**asked, "stream": True}).encode(),
    }
    seen: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        found = _contestants(folder, stack)
        pin(1)
        for _ in range(chosen.rounds):
            for what, body in bodies.items():
                for who, contestant in found.items():
                    if what == "streams" and who == "pass-through":
                        continue  # it passes whole answers
                    figures = measure(contestant, folder, chosen.seconds, body=body)
                    seen.setdefault((what, who), []).append(figures.rate)
            for who in ("direct", "pass-through", "ours"):
                paced = asyncio.run(_paced(found[who], chosen.seconds, 50.0))
                seen.setdefault(("median ms at 50 a second", who), []).append(paced)
    _tell({key: statistics.median(values) for key, values in seen.items()})


def _tell(seen: Mapping[tuple[str, str], float]) -> None:
    for (what, who), value in seen.items():
        print(f"{what:<26} {who:<14} {value:9.2f}")

    def added(who: str) -> float:
        return seen["median ms at 50 a second", who] - seen["median ms at 50 a second", "direct"]

    late, streams = "closed loop, after 50 ms", "streams"
    at_once = "closed loop, at once"
    print(f"after 50 ms, ours of direct:     {seen[late, 'ours'] / seen[late, 'direct']:.2f}  goal 0.85")
    print(f"streams a second, of direct:     {seen[streams, 'ours'] / seen[streams, 'direct']:.2f}  goal 0.80")
    print(f"added median, of pass-through's: {added('ours') / added('pass-through'):.2f}  goal at most 1.30")
    print(f"with the spool, of without:      {seen[at_once, 'ours'] / seen[at_once, 'no spool']:.2f}  goal 0.90")


if __name__ == "__main__":
    main()
