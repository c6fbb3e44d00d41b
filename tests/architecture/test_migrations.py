"""Every migration runs on an empty database and on one with data, and the schema is what the rows say."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from llmops_resources import database, migrate
from llmops_resources.database import Base
from llmops_resources.errors import Conflict

#: Rows that a database at this revision may hold; every later migration must carry them.
DATA = {
    "0001": [
        "INSERT INTO catalog_versions (id, kind, name, version, status, owner_team, created_by, created_at, change_log,"
        " card, benchmark, files, size_bytes) VALUES ('00000000-0000-0000-0000-000000000001', 'dataset', 'old', '1',"
        " 'approved', 'team', 'somebody', now(), '', '{}', false, '[]', 0)",
        "INSERT INTO training_jobs (id, job_type, dataset_id, dataset_digest, recipe, recipe_digest, resource_profile,"
        " output_model_name, output_version, output_version_id, status, attempt, requested_by, requested_at, queued_at,"
        " progress, progress_message, cancel_requested) VALUES ('00000000-0000-0000-0000-000000000003', 'pretrain',"
        " '00000000-0000-0000-0000-000000000001', 'sha256:0', '{\"jobType\": \"pretrain\", \"useGpu\": true}',"
        " 'sha256:1', '{\"gpuCount\": 2, \"maxDuration\": \"long\", \"anything\": []}', 'old', '1',"
        " '00000000-0000-0000-0000-000000000004', 'queued', 1, 'somebody', now(), now(), 0, '', false)",
        "INSERT INTO endpoints (id, environment, route, revision, model_id, model_digest, backend, min_replicas,"
        " max_replicas, config, created_by, created_at) VALUES ('00000000-0000-0000-0000-000000000002', 'dev', 'old',"
        " 1, '00000000-0000-0000-0000-000000000001', 'sha256:0', 'local', 1, 1,"
        " '{\"promptPolicyId\": \"polite\", \"useGpu\": false}', 'somebody', now())",
    ],
}


@pytest.fixture
def empty(postgres_url: str) -> Iterator[Engine]:
    """A database without any table."""
    name = f"empty_{uuid4().hex}"
    admin = postgres_url.replace("/template_llmops", "/postgres").replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    engine = database.connect(postgres_url.replace("/template_llmops", f"/{name}"))
    yield engine
    engine.dispose()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _revisions() -> list[str]:
    return [script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions()][::-1]


def test_an_empty_database_is_brought_to_exactly_the_schema_of_the_rows(empty: Engine) -> None:
    assert migrate.upgrade(empty) == migrate.head()
    migrate.import_tables()
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_database_with_data_survives_every_step(empty: Engine) -> None:
    for revision in _revisions():
        assert migrate.upgrade(empty, revision) == revision
        with empty.begin() as connection:
            for statement in DATA.get(revision, []):
                connection.execute(text(statement))
    with empty.connect() as connection:
        assert connection.execute(text("SELECT name FROM catalog_versions")).scalar_one() == "old"
        endpoint = connection.execute(text("SELECT route, config FROM endpoints")).one()
        assert tuple(endpoint) == ("old", {"useGpu": False})  # a prompt that is no version is gone
        job = connection.execute(text("SELECT team, pool, use_gpu, resource_profile FROM training_jobs")).one()
        assert tuple(job) == ("team", "cpu", True, {"gpuCount": 2})


def test_upgrading_twice_changes_nothing(empty: Engine) -> None:
    assert migrate.upgrade(empty) == migrate.upgrade(empty)


def test_a_database_of_a_newer_version_is_refused_untouched(empty: Engine) -> None:
    migrate.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    with pytest.raises(Conflict, match="does not know"):
        migrate.upgrade(empty)
    assert migrate.current(empty) == "from-the-future"
