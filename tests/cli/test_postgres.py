"""The embedded server: real, started and killed for real."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from llmops_resources import postgres
from llmops_resources.errors import Unavailable
from llmops_resources.platform import database_url
from llmops_resources.settings import Settings


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home" / "postgres"
    postgres.stop(tmp_path / "home" / "postgres")


def answers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_start_gives_both_databases_on_a_unix_socket_only(data: Path) -> None:
    url = postgres.start(data)
    assert answers(url)
    assert answers(postgres.url(data, "dagster"))
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    assert data.stat().st_mode & 0o077 == 0


def test_a_running_server_is_adopted_and_keeps_its_data(data: Path) -> None:
    url = postgres.start(data)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    pid = postgres.pid(data)
    assert postgres.start(data) == url
    assert postgres.pid(data) == pid
    assert postgres.stop(data)
    assert not postgres.stop(data)
    with psycopg.connect(postgres.start(data)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_the_server_outlives_a_starter_that_is_killed(data: Path) -> None:
    program = "import sys, time, pathlib; from llmops_resources import postgres\n"
    program += "print(postgres.start(pathlib.Path(sys.argv[1])), flush=True); time.sleep(60)"
    starter = subprocess.Popen([sys.executable, "-c", program, str(data)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    url = starter.stdout.readline().decode().strip()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert answers(url)
    assert postgres.start(data) == url


def test_a_server_that_was_killed_is_started_again_over_what_it_left(data: Path) -> None:
    postgres.start(data)
    pid = postgres.pid(data)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not postgres.is_running(data))
    assert answers(postgres.start(data))


def test_a_stale_pid_file_that_names_somebody_else_does_not_stop_the_start(data: Path) -> None:
    postgres.start(data)
    postgres.stop(data)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n{data}\n\n 1 2\nready   \n")
    assert not postgres.is_running(data)
    assert answers(postgres.start(data))


def test_a_path_too_long_for_a_unix_socket_is_no_obstacle(tmp_path: Path) -> None:
    data = tmp_path / ("long " * 30).strip() / "postgres"
    try:
        assert answers(postgres.start(data))
    finally:
        postgres.stop(data)


def test_an_interrupted_first_start_leaves_nothing_that_looks_finished(data: Path) -> None:
    data.parent.mkdir()
    (data.parent / ".postgres.deadbeef").mkdir()
    (data.parent / ".postgres.deadbeef" / "PG_VERSION").write_text("18\n")
    assert answers(postgres.start(data))


def test_a_server_that_cannot_start_says_why_with_its_log(data: Path) -> None:
    postgres.start(data)
    postgres.stop(data)
    with (data / "postgresql.conf").open("a") as config:
        config.write("\nno_such_setting = 1\n")
    with pytest.raises(Unavailable, match="no_such_setting") as caught:
        postgres.start(data)
    assert "DATABASE_URL" in caught.value.remedy


def test_without_a_server_the_address_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        postgres.url(tmp_path)
    assert "llmops up" in caught.value.remedy


def test_an_address_in_the_settings_wins(tmp_path: Path) -> None:
    settings = Settings(database_url="postgresql://db/x").model_copy(update={"llmops_home": tmp_path})
    assert database_url(settings) == "postgresql://db/x"
    with pytest.raises(Unavailable):
        database_url(settings.model_copy(update={"database_url": None}))


def test_a_server_elsewhere_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        postgres.ensure_database("postgresql://127.0.0.1:9/postgres", "x")
