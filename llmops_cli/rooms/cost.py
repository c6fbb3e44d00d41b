"""`llmops cost`: prices, what was spent, budgets, and limits of teams."""

from datetime import datetime
from typing import Annotated

import typer

from llmops_cli.context import Json, Roles, User, open_api
from llmops_cli.output import console, show_json, show_table

app = typer.Typer(help="What calls cost: prices, spending, budgets, limits of teams.", no_args_is_help=True)


@app.command()
def usage(
    by: Annotated[list[str] | None, typer.Option(help="team, route, model or day; repeat it. Else all.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this team.")] = None,
    route: Annotated[str | None, typer.Option(help="Of this route.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time of UTC on.")] = None,
    as_json: Json = False,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Show calls, tokens and money."""
    since_utc = f"{since.isoformat()}Z" if since else None
    with open_api(user, roles) as api:
        found = api.get("/cost/usage", groupBy=by or None, team=team, route=route, since=since_utc)
    if as_json:
        show_json(found)
        return
    names = ("team", "route", "model", "day", "calls", "promptTokens", "completionTokens", "amount", "currency")
    shown = [name for name in names if any(each[name] is not None for each in found)] or names
    show_table([*shown, "unpriced"], [[*(each[name] for name in shown), each["unpriced"]] for each in found])


@app.command()
def price(
    model: Annotated[str, typer.Argument(help="The model's name in the catalog, or its provider's name for it.")],
    prompt: Annotated[str, typer.Option(help="Money for a million tokens of prompt.")],
    completion: Annotated[str, typer.Option(help="Money for a million tokens of answer.")],
    provider: Annotated[str, typer.Option(help="internal for a model of our own.")] = "internal",
    currency: Annotated[str, typer.Option(help="Three letters.")] = "USD",
    user: User = None,
    roles: Roles = None,
) -> None:
    """Set a model's price from now on."""
    body = {"provider": provider, "model": model, "prompt": prompt, "completion": completion, "currency": currency}
    with open_api(user, roles) as api:
        made = api.post("/cost/prices", body)
    console.print(f"{provider} {model} costs {made['prompt']} and {made['completion']} {currency} a million tokens.")


@app.command()
def prices(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List every price, the newest of a model first."""
    with open_api(user, roles) as api:
        found = api.get("/cost/prices")
    if as_json:
        show_json(found)
        return
    names = ("provider", "model", "prompt", "completion", "currency", "validFrom")
    show_table(names, [[each[name] for name in names] for each in found])


@app.command()
def budget(
    team: str,
    amount: Annotated[str, typer.Argument(help="Money a period.")],
    period: Annotated[str, typer.Option(help="day or month, of UTC.")] = "month",
    key: Annotated[str | None, typer.Option(help="Of this API key of the team alone.")] = None,
    currency: Annotated[str, typer.Option(help="Three letters.")] = "USD",
    user: User = None,
    roles: Roles = None,
) -> None:
    """Set a team's budget, or one key's."""
    body = {"team": team, "amount": amount, "period": period, "keyId": key, "currency": currency}
    with open_api(user, roles) as api:
        made = api.post("/governance/budgets", body)
    console.print(f"{team} may spend {made['amount']} {currency} a {period}: {made['id']}", markup=False)


@app.command()
def budgets(as_json: Json = False, user: User = None, roles: Roles = None) -> None:
    """List budgets with what is gone of their present period."""
    with open_api(user, roles) as api:
        found = api.get("/governance/budgets")
    if as_json:
        show_json(found)
        return
    rows = [
        (b["budget"]["id"], b["budget"]["team"], b["budget"]["keyId"] or "all keys", b["budget"]["period"],
         b["budget"]["amount"], b["spent"], b["held"], b["budget"]["currency"])
        for b in found
    ]  # fmt: skip
    show_table(("id", "team", "key", "period", "amount", "spent", "held", "currency"), rows)


@app.command()
def limit(
    team: str,
    requests: Annotated[int | None, typer.Option(help="At most so many calls a minute.", min=1)] = None,
    tokens: Annotated[int | None, typer.Option(help="At most so many tokens a minute.", min=1)] = None,
    user: User = None,
    roles: Roles = None,
) -> None:
    """Set what all keys of a team together may take in a minute; what is left out is without a limit."""
    body = {"requestsPerMinute": requests, "tokensPerMinute": tokens}
    with open_api(user, roles) as api:
        api.replace(f"/governance/team-limits/{team}", body)
    console.print(f"{team}: {requests or 'any'} calls and {tokens or 'any'} tokens a minute", markup=False)
