"""The envelope every answer under the base path travels in."""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

Data = TypeVar("Data")


class Envelope(BaseModel, Generic[Data]):
    """`{"status": "success", "message": …, "data": …}`."""

    status: Literal["success"] = "success"
    message: str = ""
    data: Data


def ok(data: Data, message: str = "") -> Envelope[Data]:
    """A success with its data."""
    return Envelope(message=message, data=data)
