"""The model thread: continuous batching over slots (Yu et al. 2022, "Orca").

One thread owns the model. Between two tokens it takes waiting requests into free slots and drops those that ended or
whose client went away. The key-value cache of all running requests is one batch, padded on the left: joining pads the
shorter side, leaving drops rows and the columns nobody needs any more. torch is imported when the model is loaded.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_assets.serving.runtime.text import TextStream

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A bit of the answer; the last one says why it ended (`stop`, `length`, or `error`)."""

    text: str
    tokens: int  # generated so far, the end token included
    finish_reason: str | None = None


@dataclass(eq=False)
class Generation:
    """One request on its way through the model. `pieces` is filled on the event loop it was made on."""

    prompt: Sequence[int]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stops: Sequence[str]
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def emit(self, piece: Piece) -> None:
        """Hands a piece to the event loop; nobody minds when that loop has ended."""
        try:
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        except RuntimeError:
            self.cancelled.set()


@dataclass(eq=False)
class _Slot:
    request: Generation
    text: TextStream
    random: Any  # a torch.Generator, or None for greedy decoding
    tokens: int = 0


class Engine:
    """Loads a model folder on its own thread and generates for many requests at once.

    `fail` is called, from that thread, when the model cannot be loaded.
    """

    def __init__(self, folder: Path, slots: int, waiting: int, fail: Callable[[Exception], None]) -> None:
        self._folder, self._free, self._limit, self._fail = folder, slots, waiting, fail
        self._waiting: deque[Generation] = deque()
        self._running: list[_Slot] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.ready = threading.Event()
        self.tokenizer: Any = None
        self.context_length = 0
        self.default_temperature = 1.0
        self.tokens_total = 0
        self.requests_total = 0

    @property
    def running(self) -> int:
        """Requests in slots."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests not yet in a slot."""
        return len(self._waiting)

    def start(self) -> None:
        """Begins to load the model; `ready` is set once it can answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the token it is at; what still runs ends with `error`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(10)

    def submit(self, request: Generation) -> bool:
        """Queues a request. False when the queue is full."""
        with self._wake:
            if self._stopping or len(self._waiting) >= self._limit:
                return False
            self._waiting.append(request)
            self.requests_total += 1
            self._wake.notify()
        return True

    def encode(self, text: str) -> list[int]:
        """Token ids, special tokens in the text included. Safe from any thread."""
        return list(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=True))

    def _run(self) -> None:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001  (whatever the model folder does wrong, somebody must be told)
            self._fail(error)
            return
        self.ready.set()
        while self._take_turn():
            pass
        for request in [*(slot.request for slot in self._running), *self._waiting]:
            request.emit(Piece("", 0, "error"))

    def _load(self) -> None:
        import torch  # noqa: PLC0415  (the server is alive before this is imported)
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        from llmops_assets.serving.runtime.batch import RunningBatch  # noqa: PLC0415

        disable_progress_bar()  # type: ignore[no-untyped-call]
        self.tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            self._folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.context_length = getattr(model.config, "max_position_embeddings", None) or 2048
        configured = model.generation_config
        # A model that was saved for greedy decoding is served so, unless a request asks for more.
        greedy = configured.do_sample is False or configured.temperature == 0
        self.default_temperature = 0.0 if greedy else float(configured.temperature or 1.0)
        ends = configured.eos_token_id
        self._ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}
        self._batch = RunningBatch(model)
        self._batch.warm_up()

    def _take_turn(self) -> bool:
        """Lets requests in and out, then makes one token for each. False when the engine should end."""
        with self._wake:
            while not (self._waiting or self._running or self._stopping):
                self._wake.wait()
            if self._stopping:
                return False
            joining = [self._waiting.popleft() for _ in range(min(self._free, len(self._waiting)))]
        try:
            self._leave([slot for slot in self._running if slot.request.cancelled.is_set()])
            self._join([request for request in joining if not request.cancelled.is_set()])
            if self._running:
                self._advance()
        except Exception:
            # Out of memory, most likely. These requests are lost; the server is not.
            log.exception("a batch of %d requests failed", len(self._running))
            for request in {*(slot.request for slot in self._running), *joining}:
                request.emit(Piece("", 0, "error"))
            self._free += len(self._running)
            self._running = []
            self._batch.clear()
        return True

    def _join(self, requests: Sequence[Generation]) -> None:
        if not requests:
            return
        self._batch.join([request.prompt for request in requests])
        for request in requests:
            random = self._batch.random(request.seed) if request.temperature > 0 else None
            self._running.append(_Slot(request, TextStream(self._decode, request.stops), random))
        self._free -= len(requests)

    def _leave(self, leaving: Sequence[_Slot]) -> None:
        if not leaving:
            return
        kept = [row for row, slot in enumerate(self._running) if slot not in leaving]
        self._batch.keep(kept)
        self._running = [self._running[row] for row in kept]
        self._free += len(leaving)

    def _advance(self) -> None:
        """One token for every running request."""
        tokens = [
            self._batch.choose(row, slot.request.temperature, slot.request.top_p, slot.random)
            for row, slot in enumerate(self._running)
        ]
        ended = [slot for slot, token in zip(self._running, tokens, strict=True) if self._emit(slot, token)]
        kept = [token for slot, token in zip(self._running, tokens, strict=True) if slot not in ended]
        self._leave(ended)
        if self._running:
            self._batch.advance(kept)

    def _emit(self, slot: _Slot, token: int) -> bool:
        """Sends what the token makes visible. Whether the answer ended with it."""
        slot.tokens += 1
        self.tokens_total += 1
        text, reason = "", None
        if token in self._ends:
            reason = "stop"
        else:
            text = slot.text.push(token)
            if slot.text.stopped:
                reason = "stop"
            elif slot.tokens >= slot.request.max_tokens:
                reason = "length"
        if reason:
            text += slot.text.flush()
        if text or reason:
            slot.request.emit(Piece(text, slot.tokens, reason))
        return reason is not None
