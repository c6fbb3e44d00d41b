"""`llmops up`, `down`, `status`, `db upgrade`: the platform on this machine."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from llmops_cli.output import console
from llmops_cli.supervision import orphans
from llmops_cli.supervision.dagster_home import dagster_database_name, with_database, write_dagster_home
from llmops_cli.supervision.health import port_listens
from llmops_cli.supervision.processes import Process, environment, platform_processes
from llmops_cli.supervision.state import SupervisorState, is_locked, read_state, take_lock
from llmops_cli.supervision.supervisor import EmbeddedDatabase, Supervisor
from llmops_resources import database, migrate, postgres
from llmops_resources.errors import Conflict, Unavailable
from llmops_resources.settings import Settings

READY_SECONDS = 300  # on a busy machine two cores start five Python programs slowly


def run_in_foreground(settings: Settings) -> bool:
    """Start everything and supervise until told to stop; False when a supervisor runs on this home already.

    Raises InvalidInput for unsafe settings, Conflict for a port in use, Unavailable when the database cannot start.
    """
    settings.check()
    lock = take_lock(settings.home)
    if lock is None:
        return False
    with lock:
        if left := orphans.end_marked(settings.home):
            console.print(f"ended {left} processes that had outlived their supervisor")
        processes = platform_processes(settings)
        refuse_taken_ports(processes)
        embedded = EmbeddedDatabase(settings.home / "postgres") if settings.database_url is None else None
        try:
            url = prepare_database(settings)
            supervisor = Supervisor(
                settings.home,
                processes,
                environment(settings, url),
                console_url=settings.console_url,
                database=embedded,
            )
            supervisor.run()
        finally:
            orphans.end_marked(settings.home)
            if embedded is not None:
                postgres.stop(embedded.data)
            (settings.home / "run" / "state.json").unlink(missing_ok=True)
    return True


def start_detached(settings: Settings) -> SupervisorState:
    """Start a supervisor in the background and wait until everything is healthy, with a progress bar.

    A running one is waited for just the same. Raises Unavailable, with the end of its log, when it gives up.
    """
    settings.check()
    log = settings.home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    starter: subprocess.Popen[bytes] | None = None
    if not is_locked(settings.home):
        refuse_taken_ports(platform_processes(settings))
        with log.open("ab") as out:
            starter = subprocess.Popen(
                [sys.executable, "-m", "llmops_cli.main", "up", "--home", str(settings.home)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    return wait_until_ready(settings, log, lambda: starter is not None and starter.poll() is not None)


def wait_until_ready(settings: Settings, log: Path, gave_up: Callable[[], bool]) -> SupervisorState:
    """Poll the state file until every process is healthy. Raises Unavailable after five minutes."""
    deadline = time.monotonic() + READY_SECONDS
    with starting_bar() as advance:
        while time.monotonic() < deadline:
            state = read_state(settings.home)
            if state is not None:
                advance(state)
                if state.ready:
                    return state
            if gave_up():
                raise Unavailable(f"the platform did not start:\n{tail(log)}", remedy=f"The whole log is {log}.")
            time.sleep(0.2)
    late = [process.name for process in state.processes if process.health != "healthy"] if state else ["supervisor"]
    logs = "\n".join(f"--- {name}\n{tail(settings.home / 'logs' / f'{name}.log')}" for name in late)
    raise Unavailable(
        f"not healthy after {READY_SECONDS} seconds: {', '.join(late)}\n{logs}",
        remedy="Look at `llmops status` and the logs in LLMOPS_HOME/logs; `llmops down` stops everything.",
    )


def stop(settings: Settings, patience: float = 90.0) -> bool:
    """Stop the platform, whether its supervisor is alive or not; returns whether anything was running."""
    home, state = settings.home, read_state(settings.home)
    was_running = is_locked(home)
    if state is not None:
        psutil.Process(state.pid).terminate()
        deadline = time.monotonic() + patience
        while is_locked(home):
            if time.monotonic() > deadline:
                psutil.Process(state.pid).kill()
                break
            time.sleep(0.1)
    ended = orphans.end_marked(home)
    stopped = postgres.stop(home / "postgres") if settings.database_url is None else False
    (home / "run" / "state.json").unlink(missing_ok=True)
    return was_running or ended > 0 or stopped


def prepare_database(settings: Settings) -> str:
    """Start the embedded server if there is no other, make both databases, migrate, configure Dagster; our URL."""
    embedded = settings.database_url is None
    url = postgres.start(settings.home / "postgres") if embedded else str(settings.database_url)
    dagster_url = with_database(url, dagster_database_name(url, embedded=embedded))
    if not embedded:
        postgres.ensure_database(with_database(url, "postgres"), dagster_database_name(url, embedded=False))
    upgrade(url)
    write_dagster_home(
        settings.home / "dagster",
        database_url=dagster_url,
        code_server_port=settings.code_server_port,
        launcher_socket=settings.launcher_socket,
    )
    return url


def upgrade(url: str) -> str:
    """Run the missing migrations; the revision reached."""
    engine = database.connect(url, pool_size=1, application="llmops db upgrade")
    try:
        return migrate.upgrade(engine)
    finally:
        engine.dispose()


@contextmanager
def database_for_a_moment(settings: Settings) -> Iterator[str]:
    """The database's URL; an embedded server that was not running is stopped again afterwards."""
    data = settings.home / "postgres"
    started_here = settings.database_url is None and not postgres.is_running(data)
    try:
        yield postgres.start(data) if settings.database_url is None else settings.database_url
    finally:
        if started_here:
            postgres.stop(data)


def refuse_taken_ports(processes: tuple[Process, ...]) -> None:
    """Raises Conflict naming who listens on a port that we need, and the setting to change."""
    names = {"api": "API_PORT", "webserver": "DAGSTER_PORT", "code-server": "CODE_SERVER_PORT"}
    for process in processes:
        if process.port is not None and port_listens(process.port)():
            raise Conflict(
                f"port {process.port}, which the {process.name} needs, is in use{_listener(process.port)}",
                remedy=f"Stop that program, or set {names.get(process.name, 'another port')} to a free port.",
            )


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    if not path.exists():
        return "(no log)"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


@contextmanager
def starting_bar() -> Iterator[Callable[[SupervisorState], None]]:
    """A progress bar that counts healthy processes."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting the platform", total=None)

        def advance(state: SupervisorState) -> None:
            waiting = [process.name for process in state.processes if process.health != "healthy"]
            total = len(state.processes)
            text = f"starting {', '.join(waiting)}" if waiting else "the platform is up"
            progress.update(task, description=text, total=total, completed=total - len(waiting))

        yield advance


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # other users' connections are not always ours to see
    return ""
