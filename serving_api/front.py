"""What listens on the port: calls of the gateway by the shortest way, and everything else through the wrappers.

A gateway does the same few things for every call, so what the wrappers do for other requests in coroutines around
coroutines is done here in one: the door is kept, and the request is accounted for.
"""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from llmops_resources.errors import PlatformError
from llmops_resources.settings import Settings
from serving_api import logs
from serving_api.chat.app import ChatGateway
from serving_api.local_guard import DoorKeeper, LocalGuard, refusal
from serving_api.requests import RequestLog, answered


class Front:
    """Pure ASGI; `rest` gets what is not the gateway's."""

    def __init__(self, gateway: ChatGateway, rest: ASGIApp, settings: Settings) -> None:
        self._gateway = gateway
        self._keeper = DoorKeeper(settings)
        self._rest = RequestLog(LocalGuard(rest, settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._gateway.owns(scope["path"]):
            return await self._rest(scope, receive, send)
        started, exchange = time.perf_counter(), self._gateway.exchange(scope, receive, send)
        logs.REQUEST_ID.set(exchange.request_id)  # a request has a task, and so a context, of its own
        try:
            self._keeper.check(scope)
        except PlatformError as error:
            await exchange.answer(*refusal(error))
        else:
            await self._gateway.answer(exchange)
        finally:
            seconds = time.perf_counter() - started
            answered(exchange.method, exchange.path, exchange.status or 500, seconds, exchange.request_id)
        return None
