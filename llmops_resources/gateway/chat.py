"""What a client may send to the chat API, and what goes to the model server for it.

Shapes and names are OpenAI's chat completions API. The typed decoder is the fast path; only when it refuses a body is
the body looked at field by field, so that the answer can list everything that is wrong with it.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llmops_resources.errors import FieldProblem, InvalidInput, ValidationFailed, field_problem

Text = Annotated[str, Meta(max_length=1_000_000)]
Role = Literal["system", "developer", "user", "assistant"]
StopString = Annotated[str, Meta(min_length=1, max_length=200)]
Stop = StopString | Annotated[list[StopString], Meta(min_length=1, max_length=4)]


#: The field with the values of the route's prompt; it never goes to a model server.
VARIABLES = "promptVariables"
#: Whom an application asks for; and the values, by the names of the prompt's variables.
Person = Annotated[str, Meta(min_length=1, max_length=512)]
PromptVariables = dict[Annotated[str, Meta(max_length=64)], Any]


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One turn of the conversation."""

    role: Role
    content: Text


class ChatRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /llm-ops/v1/serve/{route}/chat`; without messages, the route's prompt says everything."""

    messages: Annotated[list[Message], Meta(max_length=1000)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    max_tokens: Annotated[int, Meta(ge=1, le=4000)] | UnsetType = UNSET
    top_p: Annotated[float, Meta(gt=0, le=1)] | UnsetType = UNSET
    stop: Stop | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | UnsetType = UNSET
    stream: bool = False
    user: Person | UnsetType = UNSET
    prompt_variables: PromptVariables | UnsetType = msgspec.field(default=UNSET, name=VARIABLES)


class _Upstream(msgspec.Struct):
    """The same, as the model server gets it."""

    model: str
    messages: list[Message]
    temperature: float | UnsetType
    max_tokens: int | UnsetType
    max_completion_tokens: int | UnsetType
    top_p: float | UnsetType
    stop: Stop | UnsetType
    seed: int | UnsetType
    stream: bool
    stream_options: dict[str, bool] | UnsetType


class OpenAIRequest(msgspec.Struct):
    """The fields of an OpenAI body that concern the gateway; the rest is the model server's affair."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=8)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    messages: msgspec.Raw | UnsetType = UNSET
    prompt: msgspec.Raw | UnsetType = UNSET
    user: Person | None = None
    prompt_variables: PromptVariables | UnsetType = msgspec.field(default=UNSET, name=VARIABLES)

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage chunk at the end of a stream."""
        return bool((self.stream_options or {}).get("include_usage"))


_CHAT = msgspec.json.Decoder(ChatRequest)
_OPENAI = msgspec.json.Decoder(OpenAIRequest)
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MOST_PROBLEMS = 100

REMEDIES = {
    "messages": 'Send 1 to 1000 messages, each {"role": …, "content": …}.',
    "role": "Use system, developer, user or assistant.",
    "content": "Send the text as a string.",
    "temperature": "Use a number from 0.0 to 2.0.",
    "max_tokens": "Use a whole number from 1 to 4000.",
    "top_p": "Use a number above 0 and up to 1.",
    "stop": "Send a non-empty string, or a list of 1 to 4 of them, each of at most 200 characters.",
    "seed": "Use a whole number from 0 to 2147483647.",
    "stream": "Use true or false.",
    "model": "Name a route, as GET /openai/v1/models lists them.",
    "stream_options": 'Send an object such as {"include_usage": true}.',
    "user": "Send up to 512 characters that name whom you ask for, or leave it out.",
    VARIABLES: 'Send an object such as {"name": "Ada"}: the values of the route\'s prompt.',
    "n": "Use a whole number from 1 to 8.",
    "best_of": "Use a whole number from 1 to 8.",
    "max_completion_tokens": "Use a whole number from 1 to 1000000.",
}


def read_chat(body: bytes) -> ChatRequest:
    """The request in a body.

    Raises InvalidInput when it is not JSON, ValidationFailed with every wrong field when it is not a chat request.
    """
    try:
        request = _CHAT.decode(body)
    except msgspec.ValidationError:
        raise _explained(body, ChatRequest) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from None
    if not request.messages and request.prompt_variables is UNSET:
        raise _wrong([field_problem("messages", "is empty", REMEDIES["messages"])])
    return request


def read_openai(body: bytes) -> OpenAIRequest:
    """The gateway's part of an OpenAI body. Raises as `read_chat` does."""
    try:
        return _OPENAI.decode(body)
    except msgspec.ValidationError:
        raise _explained(body, OpenAIRequest) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from None


def upstream_chat(request: ChatRequest, served_name: str, *, counts_reasoning: bool = False) -> bytes:
    """The body for the model server; usage is always asked for, since every call is booked.

    A server that `counts_reasoning` takes `max_completion_tokens`, OpenAI's newer name: its newer models refuse the
    old one.
    """
    limit = request.max_tokens
    return msgspec.json.encode(
        _Upstream(
            model=served_name,
            messages=request.messages,
            temperature=request.temperature,
            max_tokens=UNSET if counts_reasoning else limit,
            max_completion_tokens=limit if counts_reasoning else UNSET,
            top_p=request.top_p,
            stop=request.stop,
            seed=request.seed,
            stream=request.stream,
            stream_options={"include_usage": True} if request.stream else UNSET,
        )
    )


def upstream_openai(
    body: bytes, request: OpenAIRequest, served_name: str, extra: Mapping[str, int] | None = None
) -> bytes:
    """An OpenAI body for the model server: every field's bytes as they came, but the model's name and the usage.

    `extra` are fields to set beside them.
    """
    fields = _RAW_FIELDS.decode(body)
    fields.update({name: msgspec.Raw(b"%d" % value) for name, value in (extra or {}).items()})
    fields.pop(VARIABLES, None)
    fields["model"] = msgspec.Raw(msgspec.json.encode(served_name))
    if request.stream:
        options = {**(request.stream_options or {}), "include_usage": True}
        fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


def _unreadable(error: Exception) -> InvalidInput:
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return InvalidInput(f"the body is not JSON: {reason}", remedy="Send one JSON object in UTF-8.")


def _explained(body: bytes, shape: type[msgspec.Struct]) -> ValidationFailed:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from None
    if not isinstance(data, dict):
        problems = [field_problem("body", "is not an object", "Send one JSON object.")]
    else:
        problems = list(islice(_problems(data, shape, ""), _MOST_PROBLEMS))
    if not problems:  # a field given twice, of which only the first was wrong
        problems = [field_problem("body", "gives a field twice", "Send every field once.")]
    return _wrong(problems)


def _wrong(problems: list[FieldProblem]) -> ValidationFailed:
    named = ", ".join(problem["path"] for problem in problems[:10])
    return ValidationFailed(f"{len(problems)} field(s) of the request are wrong: {named}", details=problems)


def _problems(data: dict[str, Any], shape: type[msgspec.Struct], prefix: str) -> Iterator[FieldProblem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for name, field in fields.items():
        if name not in data:
            if field.required:
                yield field_problem(prefix + name, "is missing", REMEDIES[name])
        elif name == "messages" and isinstance(data[name], list) and data[name]:
            yield from _message_problems(data[name])
        else:
            try:
                msgspec.convert(data[name], field.type)
            except msgspec.ValidationError as error:
                yield field_problem(prefix + name, _first_sentence(error), REMEDIES[name])
    if shape.__struct_config__.forbid_unknown_fields:
        for name in sorted(data.keys() - fields.keys()):
            known = ", ".join(fields)
            yield field_problem(prefix + name[:100], "is not a known field", f"Leave it out; known are: {known}.")


def _message_problems(messages: list[Any]) -> Iterator[FieldProblem]:
    if len(messages) > 1000:
        yield field_problem("messages", f"has {len(messages)} entries", REMEDIES["messages"])
    for index, message in enumerate(messages[:1000]):
        if isinstance(message, dict):
            yield from _problems(message, Message, f"messages[{index}].")
        else:
            yield field_problem(f"messages[{index}]", "is not an object", REMEDIES["messages"])


def _first_sentence(error: msgspec.ValidationError) -> str:
    return str(error).split(" - at", maxsplit=1)[0].replace("`", "")
