"""`llmops chat ROUTE`: talk to a model that is deployed."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from llmops_cli.api import Api
from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json

Messages = Sequence[dict[str, str]]


def chat(
    route: Annotated[str, typer.Argument(help="The route of an endpoint.")],
    message: Annotated[str | None, typer.Option("--message", "-m", help="Say one thing and leave.")] = None,
    max_tokens: Annotated[int, typer.Option(help="The most tokens of an answer.", min=1, max=4000)] = 64,
    temperature: Annotated[float, typer.Option(help="0 for the likeliest words.", min=0.0, max=2.0)] = 0.0,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Chat with a deployed model; without --message it goes on until an empty line or Ctrl-D."""
    with open_api(user, roles) as api:
        options = {"max_tokens": max_tokens, "temperature": temperature}
        if message is not None and as_json:
            show_json(ask(api, route, [{"role": "user", "content": message}], **options))
            return
        history: list[dict[str, str]] = []
        for said in [message] if message is not None else iter(_prompt, ""):
            history.append({"role": "user", "content": said})
            answer = ask_streaming(api, route, history, lambda text: console.print(escape(text), end=""), **options)
            console.print()
            history.append({"role": "assistant", "content": answer})


def ask(api: Api, route: str, messages: Messages, **options: Any) -> Any:
    """One exchange as JSON: `choices` with the message, and `usage`."""
    return api.post(f"/serve/{route}/chat", {"messages": list(messages), **options})


def ask_streaming(api: Api, route: str, messages: Messages, show: Callable[[str], None], **options: Any) -> str:
    """One exchange as a stream; `show` gets every piece of text as it comes. The whole answer."""
    said: list[str] = []
    for event in api.stream(f"/serve/{route}/chat", {"messages": list(messages), "stream": True, **options}):
        for choice in event.get("choices", ()):
            if text := choice.get("delta", {}).get("content"):
                said.append(text)
                show(text)
    return "".join(said)


def _prompt() -> str:
    try:
        return console.input("[bold]you>[/] ").strip()
    except EOFError:
        return ""
