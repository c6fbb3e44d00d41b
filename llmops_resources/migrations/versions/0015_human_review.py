"""human review: rubrics, who judges what, and judgements that are only ever added"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "review_rubrics",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_review_rubrics")),
    )
    op.create_index(op.f("ix_review_rubrics_name"), "review_rubrics", ["name"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("other_id", sa.Uuid(), nullable=True),
        sa.Column("rubric_digest", sa.String(length=80), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("roles", _JSON, nullable=False),
        sa.Column("show_expected", sa.Boolean(), nullable=False),
        sa.Column("adjudicator", sa.String(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("closed_at", _TIME, nullable=True),
        sa.Column("result", _JSON, nullable=True),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluation_runs.id"], name=op.f("fk_reviews_evaluation_id")),
        sa.ForeignKeyConstraint(["other_id"], ["evaluation_runs.id"], name=op.f("fk_reviews_other_id")),
        sa.ForeignKeyConstraint(["rubric_digest"], ["review_rubrics.digest"], name=op.f("fk_reviews_rubric_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_evaluation_id"), "reviews", ["evaluation_id"], unique=False)
    op.create_index(op.f("ix_reviews_created_at"), "reviews", ["created_at"], unique=False)
    op.create_table(
        "review_units",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_review_units_review_id")),
        sa.PrimaryKeyConstraint("review_id", "number", name=op.f("pk_review_units")),
    )
    op.create_table(
        "review_assignments",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False),
        sa.Column("released_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["review_id", "number"], ["review_units.review_id", "review_units.number"],
            name=op.f("fk_review_assignments_review_id"),
        ),
        sa.PrimaryKeyConstraint("review_id", "number", "reviewer", name=op.f("pk_review_assignments")),
    )  # fmt: skip
    op.create_table(
        "review_scores",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("adjudication", sa.Boolean(), nullable=False),
        sa.Column("values", _JSON, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("shown_digest", sa.String(length=80), nullable=False),
        sa.Column("scored_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id", "number"], ["review_units.review_id", "review_units.number"],
            name=op.f("fk_review_scores_review_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_scores")),
        sa.UniqueConstraint("review_id", "number", "reviewer", "revision", name=op.f("uq_review_scores_review_id")),
    )  # fmt: skip
    op.create_table(
        "review_exclusions",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("excluded_by", sa.String(), nullable=False),
        sa.Column("excluded_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_review_exclusions_review_id")),
        sa.PrimaryKeyConstraint("review_id", "reviewer", name=op.f("pk_review_exclusions")),
    )
    op.execute(
        "CREATE FUNCTION refuse_to_change_scores() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'review scores are only ever added'; END $$"
    )
    op.execute(
        "CREATE TRIGGER review_scores_are_kept BEFORE UPDATE OR DELETE ON review_scores "
        "FOR EACH ROW EXECUTE FUNCTION refuse_to_change_scores()"
    )


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
