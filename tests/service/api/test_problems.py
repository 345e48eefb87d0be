"""Errors become problem documents, in words that name the value."""

import json

import pytest
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from service.api.handlers import sentences
from service.api.problems import respond, retry_headers, with_openai_error
from service.errors import NotFound, QueueFull, problem_document


def request(path: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "headers": [], "root_path": "", "query_string": b""})


@pytest.mark.parametrize(("seconds", "header"), [(None, {}), (0.2, {"Retry-After": "1"}), (7.2, {"Retry-After": "8"})])
def test_retry_after_is_whole_seconds_and_never_too_soon(seconds: float | None, header: dict[str, str]) -> None:
    assert retry_headers(QueueFull("full", retry_after=seconds)) == header


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (404, "not_found_error"), (422, "invalid_request_error"), (503, "server_error")],
)
def test_openais_clients_find_their_own_member(status: int, kind: str) -> None:
    problem = problem_document(status, "slug", "Title", "what was wrong", "id")
    error = with_openai_error(problem)["error"]
    assert error == {"message": "what was wrong", "type": kind, "code": "slug", "param": None}


@pytest.mark.parametrize(("path", "has_error"), [("/v1/images/edits", True), ("/restore", False)])
def test_only_openais_routes_have_it(path: str, has_error: bool) -> None:
    response = respond(request(path), NotFound("no such model").to_problem("id"))
    body = json.loads(bytes(response.body))
    assert (response.status_code, response.media_type) == (404, "application/problem+json")
    assert body["type"] == "urn:rddm:problem:not-found"
    assert ("error" in body) == has_error


def test_sentences_name_the_value_and_what_is_allowed() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")
        number: int
        wanted: str

    with pytest.raises(ValidationError) as wrong:
        Model.model_validate({"number": "x" * 99, "more": 1})
    details = {one["at"]: one["detail"] for one in sentences(wrong.value.errors())}
    assert details["more"] == "unknown key 'more'"
    assert details["wanted"] == "field required"
    assert details["number"].startswith("'" + "x" * 59 + "...: input should be a valid integer")
