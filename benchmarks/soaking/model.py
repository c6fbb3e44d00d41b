"""A model server that answers at once, whole or in events: `python -m benchmarks.soaking.model PORT`."""

import asyncio
import json
import sys

import uvloop
from aiohttp import web

from benchmarks.gateway import ANSWER

_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "support"}
_WORDS = 12
USAGE = json.loads(ANSWER)["usage"]


def _event(**fields: object) -> bytes:
    return b"data: " + json.dumps({**_CHUNK, **fields}).encode() + b"\n\n"


def _choice(reason: str | None, **delta: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "finish_reason": reason, "delta": delta}]}


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    if not asked.get("stream"):
        return web.Response(body=ANSWER, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(_WORDS):
        await response.write(_event(**_choice(None, content="word ")))
        await asyncio.sleep(0)  # so that a kill finds streams in their middle
    await response.write(_event(**_choice("stop")) + _event(choices=[], usage=USAGE) + b"data: [DONE]\n\n")
    return response


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def main(port: int) -> None:
    """Serve on a port of this machine until killed."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answer)
    app.router.add_get("/health", _health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
