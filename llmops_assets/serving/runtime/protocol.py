"""OpenAI's shapes: request bodies in, answers, chunks and errors out. Pure, apart from the clock and fresh ids.

What this server cannot do is refused by name, never ignored: a caller who asked for it must not believe it happened.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from llmops_assets.serving.runtime.requests import Likely
from llmops_assets.serving.runtime.text import UNDECODED

# What official clients may send that changes nothing here, with the values for which that is true.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
MOST_CHOICES = 16
_LABELS = {"user", "metadata", "safety_identifier", "prompt_cache_key"}  # say who asks; they never change an answer

Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ProtocolError(Exception):
    """An error in OpenAI's shape. `param` is the field at fault, `code` is for programs."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Part(_Strict):
    type: Literal["text"]
    text: str


class _Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _StreamOptions(_Strict):
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] = []
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @field_validator("top_p", "stop", "stream", "n", mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def stops(self) -> list[str]:
        """The stop strings, however they were given."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream should end with a chunk that tells the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatBody(_Body):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def wants_logprobs(self) -> int | None:
        """How many alternatives to tell of each token; None: not even its own log probability."""
        if self.top_logprobs is not None and not self.logprobs:
            raise ProtocolError(400, "top_logprobs needs logprobs=true", code="invalid_value", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def limit(self) -> int | None:
        """The most tokens of the answer, under its new or its old name."""
        return self.max_completion_tokens or self.max_tokens


class CompletionBody(_Body):
    """The body of `/v1/completions`; one prompt a request, as text."""

    prompt: str

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_prompt(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    @property
    def wants_logprobs(self) -> int | None:
        """Only chats tell log probabilities."""
        return None

    @property
    def limit(self) -> int | None:
        """The most tokens of the answer."""
        return self.max_tokens


B = TypeVar("B", bound=_Body)


def read_chat(raw: bytes) -> ChatBody:
    """The chat request in `raw`, or a ProtocolError that names the field."""
    return _read(raw, ChatBody)


def read_completion(raw: bytes) -> CompletionBody:
    """The completion request in `raw`, or a ProtocolError that names the field."""
    return _read(raw, CompletionBody)


def turns(body: ChatBody, special: Sequence[str]) -> list[dict[str, str]]:
    """The messages for the chat template.

    What looks like one of the model's control tokens is broken up, so that nobody can forge a turn from inside a text.
    """
    roles = {"developer": "system"}
    messages = [(roles.get(message.role, message.role), message.text) for message in body.messages]
    return [{"role": role, "content": defuse(text, special)} for role, text in messages]


def defuse(text: str, special: Sequence[str]) -> str:
    """`text` with a space after the first character of every special token in it."""
    for token in sorted(filter(None, special), key=len, reverse=True):
        text = text.replace(token, f"{token[:1]} {token[1:]}")
    return text


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Token counts; the completion's include the token that ended it."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def heading(chat: bool, model: str, *, stream: bool) -> dict[str, Any]:
    """What an answer and all chunks of a stream have in common."""
    kind = ("chat.completion.chunk" if stream else "chat.completion") if chat else "text_completion"
    prefix = "chatcmpl" if chat else "cmpl"
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def choice(chat: bool, index: int, text: str, reason: str | None, logprobs: Any = None) -> dict[str, Any]:
    """One choice of a whole answer."""
    content = {"message": {"role": "assistant", "content": text, "refusal": None}} if chat else {"text": text}
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": reason}


def chunk_choice(
    chat: bool, index: int, text: str, reason: str | None, logprobs: Any = None, *, first: bool = False
) -> dict[str, Any]:
    """The one choice of a chunk; the first chunk of a chat's answer carries the role."""
    delta = ({"role": "assistant"} if first else {}) | ({"content": text} if text or first else {})
    content = {"delta": delta} if chat else {"text": text}
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": reason}


def logprobs(spell: Callable[[int], str], found: Sequence[tuple[int, Likely]]) -> dict[str, Any]:
    """The log probabilities of tokens; `spell` gives the text of one. Bytes are told only where they are a text."""

    def entry(token: int, score: float) -> dict[str, Any]:
        text = spell(token)
        return {"token": text, "logprob": score, "bytes": None if UNDECODED in text else list(text.encode())}

    return {
        "content": [
            entry(token, of.chosen) | {"top_logprobs": [entry(*each) for each in of.top]} for token, of in found
        ],
        "refusal": None,
    }


def _read(raw: bytes, shape: type[B]) -> B:
    try:
        data = json.loads(raw)
        # A lone surrogate is valid JSON and no text: no tokenizer can read it.
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ProtocolError(400, f"the body is not valid JSON in UTF-8: {error}", code="invalid_json") from error
    if not isinstance(data, dict):
        raise ProtocolError(400, "the body must be a JSON object", code="invalid_type")
    _refuse_unsupported(data, set(shape.model_fields))
    try:
        return shape.model_validate({name: value for name, value in data.items() if name in shape.model_fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise ProtocolError(400, f"{param}: {first['msg']}", code=code, param=param) from error


def _refuse_unsupported(data: Mapping[str, Any], known: set[str]) -> None:
    for name, value in data.items():
        if name in known or name in _LABELS or value is None:
            continue
        allowed = _NEUTRAL.get(name, ())
        if not any(value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in allowed):
            only = f"; only {json.dumps(allowed[0])} is" if allowed else ""
            message = f"{name}={json.dumps(value)[:100]} is not supported by this server{only}"
            raise ProtocolError(400, message, code="unsupported_parameter", param=name)
