"""endpoint revisions: who made each of them how and why, why environments differ, and the end of a runtime's log"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("rollback_plan", sa.String(), nullable=True))
    op.add_column("deployments", sa.Column("action", sa.String(length=16), server_default="deploy", nullable=False))
    op.alter_column("deployments", "action", server_default=None)
    op.add_column("deployments", sa.Column("restores", sa.Integer(), nullable=True))
    op.add_column("deployments", sa.Column("note", sa.String(), server_default="", nullable=False))
    op.alter_column("deployments", "note", server_default=None)
    op.create_table(
        "parity_reasons",
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("against", sa.String(length=8), nullable=False),
        sa.Column("field", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("written_by", sa.String(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("route", "environment", "against", "field", name=op.f("pk_parity_reasons")),
    )
    op.create_table(
        "endpoint_logs",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("wanted_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoints.id"], name=op.f("fk_endpoint_logs_endpoint_id_endpoints")
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_endpoint_logs")),
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
