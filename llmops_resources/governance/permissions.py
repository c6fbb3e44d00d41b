"""Which role may do what: one table. No match means denied."""

from enum import StrEnum

from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden


class Role(StrEnum):
    ADMIN = "admin"
    RESEARCHER = "researcher"
    ML_ENGINEER = "ml_engineer"
    DATA_ENGINEER = "data_engineer"
    REVIEWER = "reviewer"
    SERVICE_DEVELOPER = "service_developer"
    PROMPT_DESIGNER = "prompt_designer"
    OPERATOR = "operator"
    SECURITY_ADMIN = "security_admin"
    VIEWER = "viewer"


class Permission(StrEnum):
    """Grammar: `<resource>:<verb>`."""

    SELF_READ = "self:read"
    CATALOG_READ = "catalog:read"
    DATASET_WRITE = "dataset:write"
    DATASET_DELETE = "dataset:delete"
    MODEL_WRITE = "model:write"
    MODEL_DELETE = "model:delete"
    VERSION_APPROVE = "version:approve"
    VERSION_RECALL = "version:recall"
    PROMPT_WRITE = "prompt:write"
    PROMPT_DELETE = "prompt:delete"
    SECRET_WRITE = "secret:write"  # noqa: S105  the name of a permission
    TRAINING_READ = "training:read"
    TRAINING_SUBMIT = "training:submit"
    TRAINING_PRIORITIZE = "training:prioritize"
    TRAINING_QUOTA = "training:quota"
    METRICS_WRITE = "metrics:write"
    EVALUATION_READ = "evaluation:read"
    EVALUATION_RUN = "evaluation:run"
    GATE_DECLARE = "gate:declare"
    REVIEW_MANAGE = "review:manage"
    REVIEW_SCORE = "review:score"
    SERVING_READ = "serving:read"
    SERVING_DEPLOY = "serving:deploy"
    CHAT = "serving:chat"
    USAGE_READ = "usage:read"
    BUDGET_WRITE = "budget:write"
    KEY_WRITE = "key:write"
    KEY_MANAGE = "key:manage"
    AUDIT_READ = "audit:read"
    PIPELINES_VIEW = "pipelines:view"


_EVERYONE = frozenset(Role)
_OF_KEYS = frozenset({Permission.CHAT, Permission.SERVING_READ})
_BUILDERS = frozenset({Role.RESEARCHER, Role.ML_ENGINEER, Role.DATA_ENGINEER})
_MODELLERS = frozenset({Role.ADMIN, Role.RESEARCHER, Role.ML_ENGINEER})
_PROMPTERS = frozenset({Role.ADMIN, Role.PROMPT_DESIGNER, Role.SERVICE_DEVELOPER})

ROLES: dict[Permission, frozenset[Role]] = {
    Permission.SELF_READ: _EVERYONE,
    Permission.CATALOG_READ: _EVERYONE,
    Permission.DATASET_WRITE: _BUILDERS | {Role.ADMIN},
    Permission.DATASET_DELETE: _BUILDERS | {Role.ADMIN},
    Permission.MODEL_WRITE: _MODELLERS,
    Permission.MODEL_DELETE: _MODELLERS,
    Permission.VERSION_APPROVE: frozenset({Role.ADMIN, Role.REVIEWER}),
    Permission.VERSION_RECALL: frozenset({Role.ADMIN, Role.REVIEWER, Role.SECURITY_ADMIN}),
    Permission.PROMPT_WRITE: _PROMPTERS,
    Permission.PROMPT_DELETE: _PROMPTERS,
    Permission.SECRET_WRITE: frozenset({Role.ADMIN, Role.SECURITY_ADMIN, Role.SERVICE_DEVELOPER}),
    Permission.TRAINING_READ: _EVERYONE,
    Permission.TRAINING_SUBMIT: _MODELLERS,
    Permission.TRAINING_PRIORITIZE: frozenset({Role.ADMIN, Role.OPERATOR}),
    Permission.TRAINING_QUOTA: frozenset({Role.ADMIN, Role.OPERATOR}),
    Permission.METRICS_WRITE: _MODELLERS,
    Permission.EVALUATION_READ: _EVERYONE,
    Permission.EVALUATION_RUN: _MODELLERS | {Role.REVIEWER},
    Permission.GATE_DECLARE: frozenset({Role.ADMIN, Role.REVIEWER}),
    Permission.REVIEW_MANAGE: _MODELLERS | {Role.REVIEWER},
    Permission.REVIEW_SCORE: _EVERYONE - {Role.VIEWER},
    Permission.SERVING_READ: _EVERYONE,
    Permission.SERVING_DEPLOY: frozenset({Role.ADMIN, Role.SERVICE_DEVELOPER, Role.OPERATOR}),
    Permission.CHAT: _EVERYONE - {Role.VIEWER},
    Permission.USAGE_READ: frozenset({Role.ADMIN, Role.OPERATOR, Role.SECURITY_ADMIN}),
    Permission.BUDGET_WRITE: frozenset({Role.ADMIN, Role.OPERATOR}),
    Permission.KEY_WRITE: frozenset({Role.ADMIN, Role.SECURITY_ADMIN, Role.SERVICE_DEVELOPER}),
    Permission.KEY_MANAGE: frozenset({Role.ADMIN, Role.SECURITY_ADMIN}),
    Permission.AUDIT_READ: frozenset({Role.ADMIN, Role.SECURITY_ADMIN}),
    Permission.PIPELINES_VIEW: frozenset({Role.ADMIN, Role.OPERATOR, Role.ML_ENGINEER, Role.DATA_ENGINEER}),
}


def may(actor: Actor, permission: Permission) -> bool:
    """Whether one of the actor's roles grants the permission; parts of the platform itself may do their work.

    A job's token grants nothing but recording the metrics of its own job, which the route checks beside this. An API
    key chats, on the routes that are its own, and asks whether they are well.
    """
    if actor.job_id is not None:
        return permission is Permission.METRICS_WRITE
    if actor.key_id is not None:
        return permission in _OF_KEYS
    return actor.is_system or bool(actor.roles & {role.value for role in ROLES.get(permission, frozenset())})


def require(actor: Actor, permission: Permission) -> None:
    """Raises Forbidden, naming the roles that would do."""
    if not may(actor, permission):
        needed = ", ".join(sorted(ROLES.get(permission, frozenset()))) or "nobody"
        raise Forbidden(
            f"{actor.id} may not {permission}", remedy=f"Ask for one of these roles: {needed}; or ask such a person."
        )
