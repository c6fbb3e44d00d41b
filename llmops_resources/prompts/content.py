"""What a prompt version consists of: messages of Jinja text, typed variables, defaults for the model.

The content is named by `sha256:<hex>` of its canonical JSON; approvals name that digest.
"""

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from llmops_resources.values import Value, canonical_json

MAX_MESSAGES = 32
MAX_VARIABLES = 64
#: Characters and lines that all messages of a prompt have together at most.
MAX_TEMPLATE_CHARS = 64_000
MAX_TEMPLATE_LINES = 1_000
#: Characters of a text value, and items of a list, unless the variable says less (or, up to the second figure, more).
DEFAULT_TEXT, LONGEST_TEXT = 10_000, 100_000
DEFAULT_ITEMS, MOST_ITEMS = 100, 1_000


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains the character NUL, which no text may have")
    return text


#: Text that PostgreSQL and JSON can both carry.
Text = Annotated[str, AfterValidator(_storable)]
Scalar = bool | int | float | Text


class MessageRole(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class VariableType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"


class ControlTokens(StrEnum):
    """What happens to a value that carries a model's control tokens, such as `<|im_start|>` or `[INST]`."""

    REFUSE = "refuse"
    NEUTRALISE = "neutralise"
    ALLOW = "allow"


class MessageTemplate(Value):
    """One message; `content` is Jinja."""

    role: MessageRole
    content: Annotated[Text, Field(max_length=MAX_TEMPLATE_CHARS)]


class Variable(Value):
    """A value the template takes. `max_length` counts the characters of a string or the items of a list."""

    name: Annotated[Text, Field(max_length=64)]
    type: VariableType = VariableType.STRING
    required: bool = True
    default: Scalar | tuple[Scalar, ...] | None = None
    description: Annotated[Text, Field(max_length=1_000)] = ""
    max_length: Annotated[int | None, Field(ge=1, le=LONGEST_TEXT)] = None
    control_tokens: ControlTokens = ControlTokens.REFUSE

    @property
    def limit(self) -> int:
        """The maximum length that applies."""
        if self.type is VariableType.LIST:
            return min(self.max_length or DEFAULT_ITEMS, MOST_ITEMS)
        return self.max_length or DEFAULT_TEXT


class PromptDefaults(Value):
    """How the prompt wants to be answered when the caller does not say."""

    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class PromptContent(Value):
    """Everything a reviewer approves."""

    messages: Annotated[tuple[MessageTemplate, ...], Field(min_length=1, max_length=MAX_MESSAGES)]
    variables: Annotated[tuple[Variable, ...], Field(max_length=MAX_VARIABLES)] = ()
    defaults: PromptDefaults = PromptDefaults()

    def canonical(self) -> str:
        """The JSON that is stored and hashed."""
        return canonical_json(self.json_dict()).decode()

    @property
    def digest(self) -> str:
        """The name of this content."""
        return digest_of(self.canonical())


def digest_of(canonical: str) -> str:
    """`sha256:<hex>` of stored canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
