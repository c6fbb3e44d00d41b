"""recall, deletion and notifications"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("catalog_versions", sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("catalog_versions", sa.Column("published_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("catalog_versions", sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("catalog_versions", sa.Column("quarantine_reason", sa.String(), nullable=True))
    op.add_column("catalog_versions", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("catalog_versions", sa.Column("files_removed_at", sa.DateTime(timezone=True), nullable=True))
    # What waits for a decision stays in the inbox; of approved versions the newest stays the one in use.
    op.execute("UPDATE catalog_versions SET submitted_at = created_at WHERE status = 'under_review'")
    op.execute("UPDATE catalog_versions SET published_at = created_at WHERE status = 'approved'")
    op.drop_index("ix_catalog_versions_page", table_name="catalog_versions")
    op.create_index(
        "ix_catalog_versions_page",
        "catalog_versions",
        ["kind", "created_at", "id"],
        unique=False,
        postgresql_include=[
            "name",
            "version",
            "type",
            "status",
            "owner_team",
            "pii_status",
            "quality_score",
            "benchmark",
        ],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    for name, column in {"team": "owner_team", "status": "status", "pii": "pii_status"}.items():
        op.create_index(
            f"ix_catalog_versions_{name}",
            "catalog_versions",
            ["kind", column, "created_at", "id"],
            unique=False,
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
    op.create_index(
        "ix_catalog_versions_inbox",
        "catalog_versions",
        ["submitted_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'under_review' AND deleted_at IS NULL"),
    )
    op.create_index(
        "ix_catalog_versions_leftovers",
        "catalog_versions",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL AND files_removed_at IS NULL"),
    )
    op.create_table(
        "catalog_recalls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("root_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recalled_by", sa.String(), nullable=False),
        sa.Column("recalled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_by", sa.String(), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lift_notes", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["root_id"], ["catalog_versions.id"], name=op.f("fk_catalog_recalls_root_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_recalls")),
    )
    op.create_index(
        "uq_catalog_recalls_open",
        "catalog_recalls",
        ["root_id"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "catalog_quarantines",
        sa.Column("recall_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recall_id"], ["catalog_recalls.id"], name=op.f("fk_catalog_quarantines_recall_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["catalog_versions.id"], name=op.f("fk_catalog_quarantines_version_id")
        ),
        sa.PrimaryKeyConstraint("recall_id", "version_id", name=op.f("pk_catalog_quarantines")),
    )
    op.create_index(op.f("ix_catalog_quarantines_version_id"), "catalog_quarantines", ["version_id"], unique=False)
    op.create_table(
        "outbox_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_messages")),
    )
    op.create_index(
        "ix_outbox_messages_due",
        "outbox_messages",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
