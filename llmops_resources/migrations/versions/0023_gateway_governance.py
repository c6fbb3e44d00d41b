"""governance of the gateway: API keys, limits, policies of routes, prices, budgets and the ledger"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def _at(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _money(name: str) -> sa.Column:
    return sa.Column(name, sa.Numeric(precision=24, scale=12), nullable=False)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("routes", postgresql.JSONB(astext_type=sa.Text(), none_as_null=True), nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        _at("created_at"),
        _at("expires_at"),
        _at("revoked_at", nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_index("ix_api_keys_page", "api_keys", ["created_at", "id"])
    for column in ("team", "owner"):
        op.create_index(op.f(f"ix_api_keys_{column}"), "api_keys", [column])
    op.create_table(
        "gateway_policies",
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        _at("updated_at"),
        sa.PrimaryKeyConstraint("route", name=op.f("pk_gateway_policies")),
    )
    op.create_table(
        "gateway_team_limits",
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("updated_by", sa.String(), nullable=False),
        _at("updated_at"),
        sa.PrimaryKeyConstraint("team", name=op.f("pk_gateway_team_limits")),
    )
    op.create_table(
        "gateway_processes",
        sa.Column("id", sa.Uuid(), nullable=False),
        _at("seen_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_processes")),
    )
    _costs()


def _costs() -> None:
    op.create_table(
        "prices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        _money("prompt"),
        _money("completion"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        _at("valid_from"),
        sa.Column("created_by", sa.String(), nullable=False),
        _at("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
    )
    op.create_index("uq_prices_model_from", "prices", ["provider", "model", "valid_from"], unique=True)
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        _at("at"),
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        _money("amount"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("price_id", sa.Uuid(), nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("corrects", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        _at("booked_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_page", "ledger_entries", ["at", "id"])
    op.create_index("ix_ledger_entries_team_at", "ledger_entries", ["team", "at"])
    op.create_index("ix_ledger_entries_holder_at", "ledger_entries", ["holder", "at"])
    op.create_index(op.f("ix_ledger_entries_key_id"), "ledger_entries", ["key_id"])
    op.execute(
        "CREATE FUNCTION refuse_to_change_the_ledger() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'entries of the ledger are only ever added'; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_are_kept BEFORE UPDATE OR DELETE ON ledger_entries "
        "FOR EACH ROW EXECUTE FUNCTION refuse_to_change_the_ledger()"
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("period", sa.String(length=8), nullable=False),
        _money("amount"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        _at("updated_at"),
        _at("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
    )
    op.create_index(
        "uq_budgets_scope", "budgets", ["team", "key_id", "period"], unique=True,
        postgresql_nulls_not_distinct=True, postgresql_where=sa.text("ended_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "budget_leases",
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("starts", sa.Date(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        _money("granted"),
        _at("renewed_at"),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_budget_leases_budget_id")),
        sa.PrimaryKeyConstraint("budget_id", "starts", "holder", name=op.f("pk_budget_leases")),
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
