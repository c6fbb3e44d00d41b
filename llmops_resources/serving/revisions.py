"""New revisions of a live endpoint: changed settings, the same once more, or those of an earlier revision.

Each takes the endpoint's row first, so that of two people at once the second finds what the first left; whoever says
which revision they looked at (`seen`) is told instead when it is not the present one any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from llmops_resources.catalog import approvals
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, ValidationFailed, field_problem
from llmops_resources.serving import endpoints, parity, prompt_policy, wishes
from llmops_resources.serving.endpoints import EXTERNAL, Endpoint, EndpointStatus
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.options import IN_A_CLUSTER, Options, check_backend, decide
from llmops_resources.serving.runtimes import default_image
from llmops_resources.serving.tables import DeploymentRow, EndpointRow
from llmops_resources.settings import Settings

#: The states a person may ask for: zero replicas, or as many as before that.
STOP: Final = frozenset({EndpointStatus.STOPPED})
START: Final = frozenset({EndpointStatus.DEPLOYING, EndpointStatus.HEALTHY})


@dataclass(frozen=True)
class Past:
    """A revision as far as going back is concerned; `content` is what it serves and how, without its replicas."""

    revision: int
    content: tuple[Any, ...]
    replicas: tuple[int, int]
    restores: int | None = None


def change(
    tx: Transaction,
    settings: Settings,
    endpoint_id: Any,
    given: Mapping[str, Any],
    *,
    seen: int | None = None,
    note: str = "",
    reasons: Mapping[str, str] | None = None,
) -> Endpoint:
    """Set the named fields; what is not named stays, and None goes back to the installation's default.

    A change of nothing makes no revision, and neither does one of the rollback plan alone. Raises NotFound, Conflict
    (another revision than `seen`, no live approval, parity), ValidationFailed.
    """
    row = _load(tx, endpoint_id, seen)
    wanted = dict(given)
    least, most = _replicas(tx, row, wanted)
    plan = str(wanted.pop("rollback_plan") or "").strip() or None if "rollback_plan" in wanted else row.rollback_plan
    endpoints.check_wishes(Environment(row.environment), least, most, plan)
    config = _configured(settings, row, wanted)
    same = (least, most, config) == (row.min_replicas, row.max_replicas, row.config)
    if same and plan == row.rollback_plan and not reasons:
        return endpoints.value(tx, row)
    if same:
        _check_parity(tx, row, row.config, reasons)
        before, row.rollback_plan = row.rollback_plan, plan
        tx.audit("endpoint.plan", "endpoint", row.id, before=before, after=plan)
        return endpoints.value(tx, row)
    if most > 0:
        _check_approved(tx, row, config)
        check_backend(settings, row.backend) if row.backend != EXTERNAL else None
    _check_parity(tx, row, config, reasons)
    row.min_replicas, row.max_replicas, row.config, row.rollback_plan = least, most, config, plan
    endpoints.add_revision(tx, row, "change", note=note)
    return endpoints.value(tx, row)


def redeploy(
    tx: Transaction,
    settings: Settings,
    endpoint_id: Any,
    given: Mapping[str, Any] | None = None,
    *,
    seen: int | None = None,
    note: str = "",
    reasons: Mapping[str, str] | None = None,
) -> Endpoint:
    """Roll the present settings out once more, or with the options given; a stopped endpoint comes back as it was.

    Raises NotFound, Conflict, ValidationFailed as `change` does.
    """
    row = _load(tx, endpoint_id, seen)
    config = _configured(settings, row, dict(given or {}))
    _check_approved(tx, row, config)
    _check_parity(tx, row, config, reasons)
    row.config = config
    row.min_replicas, row.max_replicas = _running(tx, row)
    endpoints.add_revision(tx, row, "redeploy", note=note)
    return endpoints.value(tx, row)


def rollback(
    tx: Transaction,
    settings: Settings,
    endpoint_id: Any,
    *,
    revision: int | None = None,
    seen: int | None = None,
    note: str = "",
) -> Endpoint:
    """Back to an earlier revision, with its model, image, settings, prompt and replicas.

    Without `revision` it is the one before, and the next time the one before that; with none left the endpoint is
    scaled to zero and keeps everything. Raises Conflict when that revision's model or prompt is no longer approved.
    """
    row = _load(tx, endpoint_id, seen)
    history = _history(tx, row)
    if revision is None:
        past = {it.revision: it for it in map(_past, history.values())}
        target, position = before(past, row.revision)
        if target is None:
            if row.max_replicas:
                row.min_replicas = row.max_replicas = 0
                endpoints.add_revision(tx, row, "stop", restores=position, note=note)
            return endpoints.value(tx, row)
        revision = target
    earlier = history.get(revision)
    if earlier is None or revision >= row.revision:
        remedy = "GET …/deployments lists the revisions; give one that is below the present one."
        raise NotFound(f"/{row.route} has no earlier revision {revision}", remedy=remedy)
    _check_may_return(tx, settings, row, earlier)
    row.model_id, row.model_digest, row.backend = earlier.model_id, earlier.model_digest, earlier.backend
    row.min_replicas, row.max_replicas, row.config = earlier.min_replicas, earlier.max_replicas, earlier.config
    row.rollback_plan = earlier.rollback_plan or row.rollback_plan
    endpoints.add_revision(tx, row, "rollback", restores=revision, note=note)
    return endpoints.value(tx, row)


def is_usable(tx: Transaction, row: DeploymentRow) -> bool:
    """Whether exactly a revision's bytes and its prompt are approved now, so that it may be gone back to."""
    return approvals.is_live(tx, row.model_id, row.model_digest) and prompt_policy.is_live(tx, row.config)


def before(past: Mapping[int, Past], current: int) -> tuple[int | None, int]:
    """The revision to go back to from `current`, or None; and how far back that search came. Pure.

    A revision that went back stands where it went back to, so that going back again goes further; one that asks for
    the same as the present one, or for no replicas, is passed over.
    """
    present, place = past[current], current
    while True:
        here = past.get(place)
        if here is not None and here.restores is not None:
            place = here.restores
            continue
        earlier = max((revision for revision in past if revision < place), default=None)
        if earlier is None:
            return None, place
        place = earlier
        there = past[earlier]
        other = there.content != present.content or (present.replicas[1] and there.replicas != present.replicas)
        if there.replicas[1] and other:
            return earlier, place


def _load(tx: Transaction, endpoint_id: Any, seen: int | None) -> EndpointRow:
    row = endpoints.load(tx, endpoint_id)
    if seen is not None and seen != row.revision:
        raise Conflict(
            f"/{row.route} is at revision {row.revision} by now, not {seen}",
            remedy="Load it again, look at what changed, and decide anew.",
        )
    return row


def _replicas(tx: Transaction, row: EndpointRow, wanted: dict[str, Any]) -> tuple[int, int]:
    """The replicas asked for, by number or by `status`; both are taken out of what is wanted."""
    status = wanted.pop("status", None)
    given = {name: wanted.pop(name) for name in ("min_replicas", "max_replicas") if name in wanted}
    if status is not None and status not in STOP | START:
        remedy = "Ask for stopped, or for deploying to start it; the other states are what is observed."
        problem = field_problem("status", f"{status} cannot be asked for", remedy)
        raise ValidationFailed("the endpoint cannot be changed so", details=[problem])
    if status in STOP:
        if any(given.values()):
            problem = field_problem("status", "stopped has no replicas", "Leave minReplicas and maxReplicas out.")
            raise ValidationFailed("the endpoint cannot be changed so", details=[problem])
        return 0, 0
    least, most = _running(tx, row) if status is not None else (row.min_replicas, row.max_replicas)
    return given.get("min_replicas", least), given.get("max_replicas", most)


def _running(tx: Transaction, row: EndpointRow) -> tuple[int, int]:
    """The endpoint's replicas; of a stopped one those it had before, at least one."""
    if row.max_replicas:
        return row.min_replicas, row.max_replicas
    query = select(DeploymentRow).filter_by(endpoint_id=row.id).where(DeploymentRow.max_replicas > 0)
    last = tx.session.scalar(query.order_by(DeploymentRow.revision.desc()).limit(1))
    return (last.min_replicas, last.max_replicas) if last else (1, 1)


def _configured(settings: Settings, row: EndpointRow, wanted: dict[str, Any]) -> dict[str, Any]:
    """The endpoint's configuration with the options that are wanted. Raises ValidationFailed."""
    if not wanted:
        return row.config
    if row.backend == EXTERNAL and (foreign := sorted(wanted.keys() - {"prompt_policy_id"})):
        names = {name: field.alias or name for name, field in Options.model_fields.items()}
        remedy = "Leave it out: an external model runs at its provider."
        problems = [field_problem(names[name], "is not ours to decide", remedy) for name in foreign]
        raise ValidationFailed("the endpoint cannot be changed so", details=problems)
    present = Options.of(row.config)
    if wanted.get("use_gpu", True) is False:
        wanted.setdefault("gpu_count", None)  # there are none to count any more
    if row.backend in IN_A_CLUSTER and "use_gpu" in wanted and "serving_runtime_image" not in wanted:
        # An image nobody chose follows the device: the default for GPUs is of no use without one.
        default = default_image(settings, use_gpu=bool(present.use_gpu))
        if present.serving_runtime_image == default:
            wanted = {**wanted, "serving_runtime_image": None}
    asked = Options.model_validate({**present.model_dump(), **wanted})
    if row.backend == EXTERNAL:
        return asked.config
    return decide(settings, row.backend, asked).config


def _check_parity(
    tx: Transaction, row: EndpointRow, config: Mapping[str, Any], reasons: Mapping[str, str] | None
) -> None:
    """Only what the change touches is asked about: what stood before stands."""
    now = wishes.of_environment(row.backend, config)
    changed = wishes.differences(wishes.of_environment(row.backend, row.config), now)
    touched = frozenset(it.field for it in changed)
    parity.require(tx, Environment(row.environment), row.route, now, reasons or {}, touched=touched)


def _check_approved(tx: Transaction, row: EndpointRow, config: Mapping[str, Any]) -> None:
    """Raises Conflict unless exactly the endpoint's bytes are approved, and the prompt that is wanted."""
    if approvals.approved_model(tx, row.model_id).digest != row.model_digest:
        raise Conflict("the model's files are not the approved ones", remedy="Deploy an approved version.")
    prompt_policy.check(tx, config)


def _check_may_return(tx: Transaction, settings: Settings, row: EndpointRow, earlier: DeploymentRow) -> None:
    """Raises Conflict for a model or prompt that may not be used, ValidationFailed for a backend that is not there."""
    if earlier.max_replicas and not is_usable(tx, earlier):
        live = approvals.is_live(tx, earlier.model_id, earlier.model_digest)
        usable = [
            str(it.revision)
            for it in _history(tx, row).values()
            if it.revision < row.revision and is_usable(tx, it)
        ]
        offer = f"Go back to revision {', '.join(usable[:5])}" if usable else "Deploy an approved version"
        raise Conflict(
            f"the {'prompt' if live else 'model'} of revision {earlier.revision} is no longer approved",
            remedy=f"{offer}, or stop the endpoint with status stopped.",
        )
    if earlier.backend != EXTERNAL:
        check_backend(settings, earlier.backend)


def _history(tx: Transaction, row: EndpointRow) -> dict[int, DeploymentRow]:
    """Every revision of an endpoint by its number, newest first."""
    query = select(DeploymentRow).filter_by(endpoint_id=row.id).order_by(DeploymentRow.revision.desc())
    return {it.revision: it for it in tx.session.scalars(query)}


def _past(row: DeploymentRow) -> Past:
    content = (row.model_digest, str(row.model_id), row.backend, row.config)
    return Past(row.revision, content, (row.min_replicas, row.max_replicas), row.restores)
