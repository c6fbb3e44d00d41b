"""the prompt of an endpoint is a prompt version: what was free text, and meant nothing, is taken out"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("endpoints", "deployments"):
        op.execute(
            f"UPDATE {table} SET config = config - 'promptPolicyId' "  # noqa: S608  a name of ours
            "WHERE jsonb_exists(config, 'promptPolicyId') AND NOT EXISTS (SELECT 1 FROM catalog_versions "
            "WHERE kind = 'prompt' AND CAST(id AS text) = lower(config ->> 'promptPolicyId'))"
        )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
