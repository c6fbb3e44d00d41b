"""Tokens good for one job alone: HS256 JSON Web Tokens (RFC 7519) signed with the platform's key."""

from datetime import timedelta
from uuid import UUID

import jwt

from llmops_resources.database import Actor
from llmops_resources.errors import NotAuthenticated
from llmops_resources.values import utc_now

_AUDIENCE = "llmops-job"


def issue_job_token(signing_key: bytes, job_id: UUID, *, lifetime: timedelta) -> str:
    """A token with which a training process records the metrics of its own job and nothing else."""
    claims = {"sub": f"job:{job_id}", "job": str(job_id), "aud": _AUDIENCE, "exp": utc_now() + lifetime}
    return jwt.encode(claims, signing_key, algorithm="HS256")


def job_actor(signing_key: bytes, token: str) -> Actor:
    """The actor behind a job token. Raises NotAuthenticated when it is forged, expired or not a job's."""
    try:
        claims = jwt.decode(
            token, signing_key, algorithms=["HS256"], audience=_AUDIENCE, options={"require": ["exp", "sub"]}
        )
    except jwt.PyJWTError as error:
        raise NotAuthenticated(
            f"the bearer token is not valid: {error}", remedy="Use the JOB_TOKEN the platform gave this job."
        ) from error
    return Actor(id=claims["sub"], job_id=claims["job"])
