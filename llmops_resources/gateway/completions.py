"""What a model server answers: OpenAI's shapes, read narrowly. Whatever does not fit is the server's fault."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from llmops_resources.errors import InvalidInput, PlatformError, TooManyRequests, Unavailable, UpstreamFailed

#: Tokens are booked into 32-bit columns; a server that claims more is not believed.
MOST_TOKENS = 2**31 - 1
_BYTES_PER_TOKEN = 4  # the usual rule of thumb, for calls whose server never told its count


class Tokens(msgspec.Struct, frozen=True):
    """`usage` of an answer."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int = 0


class _Message(msgspec.Struct):
    content: str | None
    role: str = "assistant"


class _Choice(msgspec.Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    created: int = 0
    usage: Tokens | None = None


class _Passed(msgspec.Struct):
    """The least an OpenAI answer must have to be passed on."""

    choices: list[msgspec.Raw]
    usage: Tokens | None = None


class _Delta(msgspec.Struct):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Delta] | UnsetType = UNSET
    usage: Tokens | None = None
    error: msgspec.Raw | UnsetType = UNSET


class _UpstreamProblem(msgspec.Struct):
    message: str = ""


class _Data(msgspec.Struct):
    choices: list[_Choice]
    usage: Tokens
    model: str
    id: str
    created: int


class _Envelope(msgspec.Struct):
    data: _Data
    status: str = "success"
    message: str = ""


class Counted(msgspec.Struct, frozen=True):
    """Tokens to book, and whether they are our estimate for lack of the server's count."""

    prompt: int
    completion: int
    estimated: bool


_COMPLETION = msgspec.json.Decoder(_Completion)
_PASSED = msgspec.json.Decoder(_Passed)
_CHUNK = msgspec.json.Decoder(_Chunk)
_PROBLEM = msgspec.json.Decoder(dict[str, Any])


def count(usage: Tokens | None, *, prompt_bytes: int, completion: int) -> Counted:
    """The tokens of a call; without the server's count, four bytes of prompt or one piece of answer are a token.

    A server that answered and says it took nothing has not counted.
    """
    uncounted = usage is not None and usage.prompt_tokens <= 0 and usage.completion_tokens <= 0 and completion > 0
    if usage is None or uncounted:
        return Counted(min(-(-prompt_bytes // _BYTES_PER_TOKEN), MOST_TOKENS), min(completion, MOST_TOKENS), True)
    return Counted(_within(usage.prompt_tokens), _within(usage.completion_tokens), False)


def enveloped(body: bytes, route: str) -> tuple[bytes, Tokens | None, int]:
    """A chat completion in the platform's envelope, its usage, and the characters of its answer.

    Raises UpstreamFailed when the body is not a chat completion.
    """
    try:
        answer = _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise garbage("the answer is not a chat completion") from error
    usage = answer.usage or Tokens(0)
    total = Tokens(usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens)
    data = _Data(answer.choices, total, route, answer.id, answer.created)
    characters = 0
    for choice in answer.choices:
        characters += len(choice.message.content or "")
    return msgspec.json.encode(_Envelope(data)), answer.usage, characters


def passed_on(body: bytes) -> Tokens | None:
    """The usage of an OpenAI answer whose bytes are passed on. Raises UpstreamFailed when it is not one."""
    try:
        return _PASSED.decode(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise garbage("the answer is not a completion") from error


class ChunkFacts(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a streamed chunk."""

    usage: Tokens | None
    pieces: int
    finished: bool

    @property
    def is_usage_only(self) -> bool:
        return self.usage is not None and not self.pieces and not self.finished


def chunk_facts(data: bytes) -> ChunkFacts:
    """Read one streamed chunk. Raises UpstreamFailed for garbage, and for an error the server streams instead."""
    try:
        chunk = _CHUNK.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise garbage("a streamed chunk is not a completion chunk") from error
    if chunk.error is not UNSET or chunk.choices is UNSET:
        raise UpstreamFailed("the model server gave up in the middle of its answer", remedy="Send the request again.")
    finished = sum(choice.finish_reason is not None for choice in chunk.choices)
    return ChunkFacts(chunk.usage, len(chunk.choices) - finished, finished > 0)


def refusal(status: int, body: bytes) -> PlatformError:
    """What a model server's HTTP error means to our client.

    Only a complaint about the request is repeated to the client; a server's other errors may name its insides.
    """
    if status in {400, 413, 422}:
        remedy = "Lower max_tokens, or send a shorter conversation."
        return InvalidInput(f"the model refuses the request: {_complaint(body)}", remedy=remedy)
    if status == 429:
        return TooManyRequests("the model server is busy", retry_after=1.0, remedy="Try again in a moment.")
    if status == 503:
        return Unavailable("the model server is not ready", remedy="Try again in a moment.")
    return garbage(f"it answered HTTP {status}")


def garbage(what: str) -> UpstreamFailed:
    """The error for an answer that makes no sense."""
    return UpstreamFailed(
        f"the model server is not answering as it should: {what}",
        remedy="Try again; if it stays, look at the endpoint's log and redeploy it.",
    )


def _complaint(body: bytes) -> str:
    try:
        data = _PROBLEM.decode(body)
        error = data.get("error", data)
        message = msgspec.convert(error, _UpstreamProblem).message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        message = ""
    return "".join(c for c in message[:500] if c.isprintable()) or "it does not say why"


def _within(tokens: int) -> int:
    return min(max(tokens, 0), MOST_TOKENS)
