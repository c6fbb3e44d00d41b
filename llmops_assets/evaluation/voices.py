"""Ways to ask a judge: a provider over HTTP, or a program here that runs the model. Answers are told as they come."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from llmops_assets import programs
from llmops_resources import outbound
from llmops_resources.catalog.providers import Connection
from llmops_resources.errors import (
    InvalidInput,
    PlatformError,
    TooManyRequests,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.gateway.external import refusal

PROGRAM: Final = "llmops_assets.evaluation.replies"
AT_ONCE: Final = 4  # requests to a provider
TRIES: Final = 4
PAUSE: Final = 1.0  # seconds before the second try; doubled before each further one
SECONDS: Final = 120.0  # for one answer
GIVE_UP_AFTER: Final = 8  # failures in a row; the rest would only fail as well
LONGEST_BODY: Final = 4 * 1024**2
_WORTH_TRYING_AGAIN: Final = (TooManyRequests, Unavailable, UpstreamTimeout)


@dataclass(frozen=True)
class Reply:
    """What came back: the text, or why there is none. Tokens are None where nobody counted them."""

    text: str | None
    problem: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


Chats = Mapping[str, list[Message]]
Hear = Callable[[str, Reply], None]


class Voice(Protocol):
    """A judge that can be asked."""

    def ask(self, chats: Chats, hear: Hear) -> None:
        """Ask each chat once, and call `hear` with its name and the reply, on the caller's thread, as they come.

        A chat that nobody could be asked about gets a reply without text; nothing is raised for what a judge does.
        """


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
class Provider:
    """A judge at a provider that speaks OpenAI's protocol, asked at temperature 0."""

    connection: Connection
    allowed_hosts: frozenset[str]
    max_tokens: int
    seed: int

    def ask(self, chats: Chats, hear: Hear) -> None:
        """See `Voice`. After GIVE_UP_AFTER failures in a row the rest is not asked any more."""
        waiting, failures, enough = list(chats.items()), 0, threading.Event()
        with ThreadPoolExecutor(AT_ONCE, "judge") as pool:
            under_way: dict[Future[Reply], str] = {}
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < AT_ONCE and failures < GIVE_UP_AFTER:
                        name, chat = waiting.pop(0)
                        under_way[pool.submit(self._answer, chat, enough)] = name
                    if not under_way:
                        break
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        reply = future.result()
                        failures = 0 if reply.text is not None else failures + 1
                        hear(under_way.pop(future), reply)
            finally:
                enough.set()
        for name, _chat in waiting:
            hear(name, Reply(None, f"not asked: {GIVE_UP_AFTER} requests before it failed one after another"))

    def _answer(self, chat: list[Message], enough: threading.Event) -> Reply:
        pause = PAUSE
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(chat)
            except _WORTH_TRYING_AGAIN as error:
                said = error.told
                if attempt == TRIES or enough.wait(pause):
                    break
                pause *= 2
            except PlatformError as error:
                return Reply(None, error.told)
        return Reply(None, said)

    def _once(self, chat: list[Message]) -> Reply:
        config = self.connection.config
        body = {
            "model": config.model_name,
            "messages": [message.json_dict() for message in chat],
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
        }
        reply = outbound.post_json(
            f"{config.api_base}/chat/completions",
            body,
            allowed_hosts=self.allowed_hosts,
            headers=self.connection.headers(),
            seconds=SECONDS,
            max_bytes=LONGEST_BODY,
        )
        if reply.status != 200:
            raise refusal(reply.status, reply.body, PAUSE)
        try:
            answer = _COMPLETION.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed("its answer is no completion", remedy="Test the connection.") from error
        if not answer.choices:
            raise UpstreamFailed("its answer has no choices", remedy="Test the connection.")
        usage = answer.usage or _Usage()
        return Reply(answer.choices[0].message.content or "", "", usage.prompt_tokens, usage.completion_tokens)


@dataclass(frozen=True)
class Local:
    """A judge whose files lie in `folder/model`, run by a program of its own."""

    folder: Path
    max_tokens: int
    environment: Mapping[str, str]

    def ask(self, chats: Chats, hear: Hear) -> None:
        """See `Voice`. A program that cannot run the model leaves every chat without an answer, and says why."""
        lines = (
            json.dumps({"name": name, "chat": [each.json_dict() for each in chat]}) for name, chat in chats.items()
        )
        (self.folder / "chats.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        left = set(chats)

        def on_event(event: programs.Event) -> None:
            if event.get("event") == "reply" and event.get("name") in left:
                left.discard(event["name"])
                hear(event["name"], Reply(event["text"], event["problem"], event["inputTokens"], event["outputTokens"]))

        why = "its program ended without an answer"
        try:
            programs.run(
                PROGRAM,
                self.folder,
                environment={**self.environment, "MAX_TOKENS": str(self.max_tokens)},
                on_event=on_event,
                should_stop=lambda: False,
            )
        except (InvalidInput, UpstreamFailed) as error:
            why = error.told
        for name in sorted(left):
            hear(name, Reply(None, why))


def elapsed(began: float) -> float:
    """Seconds since, to the thousandth."""
    return round(time.monotonic() - began, 3)
