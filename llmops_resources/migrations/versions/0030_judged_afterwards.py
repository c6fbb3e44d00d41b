"""an evaluation may say who judges its answers when they are there"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluation_runs", sa.Column("afterwards", JSONB))
    op.add_column("evaluation_runs", sa.Column("judged_afterwards_at", sa.DateTime(timezone=True)))
    waiting = sa.text("afterwards IS NOT NULL AND judged_afterwards_at IS NULL")
    op.create_index("ix_evaluation_runs_waiting", "evaluation_runs", ["finished_at"], postgresql_where=waiting)


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
