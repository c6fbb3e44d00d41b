"""An evaluation that failed, taken up again by somebody: what was answered and kept is neither asked nor paid again."""

from uuid import UUID

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import Evaluation, RunType
from llmops_resources.evaluation.tables import EvaluationRow


def resume(tx: Transaction, evaluation_id: UUID | str) -> Evaluation:
    """Queue another attempt of an evaluation or a judging that failed.

    Raises:
        NotFound: there is no such evaluation.
        Conflict: it has not failed, people judge in it, or an input changed or lost its approval.
    """
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    if row.run_type == RunType.HUMAN:
        raise Conflict("people judge in this evaluation", remedy="Open another review of the answers.")
    work.reopen(row, "it was asked for again")
    found = runs.value(tx, row)
    runs.task(tx, found)
    tx.audit("evaluation.resume", "evaluation", row.id, attempt=row.attempt)
    return found
