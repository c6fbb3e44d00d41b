"""gates: what a model must prove, declared beforehand; verdicts; and the evidence that approvals then need"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "gates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(length=128), nullable=False),
        sa.Column("benchmark_name", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gates")),
    )
    op.create_index(op.f("ix_gates_model_name"), "gates", ["model_name"], unique=False)
    op.create_table(
        "gate_verdicts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gate_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["gate_id"], ["gates.id"], name=op.f("fk_gate_verdicts_gate_id_gates")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation_runs.id"], name=op.f("fk_gate_verdicts_evaluation_id_evaluation_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_verdicts")),
        sa.UniqueConstraint("gate_id", "evaluation_id", name=op.f("uq_gate_verdicts_gate_id")),
    )
    op.create_index(op.f("ix_gate_verdicts_evaluation_id"), "gate_verdicts", ["evaluation_id"], unique=False)
    op.create_table(
        "catalog_requirements",
        sa.Column("number", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("evidence_kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_catalog_requirements")),
    )
    op.create_index(op.f("ix_catalog_requirements_name"), "catalog_requirements", ["name"], unique=False)
    op.execute(
        "CREATE FUNCTION refuse_to_change_gates() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'gates, verdicts and requirements are only ever added'; END $$"
    )
    for table in ("gates", "gate_verdicts", "catalog_requirements"):
        op.execute(
            f"CREATE TRIGGER {table}_are_kept BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_to_change_gates()"
        )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
