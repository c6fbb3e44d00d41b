"""The model thread: continuous batching (Yu et al. 2022, "Orca").

One thread owns the model. Between two tokens it takes waiting requests into free slots and drops those that ended or
whose client went away; then one forward pass makes the next token of every running request.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmops_assets.serving.runtime.measures import Measures
from llmops_assets.serving.runtime.requests import Audience, Generation, Likely, Piece
from llmops_assets.serving.runtime.schedule import Schedule
from llmops_assets.serving.runtime.text import TextStream

if TYPE_CHECKING:
    from llmops_assets.decoding import DecodingBatch
    from llmops_assets.serving.runtime.loading import Loaded

READING: Final = 2048  # tokens of prompts between two tokens of the running answers
HUNG: Final = 600.0  # seconds; no step takes that long on a machine that can serve the model at all
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What the engine may use: requests at once, requests that wait, threads (0: all cores) and bytes of memory."""

    slots: int = 32
    queue: int = 256
    threads: int = 0
    memory: int | None = None


@dataclass(eq=False)
class _Row:
    request: Generation
    text: TextStream
    tokens: int = 0
    likely: list[tuple[int, Likely]] = field(default_factory=list)


class Engine:
    """Loads a model folder on its own thread and generates for many requests at once.

    `fail` is called, from that thread, when the model cannot be loaded.
    """

    def __init__(self, folder: Path, digest: str | None, limits: Limits, fail: Callable[[Exception], None]) -> None:
        self._folder, self._digest, self._limits, self._fail = folder, digest, limits, fail
        self._schedule: Schedule[Generation] = Schedule(limits.slots, limits.queue, cache=1, reading=READING)
        self._rows: dict[Generation, _Row] = {}
        self._out: list[tuple[Audience, int, Piece]] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._stepped_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batch: DecodingBatch | None = None
        self.loaded: Loaded | None = None
        self.measures = Measures(lambda: len(self._schedule.running), lambda: self._schedule.waiting)

    def start(self) -> None:
        """Begin to load the model; `loaded` is set once it can answer. Call it on the event loop of the requests."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the token it is at; what still runs ends with `error`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def hung(self) -> bool:
        """Whether there is work and the model has not moved for a long time."""
        return self.loaded is not None and not self._schedule.idle and time.monotonic() - self._stepped_at > HUNG

    def submit(self, group: Sequence[Generation]) -> bool:
        """Queue the answers of one request. False when they do not all fit into the queue."""
        with self._wake:
            if self._stopping or not self._schedule.offer(group):
                self.measures.refused.inc()
                return False
            self._stepped_at = time.monotonic() if not self._rows else self._stepped_at
            self._wake.notify()
        self.measures.asked.inc(len(group))
        return True

    def _run(self) -> None:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001  (whatever the model folder does wrong, somebody must be told)
            self._fail(error)
            return
        while self._take_turn():
            pass
        self._lose(self._schedule.abandon())

    def _load(self) -> None:
        import torch  # noqa: PLC0415  (the server is alive before this is imported)

        from llmops_assets.decoding import DecodingBatch  # noqa: PLC0415
        from llmops_assets.serving.runtime import loading  # noqa: PLC0415

        if self._limits.threads:
            torch.set_num_threads(self._limits.threads)
        loaded = loading.load(self._folder, self._digest)
        self._batch = DecodingBatch(loaded.model)
        self._schedule.cache = loading.cache_columns(loaded.model, self._limits.memory)
        self.loaded = loaded

    def _take_turn(self) -> bool:
        """Lets requests in and out, then makes one token for each. False when the engine should end."""
        with self._wake:
            while self._schedule.idle and not self._stopping:
                self._wake.wait()
            if self._stopping:
                return False
            for request in [request for request in self._schedule.running if request.gone]:
                self._leave(request, "gone")
            joining = self._schedule.admit()
        began = time.monotonic()
        try:
            self._join(joining)
            if self._schedule.running:
                self._step()
        except Exception:
            # Out of memory, most likely. These requests are lost; the server is not.
            log.exception("a batch of %d answers failed", len(self._schedule.running))
            with self._wake:
                lost = list(self._schedule.running)
                self._schedule.running.clear()
            self._lose(lost)
        self._stepped_at = time.monotonic()
        self.measures.step.observe(self._stepped_at - began)
        return True

    def _join(self, joining: Sequence[Generation]) -> None:
        if not joining:
            return
        batch, loaded = self._parts
        hits = batch.prefix_hits
        batch.join([request.prompt for request in joining], [request.shared for request in joining])
        for request in joining:
            self._rows[request] = _Row(request, TextStream(loaded.decode, request.stops))
        self.measures.hits.inc(batch.prefix_hits - hits)
        self.measures.read.inc(sum(request.length for request in joining))

    def _step(self) -> None:
        """One token for every running request: it is sent before the model looks for the next one."""
        from llmops_assets.serving.runtime.sampling import choose, likely  # noqa: PLC0415

        batch, _ = self._parts
        running = list(self._schedule.running)
        tokens = choose(batch.logits, [request.sampling for request in running])
        for index, (request, token) in enumerate(zip(running, tokens, strict=True)):
            if request.logprobs is not None:
                self._rows[request].likely.append((token, likely(batch.logits[index], token, request.logprobs)))
        reasons = [self._take(request, token) for request, token in zip(running, tokens, strict=True)]
        self._hand_out()
        self.measures.made.inc(len(tokens))
        chosen = dict(zip(running, tokens, strict=True))
        with self._wake:
            for request, reason in zip(running, reasons, strict=True):
                if reason:
                    self._leave(request, reason)
        if self._schedule.running:
            batch.advance([chosen[request] for request in self._schedule.running])

    def _take(self, request: Generation, token: int) -> str | None:
        """Queue what a token makes visible. Why the answer ended with it, if it did."""
        row = self._rows[request]
        _, loaded = self._parts
        if not row.tokens:
            self.measures.first.observe(time.monotonic() - request.asked_at)
        row.tokens += 1
        text, reason = "", None
        if token in loaded.ends or token in request.ends:
            reason, row.likely = "stop", row.likely[:-1]
        else:
            text = row.text.push(token)
            if row.text.stopped:
                reason = "stop"
            elif row.tokens >= request.max_tokens:
                reason = "length"
        if reason:
            text += row.text.flush()
        if text or reason:
            piece = Piece(text, row.tokens, reason, tuple(row.likely))
            row.likely.clear()
            self._out.append((request.audience, request.index, piece))
        return reason

    def _leave(self, request: Generation, reason: str) -> None:
        """Free the request's row. The lock is held."""
        batch, _ = self._parts
        batch.leave(self._schedule.end(request))
        del self._rows[request]
        self.measures.ended.labels(reason).inc()
        self.measures.whole.observe(time.monotonic() - request.asked_at)

    def _lose(self, requests: Sequence[Generation]) -> None:
        batch, _ = self._parts
        batch.clear()
        self._rows.clear()
        for request in requests:
            self._out.append((request.audience, request.index, Piece("", 0, "error")))
            self.measures.ended.labels("error").inc()
        self._hand_out()

    def _hand_out(self) -> None:
        """Everything of this turn goes to the event loop in one go."""
        assert self._loop is not None  # noqa: S101  (the thread was started on it)
        out, self._out = self._out, []
        if out:
            try:
                self._loop.call_soon_threadsafe(_deliver, out)
            except RuntimeError:  # the loop has ended, and everybody with it
                for audience, _, _ in out:
                    audience.gone = True

    @property
    def _parts(self) -> "tuple[DecodingBatch, Loaded]":
        assert self._batch is not None and self.loaded is not None  # noqa: S101, PT018  (set before the first turn)
        return self._batch, self.loaded


def _deliver(out: Sequence[tuple[Audience, int, Piece]]) -> None:
    for audience, index, piece in out:
        audience.pieces.put_nowait((index, piece))
