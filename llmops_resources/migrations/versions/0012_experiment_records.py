"""experiment records: the log of a job, and what each metric came to"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "training_log_lines",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("text", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.id"], name=op.f("fk_training_log_lines_job_id_training_jobs")
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_training_log_lines")),
    )
    op.create_table(
        "experiment_series",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=True),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("last_value", sa.Float(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.id"], name=op.f("fk_experiment_series_job_id_training_jobs")
        ),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_experiment_series")),
    )
    op.create_index("ix_experiment_series_name", "experiment_series", ["name", "last_value"], unique=False)
    op.execute(
        "INSERT INTO experiment_series (job_id, name, unit, last_step, last_value, last_at) "
        "SELECT DISTINCT ON (job_id, name) job_id, name, unit, step, value, recorded_at FROM experiment_metrics "
        "ORDER BY job_id, name, step DESC"
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
