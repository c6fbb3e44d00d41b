"""the training queue: who pays, which pool, priorities, quotas"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

DAY = 24 * 60
#: What a profile of before may hold; its fields were not checked then, so what would not pass now is left behind.
WHOLE = {"gpuCount": (0, 1_024), "nodes": (1, 256), "maxDuration": (1, 30 * DAY)}


def upgrade() -> None:
    decided = '{"device": "cpu", "pool": "cpu", "units": 1, "reason": "submitted before there was a queue"}'
    jsonb = postgresql.JSONB(astext_type=sa.Text())
    added = [
        sa.Column("resource_decision", jsonb, nullable=False, server_default=decided),
        sa.Column("use_gpu", sa.Boolean(), nullable=False, server_default="false"),
        sa.Column("team", sa.String(length=128), nullable=False, server_default=""),
        sa.Column("pool", sa.String(length=32), nullable=False, server_default="cpu"),
        sa.Column("units", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("max_minutes", sa.Integer(), nullable=False, server_default=str(DAY)),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_attempt", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("admitted_attempt", sa.Integer(), nullable=True),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("backfilled", sa.Boolean(), nullable=False, server_default="false"),
        sa.Column("retry_policy", jsonb, nullable=False, server_default="{}"),
        sa.Column("notifications", jsonb, nullable=False, server_default="{}"),
        sa.Column("api_base_url", sa.String(length=500), nullable=True),
        sa.Column("failure", jsonb, nullable=True),
    ]
    for column in added:
        op.add_column("training_jobs", column)
    op.execute(
        "UPDATE training_jobs SET waiting_since = queued_at, team = v.owner_team, "
        "use_gpu = coalesce((recipe ->> 'useGpu')::boolean, false), "
        "admitted_attempt = CASE WHEN training_jobs.status = 'queued' THEN NULL ELSE attempt END, "
        "admitted_at = started_at FROM catalog_versions v WHERE v.id = training_jobs.dataset_id"
    )
    connection = op.get_bind()
    jobs = sa.table("training_jobs", sa.column("id", sa.Uuid()), sa.column("resource_profile", jsonb))
    for row_id, profile in connection.execute(sa.select(jobs.c.id, jobs.c.resource_profile)).all():
        connection.execute(jobs.update().where(jobs.c.id == row_id).values(resource_profile=_typed(profile)))
    for column in added:
        if column.server_default is not None:
            op.alter_column("training_jobs", column.name, server_default=None)
    op.create_index("ix_training_jobs_pool", "training_jobs", ["status", "pool", "team"], unique=False)
    op.create_table(
        "training_quotas",
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("pool", sa.String(length=32), nullable=False),
        sa.Column("units", sa.Integer(), nullable=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team", "pool", name=op.f("pk_training_quotas")),
    )


def _typed(profile: dict[str, Any]) -> dict[str, Any]:
    """The whole numbers of an old profile that are within today's bounds."""
    return {
        name: profile[name]
        for name, (least, most) in WHOLE.items()
        if type(profile.get(name)) is int and least <= profile[name] <= most
    }


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
