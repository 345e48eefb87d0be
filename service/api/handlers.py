"""Every error of the application as a problem: ours, FastAPI's own validation, and what nobody foresaw."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount

from service.api.problems import Problem, of_service, request_id_of, respond
from service.errors import InvalidValue, ServiceError, problem_document

SHOWN_CHARACTERS = 60
FILES = {"GET", "HEAD"}  # what answers the one answers the other, and the page's files answer nothing else
HTTP_SLUGS = {404: "no-such-page", 405: "method-not-allowed"}
log = logging.getLogger("rddm.problems")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def sentences(wrong: Sequence[Any]) -> list[dict[str, str]]:
    """pydantic's errors as {"at", "detail"}, each naming the value and what is allowed."""
    described = []
    for one in wrong:
        at = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            described.append({"at": at, "detail": f"unknown key {_shown(one['loc'][-1])}"})
        elif one["type"] in {"missing", "json_invalid"}:
            described.append({"at": at, "detail": one["msg"].lower()})
        else:
            described.append(
                {"at": at, "detail": f"{_shown(one.get('input'))}: {one['msg'].removeprefix('Value error, ').lower()}"}
            )
    return described


def _of_validation(request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    described = sentences(error.errors())
    detail = "; ".join(f"{one['at']}: {one['detail']}" for one in described)
    problem = problem_document(422, InvalidValue.slug, InvalidValue.title, detail, request_id_of(request), errors=described)
    return respond(request, problem)


def _of_http(request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    slug = HTTP_SLUGS.get(error.status_code, "http")
    details = {404: f"nothing answers at {request.url.path[:200]!r}", 405: f"{request.method} is not answered here"}
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
        detail += f"; expected {headers['Allow']}"
    problem = problem_document(error.status_code, slug, str(error.detail), detail, request_id_of(request))
    return respond(request, problem, headers)


def _allowed(request: Request) -> list[str]:
    """Every method that the address answers; the router names those of its first route only."""
    methods: set[str] = set()
    outside = request.scope.get("app_root_path", request.scope.get("root_path", ""))  # not the place where the page's files are
    for route in _routes(request.app.routes):
        match, _ = route.matches({**request.scope, "method": "GET", "root_path": outside})
        if match != Match.NONE:
            methods |= FILES if isinstance(route, Mount) else getattr(route, "methods", None) or set()
    return sorted(methods | FILES if "GET" in methods else methods)


def _routes(given: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """All routes; FastAPI keeps those of an included router within one."""
    for route in given:
        router = getattr(route, "original_router", None)
        yield from [route] if router is None else _routes(router.routes)


def _of_anything(request: Request, error: Exception) -> Problem:
    log.error("unforeseen %s", type(error).__name__, exc_info=error)
    return respond(request, ServiceError("the error is in the log, under the request's id").to_problem(request_id_of(request)))


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(ServiceError, of_service)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_anything)
