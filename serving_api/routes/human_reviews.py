"""Reviews of answers by people: for those who set them up, for reviewers, and for the adjudicator."""

from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden
from llmops_resources.evaluation import (
    review_adjudication,
    review_export,
    review_rubrics,
    review_submissions,
    review_tasks,
    reviews,
)
from llmops_resources.evaluation.review_adjudication import Disagreement
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.review_rubrics import Criterion, KeptRubric, Rubric
from llmops_resources.evaluation.review_submissions import Rating, Submitted
from llmops_resources.evaluation.review_tasks import MyReview, Submission, Task
from llmops_resources.evaluation.review_values import Review
from llmops_resources.governance.permissions import Permission, Role
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, audited_refusal, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body
from serving_api.spreadsheets import review_csv

router = APIRouter(prefix="/evaluation", tags=["evaluation"])
Reader = Annotated[Actor, Depends(Requires(Permission.REVIEW_MANAGE, Permission.REVIEW_SCORE))]
Manager = Annotated[Actor, Depends(Requires(Permission.REVIEW_MANAGE))]
Judge = Annotated[Actor, Depends(Requires(Permission.REVIEW_SCORE))]
Person = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(max_length=4_000)]
RoleName = Annotated[str, Field(pattern=f"^({'|'.join(Role)})$")]
Number = Annotated[int, Path(ge=0, lt=2**31)]


class RubricCreate(Body):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    instructions: Annotated[str, Field(max_length=4_000)] = ""
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=9)]
    reason_required: bool = False


class ReviewPlanBody(Body):
    rubric: Annotated[str, Field(description="The digest of a rubric.", max_length=80)]
    reviewers: Annotated[list[Person], Field(default_factory=list, max_length=200)]
    roles: list[RoleName] = Field(default_factory=list)
    overlap: Annotated[int, Field(ge=1, le=10)] = 2
    sample_size: Annotated[int | None, Field(ge=1)] = None
    seed: int = 0
    show_expected: bool = True
    adjudicator: Person | None = None

    def plan(self) -> ReviewPlan:
        """The value the room takes."""
        return ReviewPlan.model_validate(self.model_dump(exclude={"evaluation_id"}))


class ReviewCreate(ReviewPlanBody):
    evaluation_id: UUID
    other_evaluation_id: UUID | None = None


class Somebody(Body):
    person: Person


class SomebodyWithReason(Body):
    person: Person
    reason: Reason


class Ending(Body):
    reason: Reason = ""


class JudgementBody(Body):
    """`values` by criterion: a whole number on a scale, pass or fail, or first, second or tie as they were shown."""

    values: Annotated[dict[str, int | str], Field(max_length=20)]
    reason: Reason = ""
    shown: Annotated[str, Field(max_length=80)]
    revision: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def submission(self) -> Submission:
        """The value the room takes."""
        return Submission(values=self.values, reason=self.reason, shown=self.shown, revision=self.revision)


class RatingBody(Body):
    """`values` by criterion, as people say them: a whole number, pass or fail, or first, second or tie."""

    sample: Annotated[int, Field(ge=0, lt=2**31)]
    values: Annotated[dict[str, int | str], Field(max_length=20)]
    comment: Reason = ""


class HumanReviewSubmission(Body):
    """`reviewerId` may be left out: it is whoever asks, and nobody hands in for somebody else."""

    ratings: Annotated[list[RatingBody], Field(min_length=1, max_length=1_000)]
    review_id: UUID | None = None
    reviewer_id: Person | None = None


@router.post("/runs/{run_id}/human-review")
def submit_human_review(
    platform: Doors, actor: Judge, run_id: UUID, body: HumanReviewSubmission
) -> Envelope[Submitted]:
    """Hand in judgements of an evaluation's samples, in the review that is open over it: all are taken, or none."""
    with audited_refusal(platform, actor, "review.score", str(run_id)), platform.transaction(actor) as tx:
        if body.reviewer_id not in {None, actor.id}:
            raise Forbidden("nobody hands in judgements for somebody else", remedy="Leave out reviewerId.")
        ratings = [Rating.model_validate(rating.model_dump()) for rating in body.ratings]
        return ok(review_submissions.submit(tx, run_id, ratings, body.review_id), "the judgements are recorded")


@router.get("/rubrics")
def list_rubrics(platform: Doors, actor: Reader) -> Envelope[list[KeptRubric]]:
    with platform.transaction(actor) as tx:
        return ok(review_rubrics.every(tx))


@router.post("/rubrics")
def keep_rubric(
    platform: Doors, actor: Manager, request: Request, body: RubricCreate, key: IdempotencyKey = None
) -> Envelope[KeptRubric]:
    rubric = Rubric.model_validate(body.model_dump())
    keep = lambda tx: review_rubrics.keep(tx, rubric)  # noqa: E731
    return ok(create_once(platform, actor, request, key, body.model_dump_json(), keep))


@router.get("/reviews")
def list_reviews(
    platform: Doors,
    actor: Manager,
    response: Response,
    evaluation_id: Annotated[UUID | None, Query(alias="evaluationId")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[Review]]:
    key = platform.settings.signing_key()
    with platform.transaction(actor) as tx:
        page = reviews.search(tx, evaluation_id=evaluation_id, after=paging.decode(cursor, key), limit=limit)
    return ok(paging.send(response, page, key))


@router.post("/reviews")
def open_review(
    platform: Doors, actor: Manager, request: Request, body: ReviewCreate, key: IdempotencyKey = None
) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.open", str(body.evaluation_id)):
        answer: Any = create_once(
            platform, actor, request, key, body.model_dump_json(),
            lambda tx: reviews.open_review(tx, body.evaluation_id, body.plan()),
        )  # fmt: skip
    return ok(answer, "the review is open")


@router.get("/reviews/mine")
def my_reviews(platform: Doors, actor: Judge) -> Envelope[list[MyReview]]:
    with platform.transaction(actor) as tx:
        return ok(review_tasks.mine(tx))


@router.get("/reviews/{review_id}")
def get_review(platform: Doors, actor: Reader, review_id: UUID) -> Envelope[Review]:
    with platform.transaction(actor) as tx:
        return ok(reviews.get(tx, review_id))


@router.get("/reviews/{review_id}/summary")
def get_summary(platform: Doors, actor: Reader, review_id: UUID) -> Envelope[Summary]:
    with platform.transaction(actor) as tx:
        return ok(review_tasks.summary(tx, review_id))


@router.get("/reviews/{review_id}/export", response_class=Response)
def export_review(
    platform: Doors,
    actor: Reader,
    review_id: UUID,
    format: Literal["csv", "json"] = "json",  # noqa: A002  the query's name
) -> Response:
    """Every judgement as it was given, as a file; in CSV no cell is a formula to a spreadsheet."""
    with platform.transaction(actor) as tx:
        said = review_export.everything(tx, review_id)
    csv = format == "csv"
    content = review_csv(said).encode() if csv else orjson.dumps([each.json_dict() for each in said])
    headers = {
        "Content-Disposition": f'attachment; filename="review-{review_id}.{format}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type="text/csv; charset=utf-8" if csv else "application/json", headers=headers)


@router.post("/reviews/{review_id}/join")
def join_review(platform: Doors, actor: Judge, review_id: UUID) -> Envelope[list[MyReview]]:
    with audited_refusal(platform, actor, "review.join", str(review_id)), platform.transaction(actor) as tx:
        given = review_tasks.join(tx, review_id)
        return ok(review_tasks.mine(tx), f"{given} units are yours to judge")


@router.post("/reviews/{review_id}/assign")
def assign_review(platform: Doors, actor: Manager, review_id: UUID, body: Somebody) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.assign", str(review_id)), platform.transaction(actor) as tx:
        return ok(reviews.assign(tx, review_id, body.person))


@router.post("/reviews/{review_id}/release")
def release_reviewer(platform: Doors, actor: Manager, review_id: UUID, body: SomebodyWithReason) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.release", str(review_id)), platform.transaction(actor) as tx:
        return ok(reviews.release(tx, review_id, body.person, body.reason))


@router.post("/reviews/{review_id}/exclude")
def exclude_reviewer(platform: Doors, actor: Manager, review_id: UUID, body: SomebodyWithReason) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.exclude", str(review_id)), platform.transaction(actor) as tx:
        return ok(reviews.exclude(tx, review_id, body.person, body.reason))


@router.post("/reviews/{review_id}/adjudicator")
def name_adjudicator(platform: Doors, actor: Manager, review_id: UUID, body: Somebody) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.adjudicator", str(review_id)), platform.transaction(actor) as tx:
        return ok(review_adjudication.name(tx, review_id, body.person))


@router.post("/reviews/{review_id}/close")
def close_review(platform: Doors, actor: Manager, review_id: UUID, body: Ending) -> Envelope[Review]:
    with audited_refusal(platform, actor, "review.close", str(review_id)), platform.transaction(actor) as tx:
        reviews.load(tx, review_id, lock=True)
        return ok(reviews.close(tx, review_id, review_tasks.summary(tx, review_id), body.reason))


@router.get("/reviews/{review_id}/task")
def get_task(
    platform: Doors, actor: Judge, review_id: UUID, place: Annotated[int | None, Query(ge=1, lt=2**31)] = None
) -> Envelope[Task]:
    with platform.transaction(actor) as tx:
        return ok(review_tasks.task(tx, review_id, place))


@router.post("/reviews/{review_id}/units/{number}/scores")
def score_unit(platform: Doors, actor: Judge, review_id: UUID, number: Number, body: JudgementBody) -> Envelope[Task]:
    with audited_refusal(platform, actor, "review.score", str(review_id)), platform.transaction(actor) as tx:
        return ok(review_tasks.score(tx, review_id, number, body.submission()))


@router.get("/reviews/{review_id}/disagreements")
def list_disagreements(platform: Doors, actor: Reader, review_id: UUID) -> Envelope[list[Disagreement]]:
    with platform.transaction(actor) as tx:
        return ok(review_adjudication.disagreements(tx, review_id))


@router.post("/reviews/{review_id}/units/{number}/adjudication")
def adjudicate_unit(
    platform: Doors, actor: Judge, review_id: UUID, number: Number, body: JudgementBody
) -> Envelope[Disagreement]:
    with audited_refusal(platform, actor, "review.adjudicate", str(review_id)), platform.transaction(actor) as tx:
        return ok(review_adjudication.adjudicate(tx, review_id, number, body.submission()))
