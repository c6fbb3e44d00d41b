"""Personal data in what is sent to a model and in what it answers, masked by the recognizers of the data checks.

In a stream the last characters are held back until enough has followed that nothing personal can begin in what is let
go: whatever is at most HELD characters long is found whole.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from llmops_resources.errors import UpstreamFailed

HELD: Final = 128
#: What was let go stays as context: the words before a number say what it is.
CONTEXT: Final = 64
#: Nothing personal is this long; held text is let go at the end of a hit rather than for ever.
_LONGEST: Final = 4096
_AS_IS: Final = frozenset({"role", "type", "id", "name", "index", "finish_reason"})

Spans = Callable[[str], list[tuple[int, int, str]]]


class Masker:
    """Finds and masks; `load` makes the finder when it is first needed, which takes seconds.

    Everything runs in one thread of its own: the finder is not made for several, and the event loop must not wait.
    """

    def __init__(self, load: Callable[[], Spans]) -> None:
        self._load = load
        self._find: Spans | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="masking")

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[Callable[[str], str]], Any]) -> Any:
        """`work`, given the function that masks a text, in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self._mask))

    async def spans(self, text: str) -> list[tuple[int, int, str]]:
        """Where personal data is, in order and apart: (start, end, type)."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._spans, text)

    async def answer(self, body: bytes) -> bytes:
        """A whole answer with every text of its choices masked. Raises UpstreamFailed when it is no JSON object."""
        return bytes(await self.run(lambda mask: _masked_answer(body, mask)))

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        if self._find is None:
            self._find = self._load()
        return apart(self._find(text))

    def _mask(self, text: str) -> str:
        return replaced(text, self._spans(text)) if text else text


def apart(spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The spans in order, those that overlap joined into one of the first one's type."""
    joined: list[tuple[int, int, str]] = []
    for start, end, entity in sorted(spans, key=lambda span: (span[0], -span[1])):
        if joined and start < joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], end), before[2])
        else:
            joined.append((start, end, entity))
    return joined


def replaced(text: str, spans: list[tuple[int, int, str]]) -> str:
    """The text with each span, in order and apart, replaced by its type: `<EMAIL_ADDRESS>`."""
    parts, at = [], 0
    for start, end, entity in spans:
        parts += [text[at:start], f"<{entity}>"]
        at = end
    return "".join([*parts, text[at:]])


@dataclass
class Held:
    """One growing text: what was let go last, as context, and what is held back."""

    context: str = ""
    text: str = ""

    def release(self, find: Spans, *, last: bool) -> str:
        """What may be let go now, masked; everything when it is the `last` of it."""
        known = len(self.context)
        whole = self.context + self.text
        spans = [span for span in apart(find(whole)) if span[1] > known]
        cut = len(whole) if last else max(known, len(whole) - HELD)
        for start, end, _ in spans:
            if start < cut < end or (end == cut and not last):  # it may go on in what follows
                cut = end if end - max(start, known) >= _LONGEST else max(start, known)
                break
        let_go = [(max(start, known) - known, end - known, entity) for start, end, entity in spans if end <= cut]
        told = replaced(whole[known:cut], let_go)
        self.context, self.text = whole[:cut][-CONTEXT:], whole[cut:]
        return told


class StreamMask:
    """Masks the chunks of one stream; every text of every choice is held back on its own."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held: dict[tuple[Any, ...], Held] = {}
        self._shape: dict[str, Any] = {}

    async def feed(self, data: bytes) -> bytes:
        """The chunk with what may be let go of its texts. Raises UpstreamFailed when it is no chunk."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._masker._thread, self._feed, data)  # noqa: SLF001  its own stream

    async def rest(self) -> bytes | None:
        """A chunk with what is still held of choices that never said they had finished."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._masker._thread, self._rest)  # noqa: SLF001

    def _rest(self) -> bytes | None:
        choices: dict[Any, dict[str, Any]] = {}
        for (number, *place), held in self._held.items():
            if told := held.release(self._masker._spans, last=True):  # noqa: SLF001
                _put(choices.setdefault(number, {"index": number, "finish_reason": None}), tuple(place), told)
        self._held.clear()
        return msgspec.json.encode({**self._shape, "choices": list(choices.values())}) if choices else None

    def _feed(self, data: bytes) -> bytes:
        chunk = _object(data)
        self._shape = {name: value for name, value in chunk.items() if name not in {"choices", "usage"}}
        for choice in chunk.get("choices") or []:
            if isinstance(choice, dict):
                self._choice(choice)
        return msgspec.json.encode(chunk)

    def _choice(self, choice: dict[str, Any]) -> None:
        number, last = choice.get("index", 0), choice.get("finish_reason") is not None
        choice.pop("logprobs", None)  # they repeat the text, token by token
        for place, holder, name in _texts(choice):
            held = self._held.setdefault((number, *place), Held())
            held.text += holder[name]
            holder[name] = held.release(self._masker._spans, last=last)  # noqa: SLF001
        if last:
            for key in [key for key in self._held if key[0] == number]:
                rest = self._held.pop(key).release(self._masker._spans, last=True)  # noqa: SLF001
                if rest:
                    _put(choice, key[1:], rest)


def _texts(choice: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str]]:
    """Every text of a streamed choice: its place, and the object and name under which it is."""
    if isinstance(choice.get("text"), str):
        yield ("text",), choice, "text"
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    for name, value in delta.items():
        if isinstance(value, str) and name not in _AS_IS:
            yield ("delta", name), delta, name
    for number, tool in enumerate(delta.get("tool_calls") or []):
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            yield ("tool", tool.get("index", number)), function, "arguments"


def _put(choice: dict[str, Any], place: tuple[Any, ...], rest: str) -> None:
    """Add the rest of a text to the last chunk of its choice."""
    if place == ("text",):
        choice["text"] = (choice.get("text") or "") + rest
        return
    delta = choice.setdefault("delta", {})
    if place[0] == "delta":
        delta[place[1]] = (delta.get(place[1]) or "") + rest
    else:
        calls = delta.setdefault("tool_calls", [])
        calls.append({"index": place[1], "function": {"arguments": rest}})


def _masked_answer(body: bytes, mask: Callable[[str], str]) -> bytes:
    answer = _object(body)
    for choice in answer.get("choices") or []:
        if isinstance(choice, dict):
            choice.pop("logprobs", None)
            choice.update(_masked(choice, mask))
    return msgspec.json.encode(answer)


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked(part, mask) for part in value]
    if isinstance(value, dict):
        return {name: part if name in _AS_IS else _masked(part, mask) for name, part in value.items()}
    return value


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UpstreamFailed("the answer cannot be looked through for personal data", remedy="Try again.")
    return found
