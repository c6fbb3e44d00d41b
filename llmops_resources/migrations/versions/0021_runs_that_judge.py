"""runs that judge: an evaluation by people or models names the run whose answers it judges"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluation_runs", sa.Column("judged_id", sa.Uuid(), nullable=True))
    op.add_column("evaluation_runs", sa.Column("judging", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_foreign_key(
        op.f("fk_evaluation_runs_judged_id_evaluation_runs"),
        "evaluation_runs",
        "evaluation_runs",
        ["judged_id"],
        ["id"],
    )
    op.create_index(op.f("ix_evaluation_runs_judged_id"), "evaluation_runs", ["judged_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
