"""The `llmops` command as a person runs it: a process, its words, its exit code."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer
from typer.core import TyperOption

from llmops_cli.main import app
from llmops_cli.supervision import processes
from llmops_cli.supervision.dagster_home import dagster_database_name, with_database, write_dagster_home
from llmops_resources import postgres
from llmops_resources.settings import Settings


def llmops(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "LLMOPS_HOME": str(home), "COLUMNS": "200", **environment}
    return subprocess.run(
        [sys.executable, "-m", "llmops_cli.main", *arguments],
        env=known,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_the_version_is_that_of_the_installed_package(tmp_path: Path) -> None:
    assert llmops(tmp_path, "version").stdout.strip() == version("llmops")


def test_status_of_nothing_exits_with_three_and_says_how_to_start(tmp_path: Path) -> None:
    told = llmops(tmp_path, "status")
    assert told.returncode == 3
    assert "llmops up" in told.stderr
    as_json = llmops(tmp_path, "status", "--json")
    assert as_json.returncode == 3
    assert json.loads(as_json.stdout)["running"] is False


def test_down_with_nothing_running_is_no_error(tmp_path: Path) -> None:
    told = llmops(tmp_path / "home", "down")
    assert told.returncode == 0
    assert "Nothing was running" in told.stdout


def test_a_port_in_use_is_named_with_its_owner_and_the_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = llmops(tmp_path, "up", API_PORT=str(taken.getsockname()[1]))
    assert told.returncode == 1
    assert "in use" in told.stderr
    assert str(os.getpid()) in told.stderr
    assert "API_PORT" in told.stderr
    assert not (tmp_path / "postgres").exists()


def test_local_identity_on_a_public_address_is_refused(tmp_path: Path) -> None:
    told = llmops(tmp_path, "up", API_HOST="0.0.0.0")  # noqa: S104 - it is refused
    assert told.returncode == 1
    assert "API_HOST=127.0.0.1" in told.stderr


def test_nothing_that_the_platform_starts_listens_to_other_machines() -> None:
    for each in processes.platform_processes(Settings(_env_file=None)):
        hosts = {each.command[index + 1] for index, word in enumerate(each.command) if word in {"-h", "--host"}}
        assert hosts <= {"127.0.0.1"}, each.name
        assert bool(hosts) == (each.name in {"code-server", "webserver"}), each.name  # the API has API_HOST


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    told = llmops(tmp_path, "status", API_PORT="eighty")
    assert told.returncode == 1
    assert "API_PORT" in told.stderr


def test_room_commands_without_a_platform_say_how_to_start_it(tmp_path: Path) -> None:
    told = llmops(tmp_path, "models", "list", API_PORT="9")
    assert told.returncode == 3
    assert "llmops up" in told.stderr


def test_every_command_explains_itself_and_what_it_takes(tmp_path: Path) -> None:
    assert "Usage" in llmops(tmp_path, "--help").stdout
    unexplained = []
    for words, command in _commands(typer.main.get_command(app)):
        command.get_help(click.Context(command, info_name=" ".join(("llmops", *words))))
        nameless = [each.name for each in command.params if isinstance(each, TyperOption) and not each.help]
        unexplained += [f"{' '.join(words)} {name}" for name in ([] if command.help else ["(what it does)"]) + nameless]
    assert unexplained == []


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    for name, part in getattr(command, "commands", {}).items():
        yield from _commands(part, (*words, name))


def test_hyperparameters_that_are_not_json_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    told = llmops(tmp_path, "training", "submit", "finetune", "x", "y", "--hyperparameters", "{", API_PORT="9")
    assert told.returncode in {1, 3}
    assert told.stderr


@pytest.mark.slow
def test_db_upgrade_makes_the_schema_and_stops_the_server_it_started(tmp_path: Path) -> None:
    told = llmops(tmp_path, "db", "upgrade")
    assert told.returncode == 0, told.stderr
    assert "revision" in told.stdout
    assert not postgres.is_running(tmp_path / "postgres")
    assert llmops(tmp_path, "db", "upgrade").stdout == told.stdout


@pytest.mark.slow
def test_dagster_reads_the_configuration_we_write_for_it(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    try:
        url = postgres.start(data)
        folder = tmp_path / "dagster"
        write_dagster_home(
            folder,
            database_url=with_database(url, "dagster"),
            code_server_port=4266,
            launcher_socket=tmp_path / "launcher.sock",
        )
        assert (folder / "dagster.yaml").stat().st_mode & 0o077 == 0
        program = """
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    print(type(instance.run_coordinator).__name__, type(instance.run_storage).__name__)
    print(type(instance.run_launcher).__name__)
    print(instance.get_settings("telemetry"), instance.run_monitoring_enabled)
"""
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "DAGSTER_HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
    finally:
        postgres.stop(data)
    assert "SyncInMemoryRunCoordinator" in told  # what Dagster calls launching at once, without a queue
    assert "PostgresRunStorage" in told
    assert "ForkingRunLauncher" in told
    assert "{'enabled': False} False" in told


def test_another_database_on_the_same_server_keeps_everything_else_of_the_address() -> None:
    url = "postgresql+psycopg://user:p%40ss@db:5433/prod?sslmode=require"
    assert with_database(url, "x") == "postgresql://user:p%40ss@db:5433/x?sslmode=require"
    assert dagster_database_name(url, embedded=False) == "prod_dagster"
    assert dagster_database_name("postgresql://postgres@/llmops?host=/run", embedded=True) == "dagster"
