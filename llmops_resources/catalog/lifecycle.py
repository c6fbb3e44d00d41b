"""The one lifecycle of versions: a table of moves, and what must be true before one is made."""

from enum import StrEnum

from llmops_resources.errors import Conflict, FieldProblem, field_problem


class Kind(StrEnum):
    DATASET = "dataset"
    MODEL = "model"
    PROMPT = "prompt"


class ModelType(StrEnum):
    BASE = "base"
    FINE_TUNED = "fine-tuned"
    EXTERNAL = "external"


class Status(StrEnum):
    DRAFT = "draft"
    UNDER_REVIEW = "under_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    DEPRECATED = "deprecated"


class PiiStatus(StrEnum):
    PENDING = "pending"
    CLEAN = "clean"
    FAILED = "failed"


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    REQUEST_CHANGES = "request_changes"


MOVES: dict[Status, frozenset[Status]] = {
    Status.DRAFT: frozenset({Status.UNDER_REVIEW}),
    Status.UNDER_REVIEW: frozenset({Status.APPROVED, Status.REJECTED, Status.DRAFT}),
    Status.REJECTED: frozenset({Status.DRAFT}),
    Status.APPROVED: frozenset({Status.DEPRECATED}),
    Status.DEPRECATED: frozenset(),
}

#: What a reviewer's decision does to a version under review.
OUTCOMES: dict[Decision, Status] = {
    Decision.APPROVE: Status.APPROVED,
    Decision.REJECT: Status.REJECTED,
    Decision.REQUEST_CHANGES: Status.DRAFT,
}

#: Model card fields that must be filled in before review.
REQUIRED_CARD = {
    "purpose": "say what the model is for",
    "scope": "say where it may and may not be used",
    "contact": "name a person or a team to ask",
    "license": "name the licence of the weights and of the data behind them",
}


def check_move(current: Status, to: Status) -> None:
    """Raises Conflict, naming the moves that are possible, when `current → to` is not in the table."""
    if to not in MOVES[current]:
        possible = ", ".join(sorted(MOVES[current])) or "none"
        raise Conflict(
            f"a version that is {current} cannot become {to}", remedy=f"Moves possible from {current}: {possible}."
        )


def missing_for_review(
    kind: Kind, *, has_content: bool, card: dict[str, object], change_log: str, earlier: str | None
) -> list[FieldProblem]:
    """Everything that must still be given before review; `earlier` is the version before this one, if there is one."""
    problems = [] if has_content else [field_problem("files", "are missing", "Upload its files.")]
    if kind is Kind.MODEL:
        problems += missing_card_fields(card)
    if kind is Kind.PROMPT and not str(card.get("purpose") or "").strip():
        problems.append(field_problem("metadata.purpose", "is required before review", "Say what the prompt is for."))
    if kind in {Kind.DATASET, Kind.PROMPT} and earlier is not None and not change_log.strip():
        problems.append(field_problem("changeLog", "is required", f"Say what changed since version {earlier}."))
    return problems


def missing_card_fields(card: dict[str, object]) -> list[FieldProblem]:
    """The model card fields still to be written."""
    return [
        field_problem(f"metadata.{name}", "is required before review", remedy.capitalize() + ".")
        for name, remedy in REQUIRED_CARD.items()
        if not str(card.get(name) or "").strip()
    ]
