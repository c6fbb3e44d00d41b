"""Rows of the evaluation room."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now
from llmops_resources.work import WorkRow


class EvaluationRow(WorkRow, Base):
    """A requested evaluation of one model version on one benchmark version.

    A human or judge run has the automated run whose answers it judges, and what it judges them by. One is stale when
    a gate leaned on its judges and their licence was revoked later. `afterwards` is who judges its answers when they
    are there, which has begun since `judged_afterwards_at`.
    """

    __tablename__ = "evaluation_runs"
    __table_args__ = (
        Index(
            "ix_evaluation_runs_waiting",
            "finished_at",
            postgresql_where=text("afterwards IS NOT NULL AND judged_afterwards_at IS NULL"),
        ),
    )

    run_type: Mapped[str] = mapped_column(String(16))
    model_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    model_digest: Mapped[str] = mapped_column(String(80))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), index=True)
    dataset_digest: Mapped[str] = mapped_column(String(80))
    training_job_id: Mapped[UUID | None]
    batch_id: Mapped[UUID | None] = mapped_column(index=True)
    judged_id: Mapped[UUID | None] = mapped_column(ForeignKey("evaluation_runs.id"), index=True)
    judging: Mapped[dict[str, Any] | None]
    suite: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    through: Mapped[dict[str, Any] | None]
    stale_at: Mapped[datetime | None]
    stale_reason: Mapped[str | None]
    afterwards: Mapped[dict[str, Any] | None]
    judged_afterwards_at: Mapped[datetime | None]


class EvaluationScheduleRow(Base):
    """An evaluation that is asked for at the times of a cron expression."""

    __tablename__ = "evaluation_schedules"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    model_name: Mapped[str] = mapped_column(String(128), index=True)
    benchmark_name: Mapped[str] = mapped_column(String(128))
    suite: Mapped[dict[str, Any]]
    cron: Mapped[str] = mapped_column(String(100))
    timezone: Mapped[str] = mapped_column(String(64))
    always: Mapped[bool]
    paused: Mapped[bool]
    next_due_at: Mapped[datetime] = mapped_column(index=True)
    last_due_at: Mapped[datetime | None]
    last_run_id: Mapped[UUID | None]
    last_outcome: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class GateRow(Base):
    """A declared gate; never changed: the newest row of a model, a benchmark and a name is in force."""

    __tablename__ = "gates"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    model_name: Mapped[str] = mapped_column(String(128), index=True)
    benchmark_name: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(80))
    content: Mapped[dict[str, Any]]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class GateVerdictRow(Base):
    """What a gate said about one evaluation; never changed."""

    __tablename__ = "gate_verdicts"
    __table_args__ = (UniqueConstraint("gate_id", "evaluation_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    gate_id: Mapped[UUID] = mapped_column(ForeignKey("gates.id"))
    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluation_runs.id"), index=True)
    content: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)


class StaleVerdictRow(Base):
    """A verdict that leaned on a judge whose licence was revoked later; never changed."""

    __tablename__ = "stale_gate_verdicts"

    verdict_id: Mapped[UUID] = mapped_column(ForeignKey("gate_verdicts.id"), primary_key=True)
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utc_now)


class ReviewRubricRow(Base):
    """A rubric, named by the digest of its content; never changed."""

    __tablename__ = "review_rubrics"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), index=True)
    content: Mapped[dict[str, Any]]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ReviewRow(Base):
    """A review by people of an evaluation's answers, or of two evaluations' answers side by side."""

    __tablename__ = "reviews"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluation_runs.id"), index=True)
    other_id: Mapped[UUID | None] = mapped_column(ForeignKey("evaluation_runs.id"))
    rubric_digest: Mapped[str] = mapped_column(ForeignKey("review_rubrics.digest"))
    overlap: Mapped[int]
    seed: Mapped[int]
    roles: Mapped[list[str]]
    show_expected: Mapped[bool]
    adjudicator: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    closed_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]


class ReviewUnitRow(Base):
    """What is judged: a question with one answer, or two, as they were when the review was opened."""

    __tablename__ = "review_units"

    review_id: Mapped[UUID] = mapped_column(ForeignKey("reviews.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sample: Mapped[int]
    content: Mapped[dict[str, Any]]


class ReviewAssignmentRow(Base):
    """Who judges which unit, in which place of their own order; `swapped`: the second answer is shown first."""

    __tablename__ = "review_assignments"
    __table_args__ = (
        ForeignKeyConstraint(["review_id", "number"], ["review_units.review_id", "review_units.number"]),
    )

    review_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    reviewer: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int]
    swapped: Mapped[bool]
    released_at: Mapped[datetime | None]


class ReviewScoreRow(Base):
    """One judgement. Never changed: a correction is the next revision, with its reason."""

    __tablename__ = "review_scores"
    __table_args__ = (
        ForeignKeyConstraint(["review_id", "number"], ["review_units.review_id", "review_units.number"]),
        UniqueConstraint("review_id", "number", "reviewer", "revision"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    review_id: Mapped[UUID]
    number: Mapped[int]
    reviewer: Mapped[str]
    revision: Mapped[int]
    adjudication: Mapped[bool]
    values: Mapped[dict[str, Any]]
    reason: Mapped[str]
    shown_digest: Mapped[str] = mapped_column(String(80))
    scored_at: Mapped[datetime] = mapped_column(default=utc_now)


class ReviewExclusionRow(Base):
    """A reviewer whose judgements do not count, and why."""

    __tablename__ = "review_exclusions"

    review_id: Mapped[UUID] = mapped_column(ForeignKey("reviews.id"), primary_key=True)
    reviewer: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    excluded_by: Mapped[str]
    excluded_at: Mapped[datetime] = mapped_column(default=utc_now)
