"""A judge at a provider, over real HTTP: it reads what it is asked, and judges by a rule that a test chooses."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from llmops_resources.settings import Settings
from tests.loopback import listening

Parts = dict[str, str]
Rule = Callable[[Parts, int], str]


def verdict(right: int, confidence: float = 0.9) -> str:
    """A judgement in the form that is asked for."""
    return json.dumps({"values": {"right": right}, "reason": "as it is", "confidence": confidence})


def honest(parts: Parts, _turn: int) -> str:
    """5 where the answer is the reference, else 1."""
    return verdict(5 if parts["answer"] == parts["reference answer"] else 1)


@dataclass
class JudgeServer:
    """`asked` holds the parts of each question in order; `status` other than 200 is what everybody gets."""

    rule: Rule = honest
    status: int = 200
    delay: float = 0.0
    port: int = 0
    asked: list[Parts] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: Any) -> dict[str, Any]:
        """A chat completion."""
        messages = body["messages"]
        assert [message["role"] for message in messages][:2] == ["system", "user"]
        assert body["temperature"] == 0
        parts = _parts(messages[1]["content"])
        with self._lock:
            self.asked.append(parts)
        time.sleep(self.delay)
        words = self.rule(parts, len(messages) // 2 - 1)
        return {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }


@contextmanager
def running_judge() -> Iterator[JudgeServer]:
    """The server on loopback."""
    judge = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = json.dumps(judge.answer(body) if judge.status == 200 else {"error": {"message": "no"}}).encode()
            self.send_response(judge.status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_words: object) -> None:
            pass

    with listening(Handler) as judge.port:
        yield judge


def _parts(asked: str) -> Parts:
    """What stands between the marks."""
    found = re.match(r"<<([0-9a-f]{24}) ", asked)
    assert found is not None, asked
    pattern = rf"<<{found[1]} ([a-z ]+)>>\n(.*?)\n<<{found[1]} end of \1>>"
    return dict(re.findall(pattern, asked, re.DOTALL))


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with running_judge() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, server: JudgeServer) -> Settings:
    """An operator who allows the judge's address, and nothing else inside."""
    return settings.model_copy(update={"outbound_allowed_hosts": (f"127.0.0.1:{server.port}",)})
