"""Prompts at the gateway: an immutable snapshot of what each route's calls are made with, and how a call is merged.

What the model gets: one system message, the prompt's text above the client's own; then the prompt's other messages in
their order; then the client's conversation. Where the prompt ends with a user's turn and the conversation begins with
one, the two are one turn, the prompt's text first, since models refuse two in a row. The client's later system
messages stay where they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from llmops_resources.catalog import approvals
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, PlatformError, ValidationFailed, field_problem
from llmops_resources.prompts import bindings, library
from llmops_resources.prompts.content import PromptContent
from llmops_resources.prompts.experiments import assignment, serving
from llmops_resources.prompts.templates import Compiled, RenderedPrompt
from llmops_resources.serving.endpoints import Endpoint

_SYSTEM: Final = frozenset({"system", "developer"})
_KEPT_COMPILED: Final = 512
_NO_LONGER: Final = "is no longer approved"


@dataclass(frozen=True)
class Served:
    """An approved prompt version, ready to render."""

    id: UUID
    name: str
    compiled: Compiled

    def render(self, values: Mapping[str, Any], most: int | None) -> RenderedPrompt:
        """The messages, and defaults that ask for no more than `most` tokens.

        Raises ValidationFailed that names each variable which is missing or refused.
        """
        try:
            return _within(self.compiled.render(values), most)
        except ValidationFailed as error:
            details = [field_problem(_sent_as(each["path"]), each["problem"], each["remedy"]) for each in error.details]
            raise ValidationFailed(f"the prompt {self.name} cannot be filled in", details=details) from error


@dataclass(frozen=True)
class Trial:
    """A running experiment: `shares` by variant, under the allocation of this number."""

    id: UUID
    salt: bytes
    allocation: int
    shares: tuple[tuple[str, float], ...]
    prompts: Mapping[str, Served]


@dataclass(frozen=True)
class Choice:
    """What one call is made with; the last four are of the experiment that chose, if one did."""

    prompt: Served
    experiment_id: UUID | None = None
    variant: str | None = None
    subject: str | None = None
    allocation: int = 0


@dataclass(frozen=True)
class RoutePrompt:
    """What calls are made with: a running experiment decides, or else what is bound. `fault`: why it cannot be."""

    bound: Served | None = None
    trial: Trial | None = None
    fault: str = ""

    def choose(self, user: str) -> Choice | None:
        """The prompt for this user's call, None when calls pass as they are sent.

        Raises Conflict when what is bound may not be used any more.
        """
        if self.trial is not None:
            subject = assignment.subject(self.trial.salt, user)
            variant = assignment.assign(subject, self.trial.shares)
            return Choice(self.trial.prompts[variant], self.trial.id, variant, subject, self.trial.allocation)
        if self.fault:
            remedy = "Bind an approved version to the route, or give the endpoint another promptPolicyId."
            raise Conflict(self.fault, remedy=remedy)
        return Choice(self.bound) if self.bound else None


NO_PROMPT: Final = RoutePrompt()


def load(tx: Transaction) -> dict[str, RoutePrompt]:
    """Every route that has a prompt or an experiment, as the database has it now."""
    found: dict[str, RoutePrompt] = {}
    for binding in bindings.every(tx):
        assert binding.prompt_id is not None  # noqa: S101  only those with a prompt are listed
        what = f"the prompt of {binding.route} ({binding.prompt_name} {binding.prompt_version})"
        live = approvals.is_live(tx, binding.prompt_id, binding.digest or "")
        found[binding.route] = _bound(tx, binding.prompt_id) if live else RoutePrompt(fault=f"{what} {_NO_LONGER}")
    for running in serving.running(tx):
        trial = _trial(tx, running)
        if trial is not None:
            before = found.get(running.route, NO_PROMPT)
            found[running.route] = RoutePrompt(bound=before.bound, trial=trial, fault=before.fault)
    return found


def of_endpoint(tx: Transaction, endpoint: Endpoint) -> RoutePrompt:
    """What an endpoint's calls are made with where its route has neither a binding nor an experiment."""
    if (prompt_id := endpoint.prompt_policy_id) is None:
        return NO_PROMPT
    try:
        approvals.approved_prompt(tx, prompt_id)
    except PlatformError:
        return RoutePrompt(fault=f"the prompt of {endpoint.environment}/{endpoint.route} {_NO_LONGER}")
    return _bound(tx, prompt_id)


def merge(prompt: RenderedPrompt, sent: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation as the model gets it; messages are `{"role", "content"}` and whatever else the client sent."""
    leading = next((at for at, each in enumerate(sent) if not _plain_system(each)), len(sent))
    system = [each.content for each in prompt.messages if each.role == "system"]
    system += [each["content"] for each in sent[:leading]]
    own: list[dict[str, Any]] = [
        {"role": each.role.value, "content": each.content} for each in prompt.messages if each.role != "system"
    ]
    rest = list(sent[leading:])
    if own and rest and own[-1]["role"] == rest[0].get("role") == "user":
        rest[0] = {**rest[0], "content": _joined(own.pop()["content"], rest[0].get("content"))}
    first = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return [*first, *own, *rest]


def _within(prompt: RenderedPrompt, most: int | None) -> RenderedPrompt:
    asked = prompt.defaults.max_tokens
    if most is None or asked is None or asked <= most:
        return prompt
    return prompt.model_copy(update={"defaults": prompt.defaults.model_copy(update={"max_tokens": most})})


def _plain_system(message: dict[str, Any]) -> bool:
    return message.get("role") in _SYSTEM and isinstance(message.get("content"), str)


def _joined(text: str, content: Any) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": text}, *content]
    return f"{text}\n\n{content}" if isinstance(content, str) else content


def _sent_as(path: str) -> str:
    """`values.x` of a rendering is `promptVariables.x` of a call."""
    return "promptVariables" + path.removeprefix("values") if path.startswith("values") else path


def _trial(tx: Transaction, running: serving.Running) -> Trial | None:
    """None when a variant may not be used: then nobody takes part, and the next look ends the experiment."""
    try:
        prompts = {name: _served(tx, prompt_id) for name, prompt_id in running.prompts.items()}
    except (Conflict, NotFound, ValidationFailed):
        return None
    return Trial(running.id, running.salt, running.allocation, tuple(running.shares.items()), prompts)


def _bound(tx: Transaction, prompt_id: UUID) -> RoutePrompt:
    try:
        return RoutePrompt(bound=_served(tx, prompt_id))
    except PlatformError as error:
        return RoutePrompt(fault=error.message)


def _served(tx: Transaction, prompt_id: UUID) -> Served:
    content = library.read_content(tx, prompt_id)
    return Served(prompt_id, f"{content.name} {content.version}", _compiled(content.canonical))


@lru_cache(maxsize=_KEPT_COMPILED)
def _compiled(canonical: str) -> Compiled:
    """Snapshots are read every second; the same content is compiled once."""
    return Compiled(PromptContent.model_validate_json(canonical))
