"""Clients that name every call themselves and keep count of how it ended."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from benchmarks.gateway import BODY, CHAT
from benchmarks.soaking.programs import Program

OPENAI: Final = "/openai/v1/chat/completions"
#: What the gateway may say while something behind it is away; anything else is a fault.
_EXCUSES: Final = frozenset({502, 503, 504})
_PAUSE: Final = 0.25  # seconds after a call that failed, as a client would wait
_TOLD: Final = 20  # faults that are kept in words


def name_of(number: int) -> str:
    """The request id of a call."""
    return f"soak-{number:09d}"


@dataclass
class Seen:
    """How calls ended: `answered` to their last byte, refused or broken off in words, or cut off by a kill."""

    asked: int = 0
    answered: set[int] = field(default_factory=set)
    said: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def fault(self, number: int, what: str) -> None:
        """Keep what should not have happened."""
        if len(self.faults) < _TOLD:
            self.faults[f"{name_of(number)}: {what[:300]}"] += 1
        else:
            self.faults["and more"] += 1


@dataclass(frozen=True)
class Wallet:
    """A key, and whether its budget is meant to run out."""

    secret: str
    runs_out: bool


class Clients:
    """`connections` closed loops against one gateway until `enough` is set; every tenth call pays from `scarce`.

    Of five calls one is streamed, and one asked as OpenAI's clients do.
    """

    def __init__(self, gateway: Program, plenty: Wallet, scarce: Wallet) -> None:
        self.seen, self.enough = Seen(), asyncio.Event()
        self._gateway, self._plenty, self._scarce = gateway, plenty, scarce

    async def run(self, connections: int) -> None:
        """Ask until there is enough."""
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=3)  # below the server's own 5 s
        timeout = aiohttp.ClientTimeout(total=60)
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            await asyncio.gather(*(self._client(session) for _ in range(connections)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self.enough.is_set():
            number = self.seen.asked
            self.seen.asked += 1
            if not await self._ask(session, number):
                await asyncio.sleep(_PAUSE)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> bool:
        """Whether the call was answered."""
        wallet = self._scarce if number % 10 == 0 else self._plenty
        openai, streamed = number % 5 == 1, number % 5 == 2
        asked: dict[str, Any] = {**json.loads(BODY), "stream": streamed}
        if openai:
            asked["model"] = "support"
        life, was_up = self._gateway.lives, self._gateway.is_up
        headers = {"x-request-id": name_of(number), "authorization": f"Bearer {wallet.secret}"}
        address = self._gateway.address + (OPENAI if openai else CHAT)
        try:
            async with session.post(address, data=json.dumps(asked), headers=headers) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if was_up and self._gateway.is_up and life == self._gateway.lives:
                self.seen.fault(number, f"the connection failed while the gateway was up: {error!r}")
            self.seen.cut += 1
            return False
        if answer.headers.get("x-request-id") != name_of(number):
            self.seen.fault(number, f"answered under another id: {answer.headers.get('x-request-id')}")
        good = streamed and answer.status == 200
        return self._streamed(number, body) if good else self._whole(number, answer.status, body, wallet, openai=openai)

    def _whole(self, number: int, status: int, body: bytes, wallet: Wallet, *, openai: bool) -> bool:
        try:
            read = json.loads(body)
        except ValueError:
            self.seen.fault(number, f"{status} without JSON: {body[:200]!r}")
            return False
        if status == 200:
            choices = read.get("choices") if openai else _data(read, "success").get("choices")
            if not choices:
                self.seen.fault(number, f"200 that is no answer: {body[:200]!r}")
                return False
            self.seen.answered.add(number)
            return True
        if not (_is_openai_error(read) if openai else _data(read, "fail").get("kind")):
            self.seen.fault(number, f"{status} outside the envelope: {body[:200]!r}")
        elif status not in _EXCUSES and not (status == 429 and wallet.runs_out):
            self.seen.fault(number, f"{status} that nothing excuses: {body[:300]!r}")
        self.seen.said[str(status)] += 1
        return False

    def _streamed(self, number: int, body: bytes) -> bool:
        *_, last = [b"", *(event for event in body.split(b"\n\n") if event)]
        if last == b"data: [DONE]":
            self.seen.answered.add(number)
            return True
        try:
            if _data(json.loads(last.removeprefix(b"data: ")), "fail").get("kind"):
                self.seen.said["broken off"] += 1
                return False
        except ValueError:
            pass
        self.seen.fault(number, f"a stream that ended without a word: {last[-200:]!r}")
        return False


def _data(read: Any, status: str) -> Mapping[str, Any]:
    """What the envelope holds; nothing when it is none."""
    if not isinstance(read, dict) or set(read) != {"status", "message", "data"} or read["status"] != status:
        return {}
    return read["data"] if isinstance(read["data"], dict) and isinstance(read["message"], str) else {}


def _is_openai_error(read: Any) -> bool:
    error = read.get("error") if isinstance(read, dict) else None
    return isinstance(error, dict) and {"message", "type", "param", "code"} <= set(error)
