"""judges are priced by the ledger's price list: requests and results keep no prices of their own

What a finished judging was said to cost, in US dollars, stays.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

REQUESTED = """
UPDATE evaluation_runs SET judging = jsonb_set(judging, '{suite,judges}', (
    SELECT jsonb_agg(judge - 'inputPrice' - 'outputPrice' ORDER BY place)
    FROM jsonb_array_elements(judging #> '{suite,judges}') WITH ORDINALITY AS asked (judge, place)
)) WHERE jsonb_array_length(judging #> '{suite,judges}') > 0
"""
REPORTED = """
UPDATE evaluation_runs SET result = jsonb_set(result, '{judged,judges}', (
    SELECT jsonb_agg(
        jsonb_set(report, '{judge}', (report -> 'judge') - 'inputPrice' - 'outputPrice')
        || jsonb_build_object('currency', CASE WHEN report ->> 'cost' IS NULL THEN NULL ELSE 'USD' END)
        ORDER BY place
    )
    FROM jsonb_array_elements(result #> '{judged,judges}') WITH ORDINALITY AS said (report, place)
)) WHERE jsonb_array_length(result #> '{judged,judges}') > 0
"""


def upgrade() -> None:
    op.execute(REQUESTED)
    op.execute(REPORTED)


def downgrade() -> None:
    raise NotImplementedError("downgrades are refused: restore the backup taken before the upgrade")
