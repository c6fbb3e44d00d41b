"""Conclusions: a reviewer decides what an experiment showed, and the winner is bound in the same transaction."""

from uuid import UUID

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, ValidationFailed, field_problem
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.prompts import bindings
from llmops_resources.prompts.experiments import running
from llmops_resources.prompts.experiments.library import Experiment, value
from llmops_resources.prompts.experiments.looks import Advice, Ending, Hold, Look
from llmops_resources.prompts.experiments.plan import Plan, State, check_move
from llmops_resources.prompts.tables import ExperimentRow
from llmops_resources.values import sha256_of, utc_now


def conclude(tx: Transaction, experiment_id: UUID | str, *, winner: str | None, notes: str) -> Experiment:
    """Decide, and bind the winner to the route; without a winner the route stays as it is.

    Whoever planned or started it may not decide, unless SINGLE_USER waives that or an admin does, whose reason the
    notes are. The same conclusion again changes nothing. Raises Forbidden, NotFound, ValidationFailed without a
    reason, Conflict when the evidence speaks against the winner or it is no longer approved.
    """
    require(tx.actor, Permission.VERSION_APPROVE)
    row = running.held(tx, experiment_id)
    if row.state == State.CONCLUDED and row.winner == winner:
        return value(tx, row)
    check_move(row.name, State(row.state), State.CONCLUDED)
    plan = Plan.model_validate(row.plan)
    _check_words(row, plan, winner, notes)
    waived = _check_judge(tx, row)
    if row.state == State.RUNNING:
        running.end(tx, row, Ending.PERSON, "concluded")
    evidence = running.look(tx, row)
    _check_evidence(plan, evidence, winner)
    _decide(tx, row, plan, evidence, winner, notes.strip(), waived)
    return value(tx, row)


def follows(plan: Plan, evidence: Look, winner: str | None) -> bool:
    """Whether a decision is what the evidence advises."""
    if evidence.advice is Advice.ADOPT:
        return winner == evidence.adopt
    return winner in {None, plan.control.name}


def _check_words(row: ExperimentRow, plan: Plan, winner: str | None, notes: str) -> None:
    problems = []
    if row.started_at is None:
        raise Conflict(f"the experiment {row.name} never ran", remedy="There is nothing to conclude from it.")
    if winner is not None and winner not in {variant.name for variant in plan.variants}:
        names = ", ".join(variant.name for variant in plan.variants)
        problems.append(field_problem("winner", f"{winner[:40]!r} is no variant", f"Name one of {names}, or none."))
    if not notes.strip():
        problems.append(field_problem("notes", "are empty", "Say why; it is kept with the outcome."))
    if problems:
        raise ValidationFailed("the experiment cannot be concluded like this", details=problems)


def _check_judge(tx: Transaction, row: ExperimentRow) -> str:
    """Why the four-eyes rule does not count here, "" when it is kept. Raises Forbidden when it is broken."""
    if tx.actor.id not in {row.created_by, row.started_by}:
        return ""
    if tx.single_user:
        return "SINGLE_USER=true lets whoever ran it decide"
    if "admin" in tx.actor.roles:
        return "an admin concluded their own experiment"
    raise Forbidden(f"{tx.actor.id} ran {row.name} and may not conclude it", remedy="Ask another reviewer to decide.")


def _check_evidence(plan: Plan, evidence: Look, winner: str | None) -> None:
    if winner is None or winner == plan.control.name:
        return
    if not evidence.balanced:
        raise Conflict(
            "users did not arrive in the planned proportions, so the experiment shows nothing",
            remedy="Conclude it without a winner, find out what kept users away, and run it again.",
        )
    broken = [check for check in evidence.guards if check.variant == winner and check.state is Hold.BROKEN]
    if broken:
        rails = ", ".join(check.guard for check in broken)
        raise Conflict(f"{winner} breaks its guard rails ({rails})", remedy="Keep the control.")


def _decide(
    tx: Transaction, row: ExperimentRow, plan: Plan, evidence: Look, winner: str | None, notes: str, waived: str
) -> None:
    followed = follows(plan, evidence, winner)
    kept = {"look": evidence.json_dict(), "followedAdvice": followed, "waived": waived}
    row.state, row.winner, row.notes = State.CONCLUDED, winner, notes
    row.concluded_by, row.concluded_at = tx.actor.id, utc_now()
    row.evidence, row.evidence_digest = kept, sha256_of(kept)
    tx.session.flush()
    chosen = next((variant for variant in plan.variants if variant.name == winner), None)
    if chosen is not None:
        bound = bindings.adopt(tx, row.route, chosen.prompt_id, reason=notes, experiment_id=row.id)
        row.binding = bound.number
    tx.audit(
        "experiment.conclude", "experiment", row.id, winner=winner, notes=notes, evidence=row.evidence_digest,
        followedAdvice=followed, waived=waived or None, binding=row.binding,
    )  # fmt: skip
    tx.session.flush()
