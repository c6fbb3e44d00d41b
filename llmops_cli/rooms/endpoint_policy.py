"""`llmops endpoints policy`: how calls to a route are treated."""

from typing import Annotated, Any, Final

import typer

from llmops_cli.api import given
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import show_json, show_table
from llmops_resources.errors import ValidationFailed, field_problem

#: What can be taken away, by its option, as the API names it.
_LIFTED: Final = {
    "fallback": "fallbackRoute",
    "timeout": "timeoutSeconds",
    "max-prompt-bytes": "maxPromptBytes",
    "max-tokens": "maxTokens",
    "cache": "cacheSeconds",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(policy)


def policy(
    route: Annotated[str, typer.Argument(help="The route's name, without an environment: it holds for all of them.")],
    fallback: Annotated[str | None, typer.Option(help="The route that answers when this one cannot.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for a whole call.")] = None,
    max_prompt_bytes: Annotated[int | None, typer.Option(help="The most bytes that a call may send.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens that an answer may have.")] = None,
    mask_input: Annotated[bool | None, typer.Option(help="Mask personal data in what is sent.")] = None,
    mask_output: Annotated[bool | None, typer.Option(help="Mask personal data in answers.")] = None,
    cache: Annotated[int | None, typer.Option(help="Seconds for which equal calls get a remembered answer.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help=f"Take one away: {', '.join(_LIFTED)}. Repeat it for several.")
    ] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show how calls to a route are treated, or change it: what is not named stays."""
    settings = {
        "fallbackRoute": fallback, "timeoutSeconds": timeout, "maxPromptBytes": max_prompt_bytes,
        "maxTokens": max_tokens, "maskInput": mask_input, "maskOutput": mask_output, "cacheSeconds": cache,
    }  # fmt: skip
    changes = given(settings) | _taken_away(without or [])
    path = f"/serving/routes/{route}/policy"
    with open_api(user, roles) as api:
        found = api.patch(path, changes) if changes else api.get(path)
    if as_json:
        show_json(found)
    else:
        show_table(("setting", "value"), [(name, _shown(found[name])) for name in settings])


def _taken_away(names: list[str]) -> dict[str, Any]:
    unknown = [name for name in names if name not in _LIFTED]
    if unknown:
        remedy = f"Use {', '.join(_LIFTED)}."
        details = [field_problem("without", f"{name} is none of them", remedy) for name in unknown]
        raise ValidationFailed("the policy cannot be changed like that", details=details)
    return {_LIFTED[name]: None for name in names}


def _shown(value: Any) -> Any:
    return "no" if value is None or value is False else "yes" if value is True else value
