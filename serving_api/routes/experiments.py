"""What training jobs record: metrics, logs, and the experiments they make up."""

from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden, InvalidInput, ValidationFailed, field_problem
from llmops_resources.governance.permissions import Permission
from llmops_resources.training import comparing, conditions, experiments, finding, logs, records
from llmops_resources.training.comparing import ExperimentComparison
from llmops_resources.training.experiments import Metric
from llmops_resources.training.finding import ExperimentSummary, Order, Sought
from llmops_resources.training.logs import LogPage
from llmops_resources.training.profile import SubmittedType
from llmops_resources.training.records import ExperimentRecord
from llmops_resources.work import WorkStatus
from serving_api import paging
from serving_api.dependencies import Cursor, Doors, Limit, Requires
from serving_api.envelope import Envelope, ok
from serving_api.spreadsheets import experiment_csv

router = APIRouter(prefix="/training", tags=["experiments"])
Reader = Annotated[Actor, Depends(Requires(Permission.TRAINING_READ))]
Recorder = Annotated[Actor, Depends(Requires(Permission.METRICS_WRITE))]
Text = Annotated[str | None, Query(max_length=128)]
Bound = Annotated[float | None, Query(allow_inf_nan=False)]
Where = Annotated[
    str,
    Query(
        max_length=conditions.LONGEST,
        description="conditions on recipe parameters and last values of metrics, with commas or `and` between them: "
        "`param.learning_rate<=0.001 and metric.eval_loss<2`",
    ),
]
AfterStep = Annotated[int, Query(alias="afterStep", ge=-1, le=experiments.LAST_STEP)]
BATCH = 10_000


@router.post("/jobs/{job_id}/metrics")
def record_metrics(
    platform: Doors, actor: Recorder, job_id: UUID, body: Metric | list[Metric]
) -> Envelope[list[Metric]]:
    """Record one metric or a batch of up to 10,000; the same name and step again overwrites.

    A job has at most 500 different names.
    """
    if actor.job_id is not None and actor.job_id != str(job_id):
        raise Forbidden("this token is good for another job", remedy="Use the JOB_TOKEN given to this job.")
    metrics = body if isinstance(body, list) else [body]
    if len(metrics) > BATCH:
        problem = field_problem("", f"has {len(metrics)} metrics", f"Send at most {BATCH} at once.")
        raise ValidationFailed("the batch is too large", details=[problem])
    with platform.transaction(actor) as tx:
        return ok(experiments.record(tx, job_id, metrics))


@router.get("/jobs/{job_id}/logs")
def get_logs(
    platform: Doors,
    actor: Reader,
    job_id: UUID,
    after: Annotated[int, Query(ge=0, le=experiments.LAST_STEP, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 500,
) -> Envelope[LogPage]:
    """What the training program said, without secrets; the middle of a long attempt is left out, and said so."""
    with platform.transaction(actor) as tx:
        return ok(logs.of_job(tx, job_id, after=after, limit=limit))


@router.get("/experiments")
def search_experiments(
    platform: Doors,
    actor: Reader,
    response: Response,
    model_name: Annotated[Text, Query(alias="modelName")] = None,
    status: WorkStatus | None = None,
    team: Text = None,
    job_type: Annotated[SubmittedType | None, Query(alias="jobType")] = None,
    metric: Annotated[Text, Query(description="only experiments that recorded it")] = None,
    least: Annotated[Bound, Query(alias="minMetric", description="of the metric's last value")] = None,
    most: Annotated[Bound, Query(alias="maxMetric", description="of the metric's last value")] = None,
    where: Where = "",
    order: Order = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Envelope[list[ExperimentSummary]]:
    """Experiments by what was run and what came out; `lowest` and `highest` order by the metric's last value."""
    if metric is None and (least is not None or most is not None or order != "newest"):
        remedy = "Name a metric, or leave out minMetric, maxMetric and order."
        raise ValidationFailed("no metric is named", details=[field_problem("metric", "is missing", remedy)])
    if cursor is not None and order != "newest":
        raise InvalidInput("experiments by value have one page", remedy="Leave the cursor out, or raise the limit.")
    key = platform.settings.signing_key()
    sought = Sought(
        model_name=model_name, status=status, team=team, job_type=job_type, metric=metric, least=least, most=most,
        where=conditions.parse(where),
    )  # fmt: skip
    with platform.transaction(actor) as tx:
        page = finding.search(tx, sought, order, after=paging.decode(cursor, key), limit=limit)
    return ok(paging.send(response, page, key))


@router.get("/experiments/compare")
def compare_experiments(
    platform: Doors,
    actor: Reader,
    ids: Annotated[str, Query(max_length=400, description="up to 10 job ids with commas between them")],
    names: Annotated[str, Query(max_length=4_000, description="metrics, with commas; none: all")] = "",
) -> Envelope[ExperimentComparison]:
    """The parameters that differ, and each metric's curves (at most 500 points, no peak lost), lowest, highest, last.

    Of a single experiment all parameters and curves.
    """
    wanted = [_id(text) for text in ids.split(",") if text.strip()]
    with platform.transaction(actor) as tx:
        return ok(comparing.compare(tx, wanted, [name for name in names.split(",") if name]))


@router.get("/experiments/{job_id}")
def get_experiment(
    platform: Doors,
    actor: Reader,
    job_id: UUID,
    name: str | None = None,
    after_step: AfterStep = -1,
) -> Envelope[list[Metric]]:
    """The recorded metrics in the order they were recorded; `afterStep` fetches only what is new."""
    with platform.transaction(actor) as tx:
        return ok(experiments.of_job(tx, job_id, name=name, after_step=after_step))


@router.get("/experiments/{job_id}/points")
def list_points(
    platform: Doors, actor: Reader, job_id: UUID, name: str, after_step: AfterStep = -1, limit: Limit = 100
) -> Envelope[list[Metric]]:
    """One metric's values in the order of steps, page by page: the next page is after this one's last step."""
    with platform.transaction(actor) as tx:
        return ok(experiments.points(tx, job_id, name, after_step=after_step, limit=limit))


@router.get("/experiments/{job_id}/record")
def get_record(platform: Doors, actor: Reader, job_id: UUID) -> Envelope[ExperimentRecord]:
    """Parameters, environment, digests, attempts, the failure's cause and remedy, and what the job made."""
    with platform.transaction(actor) as tx:
        return ok(records.of_job(tx, job_id))


@router.get("/experiments/{job_id}/export", response_class=Response)
def export_experiment(
    platform: Doors,
    actor: Reader,
    job_id: Annotated[UUID, Path()],
    format: Literal["csv", "json"] = "json",  # noqa: A002  the query's name
) -> Response:
    """The record and every metric as a file; in CSV no cell is a formula to a spreadsheet."""
    with platform.transaction(actor) as tx:
        record, metrics = records.of_job(tx, job_id), experiments.of_job(tx, job_id)
    if format == "csv":
        content, kind = experiment_csv(record, metrics).encode(), "text/csv; charset=utf-8"
    else:
        whole = {"record": record.json_dict(), "metrics": [metric.json_dict() for metric in metrics]}
        content, kind = orjson.dumps(whole), "application/json"
    headers = {
        "Content-Disposition": f'attachment; filename="experiment-{job_id}.{format}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=kind, headers=headers)


def _id(text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError:
        problem = field_problem("ids", f"has {text.strip()[:40]!r}", "Give ids of training jobs, commas between them.")
        raise ValidationFailed("these cannot be compared", details=[problem]) from None
