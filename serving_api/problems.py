"""The answers of FastAPI's routes when something is wrong: everything they raise ends in the envelope."""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from llmops_resources.errors import (
    ErrorKind,
    FieldProblem,
    InvalidInput,
    PlatformError,
    TooManyRequests,
    Unavailable,
    field_problem,
)
from serving_api.failures import envelope_bytes, status_of

logger = logging.getLogger(__name__)


def problem_response(error: PlatformError) -> Response:
    """The whole answer, with the headers the kind of error calls for."""
    headers: dict[str, str] = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if isinstance(error, Unavailable):
        headers["Retry-After"] = "5"
    return Response(envelope_bytes(error), status_of(error.kind), headers, "application/json")


def install(app: FastAPI) -> None:
    """Register the handlers; everything a route raises ends in the envelope."""
    app.add_exception_handler(PlatformError, _platform_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _our_mistake)


def _platform_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PlatformError)  # noqa: S101  registered for this class alone
    return problem_response(error)


def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this class alone
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return problem_response(InvalidInput("the body is not JSON", remedy="Send a JSON object as the body."))
    problems = [_field(item) for item in error.errors()]
    body = {
        "status": "fail",
        "message": f"{len(problems)} field(s) of the request are wrong: " + "; ".join(p["path"] for p in problems[:10]),
        "data": {"kind": ErrorKind.VALIDATION_FAILED, "remedy": "Correct the listed fields.", "errors": problems},
    }
    return Response(orjson.dumps(body), 422, media_type="application/json")


def _field(item: dict[str, Any]) -> FieldProblem:
    path = ".".join(str(part) for part in item["loc"] if part not in {"body", "query", "path", "header"})
    expected = item.get("ctx", {}).get("expected")
    remedy = f"Use {expected}." if expected else str(item["msg"]).rstrip(".") + "."
    return field_problem(path or "body", str(item["msg"]), remedy)


def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this class alone
    body = {"status": "fail", "message": str(error.detail), "data": None}
    return Response(orjson.dumps(body), error.status_code, error.headers, "application/json")


def _our_mistake(request: Request, error: Exception) -> Response:
    logger.error("unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    body = {"status": "fail", "message": "an unexpected error happened; the log has the details", "data": None}
    return Response(orjson.dumps(body), 500, media_type="application/json")
