"""A model at a provider, over real HTTP: it answers by a rule, is as slow and as strict as a test wants it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import listening


@dataclass
class AnswerServer:
    """`asked` are the questions that were answered, in order; `busiest` how many were under way at once.

    The first `refusals` requests get a 429 that asks to come back after `retry_after` seconds; `status` other than 200
    is what everybody gets, with the `complaint`. `refused_at` and `answered_at` are when a question last was, in
    seconds of the monotonic clock.
    """

    rule: Callable[[str], str] = lambda question: question
    status: int = 200
    delay: float = 0.0
    refusals: int = 0
    retry_after: int = 1
    counts: bool = True
    complaint: str = "no"
    port: int = 0
    model: str = "answers-1"
    keys: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    refused_at: dict[str, float] = field(default_factory=dict)
    answered_at: dict[str, float] = field(default_factory=dict)
    busiest: int = 0
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: Any) -> tuple[int, dict[str, Any]]:
        """The status, and a chat completion or an error."""
        assert (body["model"], body["temperature"]) == (self.model, 0)
        (message,) = body["messages"]
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            time.sleep(self.delay)
            return self._said(message["content"])
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer, not even somebody who died meanwhile."""
        with self._lock:
            return self._busy == 0

    def _said(self, question: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if self.refusals:
                self.refusals -= 1
                self.refused_at[question] = time.monotonic()
                return 429, {"error": {"message": "slow down"}}
            if self.status != 200:
                return self.status, {"error": {"message": self.complaint, "code": self.complaint}}
            self.asked.append(question)
            self.answered_at[question] = time.monotonic()
        said = {"role": "assistant", "content": self.rule(question)}
        usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}} if self.counts else {}
        return 200, {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], **usage}


@contextmanager
def running_model() -> Iterator[AnswerServer]:
    """The server on loopback."""
    model = AnswerServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            model.keys.add(self.headers.get("Authorization", ""))
            status, found = model.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            said = json.dumps(found).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", str(model.retry_after))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_words: object) -> None:
            pass

    with listening(Handler) as model.port:
        yield model
