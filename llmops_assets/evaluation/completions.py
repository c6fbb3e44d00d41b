"""Asking a model server many things over HTTP: some at once, again after a while, and no faster than it allows."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from llmops_resources import outbound
from llmops_resources.catalog.providers import Connection
from llmops_resources.errors import PlatformError, TooManyRequests, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.gateway.external import refusal
from llmops_resources.values import utc_now

TRIES: Final = 5
PAUSE: Final = 1.0  # seconds before the second try; doubled before each further one
SECONDS: Final = 120.0  # for one answer
GIVE_UP_AFTER: Final = 8  # failures in a row; the rest would only fail as well
LONGEST_BODY: Final = 4 * 1024**2
_WORTH_TRYING_AGAIN: Final = (TooManyRequests, Unavailable, UpstreamTimeout)


@dataclass(frozen=True)
class Reply:
    """What came back: the text, or why there is none. Tokens are None where nobody counted them; `at` it was asked."""

    text: str | None
    problem: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    at: datetime | None = None

    def kept(self) -> list[str | int | None]:
        """The reply as a part of the work that is kept; see `of`."""
        return [self.text, self.input_tokens, self.output_tokens, self.at.isoformat() if self.at else None]

    @classmethod
    def of(cls, part: Sequence[Any]) -> "Reply":
        """The reply that was kept."""
        text, inputs, outputs, at = part
        return cls(str(text), "", inputs, outputs, datetime.fromisoformat(at) if at else None)


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of counts; None where one is missing."""
    known = list(counts)
    return None if None in known else sum(filter(None, known))


Chats = Mapping[str, Sequence[Message]]
Hear = Callable[[str, Reply], None]


class Purse(Protocol):
    """Whoever pays for what is asked."""

    def reserve(self, name: str, chat: Sequence[Message], /) -> None:
        """Set aside what a question can cost. Raises a PlatformError where it may not be asked."""

    def settle(self, name: str, chat: Sequence[Message], reply: Reply, /) -> None:
        """Pay for the reply, and give back the rest."""


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)


@dataclass(frozen=True)
class Server:
    """A model server that speaks OpenAI's protocol; `base` is what `/chat/completions` is appended to."""

    base: str
    model: str
    allowed_hosts: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: Connection, allowed_hosts: frozenset[str]) -> "Server":
        """A provider's server."""
        config = connection.config
        return cls(config.api_base, config.model_name, allowed_hosts, connection.headers())

    def is_told_in(self, body: bytes) -> bool:
        """Whether an answer holds the key it was asked with, which must go nowhere."""
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        return bool(scheme and key) and key.encode() in body


class Asking:
    """Questions to one server, at temperature 0. Being told to wait holds back everything that is not under way."""

    def __init__(self, server: Server, purse: Purse, *, max_tokens: int, seed: int, at_once: int) -> None:
        self._server, self._purse, self._max_tokens = server, purse, max_tokens
        self._seed, self._at_once = seed, at_once
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0

    def ask(self, chats: Chats, hear: Hear) -> None:
        """Ask each chat once, and call `hear` with its name and the reply, on the caller's thread, as they come.

        Nothing is raised for what the server does: a chat that nobody could be asked about gets a reply without text.
        After GIVE_UP_AFTER failures in a row the rest is not asked any more. A chat that cannot be paid for waits for
        those under way, which may give something back; if it cannot be even then, what the purse said is raised.
        """
        self._enough.clear()
        waiting, failures = list(chats.items())[::-1], 0
        with ThreadPoolExecutor(self._at_once, "asking") as pool:
            under_way: dict[Future[Reply], str] = {}
            try:
                while waiting or under_way:
                    if failures < GIVE_UP_AFTER:
                        self._begin(waiting, under_way, pool)
                    if not under_way:
                        break
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        reply, name = future.result(), under_way.pop(future)
                        failures = 0 if reply.text is not None else failures + 1
                        hear(name, reply)
                        self._purse.settle(name, chats[name], reply)
            finally:
                self._enough.set()
        for name, _chat in reversed(waiting):
            hear(name, Reply(None, f"not asked: {GIVE_UP_AFTER} requests before it failed one after another"))

    def _begin(
        self,
        waiting: list[tuple[str, Sequence[Message]]],
        under_way: dict[Future[Reply], str],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Ask as many as may be under way and are paid for. Raises what the purse says when that is none at all."""
        while waiting and len(under_way) < self._at_once:
            name, chat = waiting[-1]
            try:
                self._purse.reserve(name, chat)
            except PlatformError:
                if not under_way:
                    raise
                return
            waiting.pop()
            under_way[pool.submit(self._answer, chat)] = name

    def _answer(self, chat: Sequence[Message]) -> Reply:
        pause, said = PAUSE, ""
        for _ in range(TRIES):
            if not self._in_turn():
                break
            try:
                return self._once(chat)
            except TooManyRequests as error:
                said = error.told
                self._hold_back(max(pause, error.retry_after))
            except _WORTH_TRYING_AGAIN as error:
                said = error.told
                if self._enough.wait(pause):
                    break
            except PlatformError as error:
                return Reply(None, error.told)
            pause *= 2
        return Reply(None, said)

    def _in_turn(self) -> bool:
        """Wait as long as the server asks for, also when it asks for more meanwhile. False: nobody needs an answer."""
        while left := self._left():
            if self._enough.wait(left):
                return False
        return not self._enough.is_set()

    def _left(self) -> float:
        with self._lock:
            return max(0.0, self._not_before - time.monotonic())

    def _hold_back(self, seconds: float) -> None:
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _once(self, chat: Sequence[Message]) -> Reply:
        server, began = self._server, utc_now()
        body = {
            "model": server.model,
            "messages": [message.json_dict() for message in chat],
            "temperature": 0,
            "seed": self._seed,
            "max_tokens": self._max_tokens,
        }
        reply = outbound.post_json(
            f"{server.base}/chat/completions",
            body,
            allowed_hosts=server.allowed_hosts,
            headers=server.headers,
            seconds=SECONDS,
            max_bytes=LONGEST_BODY,
        )
        if reply.status != 200:
            raise refusal(reply.status, reply.body, reply.retry_after or 0.0)
        if server.is_told_in(reply.body):
            raise UpstreamFailed("its answer repeats the platform's key", remedy="Replace the key; ask the provider.")
        try:
            answer = _COMPLETION.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed("its answer is no completion", remedy="Test the connection.") from error
        if not answer.choices:
            raise UpstreamFailed("its answer has no choices", remedy="Test the connection.")
        usage = answer.usage or _Usage()
        text = answer.choices[0].message.content or ""
        return Reply(text, "", usage.prompt_tokens, usage.completion_tokens, began)
