"""Errors as RFC 9457 problem+json with the request's id."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from service.api.prefix import route_of
from service.errors import ServiceError

MEDIA_TYPE = "application/problem+json"
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
log = logging.getLogger("rddm.problems")


class Problem(JSONResponse):
    """A problem document as a response."""

    media_type = MEDIA_TYPE


def request_id_of(request: Request) -> str:
    """The id that the middleware gave the request."""
    return str(request.scope.get("state", {}).get("request_id", "-"))


def respond(request: Request, problem: dict[str, Any], headers: dict[str, str] | None = None) -> Problem:
    """The response; on the OpenAI-shaped routes it has OpenAI's `error` member too."""
    body = with_openai_error(problem) if route_of(request.scope).startswith("/v1/") else problem
    return Problem(body, problem["status"], headers)


def with_openai_error(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The problem with the member that OpenAI's SDKs read."""
    status = problem["status"]
    kind = OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = problem["type"].rpartition(":")[2]
    return {**problem, "error": {"message": problem["detail"], "type": kind, "code": code, "param": None}}


def retry_headers(error: ServiceError) -> dict[str, str]:
    """Retry-After in whole seconds, at least 1, where the error knows."""
    return {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


def of_service(request: Request, error: Exception) -> Problem:
    """An exception handler of an application, for the service's own errors."""
    assert isinstance(error, ServiceError)
    if error.status >= 500:
        log.warning("%s: %s", error.slug, error.detail)
    return respond(request, error.to_problem(request_id_of(request)), retry_headers(error) | dict(error.headers))
