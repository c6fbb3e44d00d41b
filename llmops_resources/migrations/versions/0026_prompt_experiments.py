"""prompt experiments: prompts bound to routes, experiments over them, who saw what, and what they said of it"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "prompt_bindings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Uuid(), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("restores", sa.Integer(), nullable=True),
        sa.Column("experiment_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("bound_by", sa.String(), nullable=False),
        sa.Column("bound_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["catalog_versions.id"], name=op.f("fk_prompt_bindings_prompt_id_catalog_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt_bindings")),
        sa.UniqueConstraint("route", "number", name="uq_prompt_bindings_route_number"),
    )
    op.create_index(op.f("ix_prompt_bindings_prompt_id"), "prompt_bindings", ["prompt_id"], unique=False)
    op.create_table(
        "prompt_experiments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("hypothesis", sa.String(), nullable=False),
        sa.Column("plan", _JSON, nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("allocation", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_by", sa.String(), nullable=True),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("stopped_by", sa.String(), nullable=True),
        sa.Column("stopped_at", _TIME, nullable=True),
        sa.Column("ending", sa.String(length=16), nullable=True),
        sa.Column("ending_reason", sa.String(), nullable=False),
        sa.Column("concluded_by", sa.String(), nullable=True),
        sa.Column("concluded_at", _TIME, nullable=True),
        sa.Column("winner", sa.String(length=32), nullable=True),
        sa.Column("notes", sa.String(), nullable=False),
        sa.Column("evidence", _JSON, nullable=True),
        sa.Column("evidence_digest", sa.String(length=80), nullable=True),
        sa.Column("binding", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt_experiments")),
    )
    op.create_index(op.f("ix_prompt_experiments_route"), "prompt_experiments", ["route"], unique=False)
    op.create_index("ix_prompt_experiments_page", "prompt_experiments", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_prompt_experiments_running", "prompt_experiments", ["route"], unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )  # fmt: skip
    op.create_table(
        "prompt_experiment_allocations",
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("shares", _JSON, nullable=False),
        sa.Column("ratings", _JSON, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["prompt_experiments.id"],
            name=op.f("fk_prompt_experiment_allocations_experiment_id_prompt_experiments"),
        ),
        sa.PrimaryKeyConstraint("experiment_id", "number", name=op.f("pk_prompt_experiment_allocations")),
    )  # fmt: skip
    op.create_table(
        "prompt_experiment_looks",
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("found", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["prompt_experiments.id"],
            name=op.f("fk_prompt_experiment_looks_experiment_id_prompt_experiments"),
        ),
        sa.PrimaryKeyConstraint("experiment_id", "at", name=op.f("pk_prompt_experiment_looks")),
    )  # fmt: skip
    op.create_table(
        "prompt_exposures",
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("allocation", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=32), nullable=False),
        sa.Column("exchange_id", sa.Uuid(), nullable=False),
        sa.Column("exposed_at", _TIME, nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("rating", sa.Float(), nullable=True),
        sa.Column("rated_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("experiment_id", "subject", name=op.f("pk_prompt_exposures")),
    )
    op.create_table(
        "exchange_feedback",
        sa.Column("exchange_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("prompt_id", sa.Uuid(), nullable=True),
        sa.Column("experiment_id", sa.Uuid(), nullable=True),
        sa.Column("variant", sa.String(length=32), nullable=True),
        sa.Column("given_by", sa.String(), nullable=False),
        sa.Column("given_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_exchange_feedback")),
    )
    op.create_index(
        "ix_exchange_feedback_experiment", "exchange_feedback", ["experiment_id", "given_at"], unique=False
    )
    for column, kind in (
        ("prompt_id", sa.Uuid()), ("experiment_id", sa.Uuid()), ("variant", sa.String(length=32)),
        ("subject", sa.String(length=32)),
    ):  # fmt: skip
        op.add_column("usage_records", sa.Column(column, kind, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
