"""Shared fixtures: a real PostgreSQL cloned from a migrated template for every test, and real object storage."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest

from llmops_resources import database, migrate, postgres
from llmops_resources.database import Actor
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Nothing in the test server outlives the session, so it need not wait for the disk.
FORGETFUL = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = '128MB'")
TEMPORARY = pytest.StashKey[Path]()
#: Making a database is making hundreds of files, which on some disks takes ten times as long as in memory.
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 6 * 2**30

# How long an example takes says more about the machine than about us.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Give each session a temporary root of its own, which the workers of a parallel one share.

    pytest closes the common one to other users whenever a session begins, and as root our databases run as another
    user: the servers of every session under way would lose their files.
    """
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
        config.stash[TEMPORARY] = Path(tempfile.mkdtemp(prefix="llmops-tests-", dir=MEMORY if roomy else None))
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(config.stash[TEMPORARY])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the root unless pytest left something of a failed test in it."""
    root = config.stash.get(TEMPORARY, None)
    if root is not None and not any(path.is_dir() for path in root.glob("*/pytest-*")):
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of this test session, with a migrated database `template_llmops` to clone."""
    data = tmp_path_factory.mktemp("pg") / "data"
    url = postgres.start(data, databases=("template_llmops",))
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        for setting in FORGETFUL:
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    engine = database.connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    yield url
    postgres.stop(data)
    shutil.rmtree(data, ignore_errors=True)  # a failed test's own files are kept, not 60 MB of everybody's


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh migrated database."""
    with cloned_database(postgres_url) as url:
        yield url


@contextlib.contextmanager
def cloned_database(postgres_url: str) -> Iterator[str]:
    """A fresh migrated database while the block runs."""
    name = f"test_{uuid4().hex}"
    admin = postgres_url.replace("/template_llmops", "/postgres")
    with psycopg.connect(_plain(admin), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template_llmops STRATEGY file_copy')
    try:
        yield postgres_url.replace("/template_llmops", f"/{name}")
    finally:
        with psycopg.connect(_plain(admin), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a home of its own, reading neither .env nor the caller's environment."""
    return Settings(
        llmops_home=tmp_path / "home",
        database_url=database_url,
        secret_key="a test's signing key, long enough",
        _env_file=None,
    )


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """Open doors to the fresh database and a local object store."""
    with open_platform(settings, application="test") as doors:
        yield doors


@pytest.fixture
def admin() -> Actor:
    """The local admin."""
    return Actor("local-admin", frozenset({"admin"}))


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
