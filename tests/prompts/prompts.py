"""Prompt contents for tests."""

from typing import Any

from llmops_resources.platform import Platform
from llmops_resources.prompts import library
from llmops_resources.prompts.content import MessageRole, MessageTemplate, PromptContent, Variable, VariableType
from llmops_resources.prompts.library import Prompt
from tests.factories import ADMIN, approve

GREETING = "Answer {{ name }} in {{ words }} words.{% for topic in topics %}\n- {{ topic }}{% endfor %}"


def content(text: str, *variables: Variable, system: str = "") -> PromptContent:
    """A prompt of one user message, after a system message if given."""
    messages = [MessageTemplate(role=MessageRole.USER, content=text)]
    if system:
        messages.insert(0, MessageTemplate(role=MessageRole.SYSTEM, content=system))
    return PromptContent(messages=tuple(messages), variables=variables)


def greeting() -> PromptContent:
    """A prompt with a text, a number and an optional list."""
    return content(
        GREETING,
        Variable(name="name", max_length=40),
        Variable(name="words", type=VariableType.INTEGER, required=False, default=50),
        Variable(name="topics", type=VariableType.LIST, required=False),
        system="Be kind.",
    )


def greeting_body(**more: Any) -> dict[str, Any]:
    """The body that creates it over HTTP."""
    return {
        "name": "greeting", "ownerTeam": "support", "metadata": {"purpose": "greets"},
        "content": greeting().json_dict(), **more,
    }  # fmt: skip


def approved_prompt(platform: Platform, name: str, made_of: PromptContent) -> Prompt:
    """The next version of a prompt, approved."""
    with platform.transaction(ADMIN) as tx:
        prompt = library.create(
            tx, name=name, content=made_of, owner_team="support", change_log="other words", metadata={"purpose": "x"}
        )
    approve(platform, prompt.id)
    return prompt
