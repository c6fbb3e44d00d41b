"""The command line: reads arguments, calls what does the work, turns errors into words and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 something needed is not running.
"""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from llmops_cli import lifecycle
from llmops_cli.api import Refused
from llmops_cli.context import current_settings
from llmops_cli.demo.command import run_demo
from llmops_cli.output import ago, console, show_error, show_json, show_table
from llmops_cli.rooms import (
    chat,
    cost,
    datasets,
    endpoints,
    evaluations,
    experiments,
    external,
    gates,
    governance,
    imports,
    judges,
    keys,
    models,
    prompt_experiments,
    prompts,
    reviews,
    schedules,
    training,
)
from llmops_cli.supervision.state import read_state
from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout

app = typer.Typer(
    help="LLMOps: from a data set to a model in production, on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(datasets.app, name="datasets")
models.app.command("import")(imports.import_model)
app.add_typer(models.app, name="models")
models.app.command("add-external")(external.add_external)
app.add_typer(external.app, name="secrets")
app.add_typer(prompts.app, name="prompts")
prompts.app.add_typer(prompt_experiments.app, name="experiments")
prompts.app.add_typer(prompt_experiments.routes, name="routes")
app.add_typer(training.app, name="training")
app.add_typer(experiments.app, name="experiments")
app.add_typer(evaluations.app, name="evaluations")
app.add_typer(gates.app, name="gates")
app.add_typer(judges.app, name="judges")
app.add_typer(reviews.app, name="reviews")
app.add_typer(schedules.app, name="schedules")
app.add_typer(endpoints.app, name="endpoints")
app.command(name="approvals")(governance.approvals)
app.add_typer(governance.audit, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(cost.app, name="cost")
app.command(name="chat")(chat.chat)

Home = Annotated[Path | None, typer.Option(help="The state folder; LLMOPS_HOME or .llmops when left out.")]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as everything is healthy.")] = False,
    home: Home = None,
) -> None:
    """Start the platform: database, API, Dagster and the endpoints' agent, kept running until stopped."""
    settings = current_settings(home)
    if detach:
        state = lifecycle.start_detached(settings)
        console.print(f"The platform is up: {state.console_url}")
    elif not lifecycle.run_in_foreground(settings):
        state_now = read_state(settings.home)
        where = f": {state_now.console_url}" if state_now else ""
        console.print(f"The platform is already running on {settings.home}{where}")


@app.command()
def down(home: Home = None) -> None:
    """Stop the platform, everything it started, and what an earlier supervisor may have left."""
    settings = current_settings(home)
    stopped = lifecycle.stop(settings)
    console.print("The platform is stopped." if stopped else f"Nothing was running on {settings.home}.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: Home = None,
) -> None:
    """Show every process: id, uptime, restarts, health, address. Exits with 3 when the platform is not running."""
    settings = current_settings(home)
    state = read_state(settings.home)
    if as_json:
        shown = state.model_copy(update={"database_url": "(hidden)"}).json_dict() if state else {"processes": []}
        show_json({"running": state is not None, "ready": state is not None and state.ready, **shown})
    elif state is not None:
        show_table(
            ("process", "pid", "uptime", "restarts", "health", "address"),
            [(p.name, p.pid, ago(p.started_at), p.restarts, p.health, p.address) for p in state.processes],
        )
    if state is None:
        if not as_json:
            raise Unavailable(f"nothing runs on {settings.home}", remedy="Start it with `llmops up`.")
        raise typer.Exit(3)


@app.command()
def demo(home: Home = None) -> None:
    """Walk the whole way from raw data to a chat, on real data; a second run picks up what is there."""
    run_demo(current_settings(home))


@app.command()
def version() -> None:
    """Print the version."""
    console.print(installed_version("llmops"))


@db.command("upgrade")
def db_upgrade(home: Home = None) -> None:
    """Bring the database to the schema of this version."""
    with lifecycle.database_for_a_moment(current_settings(home)) as url:
        console.print(f"The database is at revision {lifecycle.upgrade(url)}.")


def main() -> None:
    """The entry point of the `llmops` command."""
    try:
        app()
    except Refused as error:
        show_error(error.message, error.remedy, error.details)
        sys.exit(1)
    except PlatformError as error:
        show_error(error.message, error.remedy, error.details)
        sys.exit(3 if isinstance(error, Unavailable | UpstreamFailed | UpstreamTimeout) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
