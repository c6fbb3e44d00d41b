"""Bring a database to the schema this version needs; refuse one that a newer version made."""

import importlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from llmops_resources.errors import Conflict

ROOMS_WITH_TABLES = (
    "governance", "cost", "catalog", "prompts", "checks", "training", "evaluation", "serving", "gateway",
)  # fmt: skip
_LOCK = 7_265_002


def import_tables() -> None:
    """Load every room's rows, so that their metadata is complete."""
    for room in ROOMS_WITH_TABLES:
        importlib.import_module(f"llmops_resources.{room}.tables")


def config() -> Config:
    """Alembic's configuration; the migrations travel inside the package."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return alembic


def head() -> str:
    """The newest revision this version knows."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if newest is None:
        raise Conflict("this installation has no migrations", remedy="Reinstall llmops.")
    return newest


def current(engine: Engine) -> str | None:
    """The revision a database is at; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, to: str = "head") -> str:
    """Run the missing migrations in one transaction, one process at a time; returns the revision reached.

    Raises Conflict when the database was made by a newer version, which this one must not touch.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
        if found is not None and found not in known:
            raise Conflict(
                f"the database is at revision {found}, which this version does not know",
                remedy="Install the version of llmops that last used this database, or a newer one.",
            )
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, to)
        return MigrationContext.configure(connection).get_current_revision() or ""
