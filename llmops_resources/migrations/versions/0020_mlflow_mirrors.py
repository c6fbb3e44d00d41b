"""mlflow mirrors: how far each experiment has come in an MLflow server"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mlflow_mirrors",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("sent", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("described", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(length=1000), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["training_jobs.id"], name=op.f("fk_mlflow_mirrors_job_id_training_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_mlflow_mirrors")),
    )
    op.create_index(op.f("ix_mlflow_mirrors_next_attempt_at"), "mlflow_mirrors", ["next_attempt_at"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
