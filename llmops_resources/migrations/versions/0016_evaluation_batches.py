"""evaluation batches: runs that were requested together"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluation_runs", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_evaluation_runs_batch_id"), "evaluation_runs", ["batch_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
