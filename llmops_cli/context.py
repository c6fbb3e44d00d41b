"""The settings of this invocation, and the client the room commands share."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from llmops_cli.api import Api
from llmops_resources.errors import InvalidInput
from llmops_resources.settings import Settings

User = Annotated[str | None, typer.Option("--user", help="Act as this user (AUTH_MODE=local).")]
Roles = Annotated[str | None, typer.Option("--roles", help="With these roles, comma separated.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def current_settings(home: Path | None = None) -> Settings:
    """The settings from the environment and .env, with another home if given. Raises InvalidInput."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
        raise InvalidInput(f"the settings are wrong: {wrong}", remedy="Correct .env; see env.example.") from error
    return settings if home is None else settings.model_copy(update={"llmops_home": home.expanduser().resolve()})


def open_api(user: str | None = None, roles: str | None = None) -> Api:
    """A client for the API the settings name."""
    return Api(current_settings().console_url, user=user, roles=roles)
