"""From a request's messages or text to the tokens that the model reads."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_assets.serving.runtime import protocol
from llmops_assets.serving.runtime.protocol import ChatBody, ProtocolError

if TYPE_CHECKING:
    from llmops_assets.serving.runtime.loading import Loaded

REMEMBERED = 64  # system prompts whose length in tokens is known


@dataclass(frozen=True)
class Prompt:
    """Token ids; the first `shared` of them are the system prompt's, which many requests begin with."""

    ids: list[int]
    shared: int = 0


@dataclass
class Templates:
    """The model's chat template at work. Not thread-safe.

    Only the system prompt is ever shared between requests, since who may time an answer could otherwise find out
    whether somebody else's conversation began with the same words.
    """

    loaded: "Loaded"
    name: str
    _beginnings: "OrderedDict[str, list[int]]" = field(default_factory=OrderedDict)

    def chat(self, body: ChatBody) -> Prompt:
        """The prompt of a chat. Raises ProtocolError when the model has no template, or it refuses the messages."""
        if not self.loaded.tokenizer.chat_template:
            message = f"{self.name!r} is a base model without a chat template: use /v1/completions"
            raise ProtocolError(400, message, code="no_chat_template")
        messages = protocol.turns(body, list(self.loaded.special))
        try:
            ids = self.loaded.encode(self._render(messages, ask=True))
        except Exception as error:  # the template is the model's own program and may refuse in any way
            message = f"the model's chat template refuses these messages: {error}"
            raise ProtocolError(400, message, code="invalid_messages", param="messages") from error
        return Prompt(ids, self._shared(messages[0], ids))

    def _render(self, messages: list[dict[str, str]], *, ask: bool) -> str:
        rendered: Any = self.loaded.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        return str(rendered)

    def _shared(self, first: dict[str, str], ids: list[int]) -> int:
        """How many tokens of the prompt are its system prompt's and nobody's else."""
        if first["role"] != "system":
            return 0
        beginning = self._beginnings.get(first["content"])
        if beginning is None:
            try:
                beginning = self.loaded.encode(self._render([first], ask=False))
            except Exception:  # noqa: BLE001  a template that wants more than a system prompt
                beginning = []
            self._beginnings[first["content"]] = beginning
            if len(self._beginnings) > REMEMBERED:
                self._beginnings.popitem(last=False)
        # The last token may swallow what follows it in a longer text.
        return len(beginning) if ids[: len(beginning)] == beginning else 0
