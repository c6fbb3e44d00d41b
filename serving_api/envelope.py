"""The envelope every answer under the base path travels in."""

from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel

from llmops_resources.errors import ErrorKind, FieldProblem

Data = TypeVar("Data")


class Envelope(BaseModel, Generic[Data]):
    """`{"status": "success", "message": …, "data": …}`."""

    status: Literal["success"] = "success"
    message: str = ""
    data: Data


class FailureDetails(BaseModel):
    """What a program may decide by: the kind of error; and every bad field."""

    kind: ErrorKind
    remedy: str
    errors: list[FieldProblem]


class Failure(BaseModel):
    """`{"status": "fail", …}`; the message ends with the remedy. No details when the error has no kind of its own."""

    status: Literal["fail"]
    message: str
    data: FailureDetails | None


#: What every route under the base path may answer beside its success.
FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": Failure, "description": "The request cannot be done; the message says what to do."},
    "5XX": {"model": Failure, "description": "Something the platform depends on is down or answered wrongly."},
}


def ok(data: Data, message: str = "") -> Envelope[Data]:
    """A success with its data."""
    return Envelope(message=message, data=data)
