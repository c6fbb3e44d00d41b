"""`llmops models add-external` and `llmops secrets rotate`."""

import sys
from typing import Annotated

import typer

from llmops_cli import lifecycle
from llmops_cli.context import Roles, User, current_settings, open_api
from llmops_cli.output import console
from llmops_resources.catalog import secrets
from llmops_resources.database import Actor
from llmops_resources.platform import open_platform

app = typer.Typer(help="Secrets at rest.", no_args_is_help=True)


def add_external(
    name: Annotated[str, typer.Argument(help="Its name in the catalog.")],
    provider: Annotated[str, typer.Option(help="openai, ollama or openai_compatible.")],
    model: Annotated[str, typer.Option(help="What the provider calls it, such as gpt-4o.")],
    team: Annotated[str, typer.Option(help="The owner team.")],
    endpoint: Annotated[str | None, typer.Option(help="The provider's address; OpenAI's own when left out.")] = None,
    organisation: Annotated[str | None, typer.Option(help="The organisation's id at OpenAI.")] = None,
    version: Annotated[str, typer.Option(help="Its version in the catalog.")] = "1",
    purpose: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[str, typer.Option(help="Where it may and may not be used.")] = "",
    contact: Annotated[str, typer.Option(help="Whom to ask.")] = "",
    licence: Annotated[str, typer.Option("--license", help="The terms it is used under.")] = "",
    user: User = None,
    roles: Roles = None,
) -> None:
    """Register a model that runs at a provider. The API key is asked for, or read from standard input."""
    card = {"purpose": purpose, "scope": scope, "contact": contact, "license": licence}
    config = {"provider": provider, "modelName": model, "endpoint": endpoint, "organisation": organisation}
    body = {
        "name": name, "version": version, "type": "external", "ownerTeam": team,
        "metadata": {field: text for field, text in card.items() if text},
        "provider": {**config, "apiKey": _api_key() or None},
    }  # fmt: skip
    with open_api(user, roles) as api:
        entry = api.post("/catalog/models", body)
        console.print(f"{entry['name']} {entry['version']} is {entry['status']}, id {entry['id']}.")
        report = api.post(f"/catalog/models/{entry['id']}/test-connection")
    console.print("The provider answers." if report["modelListed"] else f"Connection: {report['detail']}.")


@app.command()
def rotate() -> None:
    """Encrypt every secret under a new key; safe to repeat, and to kill.

    A key kept in the home is replaced by a new one. For a key of the environment, set SECRETS_KEY to the new key and
    SECRETS_KEY_PREVIOUS to the old one, restart the platform, run this, and take SECRETS_KEY_PREVIOUS away again.
    """
    settings = current_settings()
    with lifecycle.database_for_a_moment(settings) as url:
        known = settings.model_copy(update={"database_url": url})
        with open_platform(known, application="llmops secrets rotate") as platform:
            count = secrets.rotate(lambda: platform.transaction(Actor("system:secrets-rotate")), settings)
    console.print(f"{count} secret(s) are encrypted under the new key.")


def _api_key() -> str:
    """A key given as an argument would stay in the shell's history and in the list of processes."""
    if sys.stdin.isatty():
        return str(typer.prompt("API key (empty for none)", default="", hide_input=True, show_default=False)).strip()
    return sys.stdin.readline().strip()
