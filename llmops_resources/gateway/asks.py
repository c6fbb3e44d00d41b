"""What a client asks for, on either surface: the body for whichever model answers, and the most tokens it can take."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from llmops_resources.catalog.providers import Provider
from llmops_resources.errors import InvalidInput, TooLarge, ValidationFailed, field_problem
from llmops_resources.gateway import chat, prompting
from llmops_resources.gateway.chat import ChatRequest, Message, OpenAIRequest, PromptVariables
from llmops_resources.gateway.policies import RoutePolicy
from llmops_resources.gateway.routes import Target
from llmops_resources.prompts.templates import RenderedPrompt

#: Tokens of an answer when neither the client nor the route names a bound; the most that the chat route takes.
USUAL_MOST: Final = 4000
#: What a chat template, or a picture, adds to the bytes of a body at most, in tokens.
_TEMPLATE: Final = 256
_PICTURE: Final = 4096
_BYTES_PER_TOKEN: Final = 4
#: Bytes around the text of a message.
_PER_MESSAGE: Final = 40


class Bounds(msgspec.Struct, frozen=True):
    """Tokens: the most that a call can take, and how many its prompt will have by the usual rule of thumb."""

    prompt: int
    completion: int
    expected_prompt: int


def bounds_of(texts: Iterable[str], most: int) -> Bounds:
    """What a chat of these messages can take when its answer has at most `most` tokens."""
    return _bounds(sum(len(text.encode()) + _PER_MESSAGE for text in texts), most)


def _bounds(size: int, most: int) -> Bounds:
    return Bounds(size + _TEMPLATE, most, -(-size // _BYTES_PER_TOKEN))


class Ask(Protocol):
    """One call, before it is known who answers it."""

    @property
    def path(self) -> str:
        """Where the model server takes it: `/v1/…`."""

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream."""

    @property
    def size(self) -> int:
        """Bytes of what was sent."""

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of one answer, if the client said so."""

    @property
    def user(self) -> str:
        """Whom the client asks for, as it named them; "" when it did not."""

    @property
    def variables(self) -> PromptVariables | UnsetType:
        """The values for the route's prompt."""

    def prompted(self, prompt: RenderedPrompt) -> "Ask":
        """The same with a prompt merged in. Raises InvalidInput where there is no conversation to merge it with."""

    def body(self, target: Target, most: int | None) -> bytes:
        """The body for a model server; `most` holds where the client named no bound."""

    def bounds(self, most: int) -> Bounds:
        """What it can take when one answer has at most `most` tokens."""

    def masked(self, mask: Callable[[str], str]) -> "Ask":
        """The same with every text that a person wrote passed through `mask`."""


class ChatAsk(msgspec.Struct, frozen=True):
    """A call of `POST /llm-ops/v1/serve/{route}/chat`."""

    request: ChatRequest
    size: int
    path: str = "/v1/chat/completions"

    @property
    def streamed(self) -> bool:
        return self.request.stream

    @property
    def max_tokens(self) -> int | None:
        return None if self.request.max_tokens is UNSET else self.request.max_tokens

    @property
    def user(self) -> str:
        return "" if self.request.user is UNSET else self.request.user

    @property
    def variables(self) -> PromptVariables | UnsetType:
        return self.request.prompt_variables

    def prompted(self, prompt: RenderedPrompt) -> "ChatAsk":
        request, defaults = self.request, prompt.defaults
        sent = [{"role": each.role, "content": each.content} for each in request.messages]
        merged = [Message(**each) for each in prompting.merge(prompt, sent)]
        changed = msgspec.structs.replace(
            request,
            messages=merged,
            temperature=_or(request.temperature, defaults.temperature),
            max_tokens=_or(request.max_tokens, defaults.max_tokens),
        )
        return msgspec.structs.replace(self, request=changed, size=self.size + _size(prompt))

    def body(self, target: Target, most: int | None) -> bytes:
        request = self.request
        if most is not None and request.max_tokens is UNSET:
            request = msgspec.structs.replace(request, max_tokens=most)
        return chat.upstream_chat(request, target.served_name, counts_reasoning=_counts_reasoning(target))

    def bounds(self, most: int) -> Bounds:
        return _bounds(self.size, most)

    def masked(self, mask: Callable[[str], str]) -> "ChatAsk":
        messages = [msgspec.structs.replace(each, content=mask(each.content)) for each in self.request.messages]
        changed = msgspec.structs.replace(self.request, messages=messages)
        if self.variables is not UNSET:
            changed = msgspec.structs.replace(changed, prompt_variables=_masked(self.variables, mask))
        return msgspec.structs.replace(self, request=changed)


class OpenAIAsk(msgspec.Struct, frozen=True):
    """A call of OpenAI's routes, whose bytes are passed on."""

    raw: bytes
    request: OpenAIRequest
    path: str
    default_most: int | None = None

    @property
    def streamed(self) -> bool:
        return bool(self.request.stream)

    @property
    def size(self) -> int:
        return len(self.raw)

    @property
    def max_tokens(self) -> int | None:
        named = [most for most in (self.request.max_tokens, self.request.max_completion_tokens) if most is not None]
        return max(named, default=self.default_most)

    @property
    def user(self) -> str:
        return self.request.user or ""

    @property
    def variables(self) -> PromptVariables | UnsetType:
        return self.request.prompt_variables

    def prompted(self, prompt: RenderedPrompt) -> "OpenAIAsk":
        fields, defaults, request = msgspec.json.decode(self.raw), prompt.defaults, self.request
        sent = fields.get("messages")
        if not self.path.endswith("/chat/completions") or not _is_conversation(sent):
            raise InvalidInput(
                "this route has a prompt, which needs a conversation",
                remedy="Send `messages` to /openai/v1/chat/completions.",
            )
        fields["messages"] = prompting.merge(prompt, sent)
        if defaults.temperature is not None:
            fields.setdefault("temperature", defaults.temperature)
        messages = msgspec.Raw(msgspec.json.encode(fields["messages"]))
        changed = msgspec.structs.replace(request, messages=messages)
        raw = msgspec.json.encode(fields)
        return msgspec.structs.replace(self, raw=raw, request=changed, default_most=defaults.max_tokens)

    def body(self, target: Target, most: int | None) -> bytes:
        name = "max_completion_tokens" if _counts_reasoning(target) else "max_tokens"
        most = most if self.default_most is None else self.default_most
        unnamed = self.request.max_tokens is None and self.request.max_completion_tokens is None
        extra = {name: most} if most is not None and unnamed else {}
        return chat.upstream_openai(self.raw, self.request, target.served_name, extra)

    def bounds(self, most: int) -> Bounds:
        answers = max(self.request.n or 1, self.request.best_of or 1) * self._prompts()
        prompt = self.size + _TEMPLATE + _PICTURE * self._pictures()
        return Bounds(prompt, most * answers, -(-self.size // _BYTES_PER_TOKEN))

    def masked(self, mask: Callable[[str], str]) -> "OpenAIAsk":
        fields = msgspec.json.decode(self.raw)
        for name in ("messages", "prompt", "suffix", chat.VARIABLES):
            if name in fields:
                fields[name] = _masked(fields[name], mask)
        request = self.request
        if chat.VARIABLES in fields:
            request = msgspec.structs.replace(request, prompt_variables=fields[chat.VARIABLES])
        return msgspec.structs.replace(self, raw=msgspec.json.encode(fields), request=request)

    def _prompts(self) -> int:
        """Several texts, or lists of tokens, are as many prompts; a list of numbers is one."""
        prompt = msgspec.json.decode(self.request.prompt) if self.request.prompt is not UNSET else None
        return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1

    def _pictures(self) -> int:
        messages = msgspec.json.decode(self.request.messages) if self.request.messages is not UNSET else []
        contents = [each.get("content") for each in messages if isinstance(each, dict)] if _is_list(messages) else []
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return sum(not isinstance(part, dict) or part.get("type") != "text" for part in parts)


def within(ask: Ask, policy: RoutePolicy) -> None:
    """Raises TooLarge or ValidationFailed when a route's policy does not take the call."""
    if policy.max_prompt_bytes is not None and ask.size > policy.max_prompt_bytes:
        raise TooLarge(
            f"the body has {ask.size} bytes, and this route takes {policy.max_prompt_bytes}",
            remedy="Send fewer or shorter messages.",
        )
    if policy.max_tokens is not None and (ask.max_tokens or 0) > policy.max_tokens:
        remedy = f"Use at most {policy.max_tokens} on this route."
        raise ValidationFailed(
            "1 field(s) of the request are wrong: max_tokens",
            details=[field_problem("max_tokens", f"{ask.max_tokens} is more than this route gives", remedy)],
        )


def _counts_reasoning(target: Target) -> bool:
    return target.external is not None and target.external.config.provider is Provider.OPENAI


def _or(given: Any, default: Any) -> Any:
    return default if given is UNSET and default is not None else given


def _size(prompt: RenderedPrompt) -> int:
    """Bytes that a prompt adds to a body, at most."""
    return sum(len(msgspec.json.encode(each.content)) + _PER_MESSAGE for each in prompt.messages)


def _is_conversation(sent: object) -> bool:
    return isinstance(sent, list) and all(isinstance(each, dict) for each in sent)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_KEPT: Final = frozenset({"role", "type", "name", "id", "tool_call_id", "url"})


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked(part, mask) for part in value]
    if isinstance(value, dict):
        return {name: part if name in _KEPT else _masked(part, mask) for name, part in value.items()}
    return value
