"""an index for each list filter"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ADDED = {
    "name": "name",
    "version": "version",
    "type": "type",
    "quality": "quality_score",
    "benchmark": "benchmark",
}


def upgrade() -> None:
    for name, column in ADDED.items():
        op.create_index(
            f"ix_catalog_versions_{name}",
            "catalog_versions",
            ["kind", column, "created_at", "id"],
            unique=False,
            postgresql_where=sa.text("deleted_at IS NULL"),
        )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
