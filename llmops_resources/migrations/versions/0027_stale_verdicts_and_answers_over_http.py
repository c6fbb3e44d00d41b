"""stale verdicts, whose judge lost its licence, and evaluations that ask a model over HTTP"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("evaluation_runs", sa.Column("through", JSONB(), nullable=True))
    op.add_column("evaluation_runs", sa.Column("stale_at", _TIME, nullable=True))
    op.add_column("evaluation_runs", sa.Column("stale_reason", sa.String(), nullable=True))
    op.create_table(
        "stale_gate_verdicts",
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["verdict_id"], ["gate_verdicts.id"], name=op.f("fk_stale_gate_verdicts_verdict_id_gate_verdicts")
        ),
        sa.PrimaryKeyConstraint("verdict_id", name=op.f("pk_stale_gate_verdicts")),
    )
    op.execute(
        "CREATE TRIGGER stale_gate_verdicts_are_kept BEFORE UPDATE OR DELETE ON stale_gate_verdicts "
        "FOR EACH ROW EXECUTE FUNCTION refuse_to_change_gates()"
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
