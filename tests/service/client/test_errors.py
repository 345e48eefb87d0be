"""A problem's class is what a caller can do about it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from service.client.errors import Locked, Overloaded, Problem, Refused, problem_of, retry_after, to_problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Locked),
        (403, Locked),
        (422, Refused),
        (429, Overloaded),
        (500, Problem),
        (503, Overloaded),
        (504, Overloaded),
    ],
)
def test_a_status_has_its_class(status: int, kind: type[Problem]) -> None:
    assert type(to_problem({"status": status})) is kind


def test_the_servers_words_are_kept() -> None:
    problem = to_problem(
        {"status": 429, "type": "urn:rddm:problem:queue-full", "title": "Full", "detail": "wait", "retry_after": 2.5}
    )
    assert (problem.slug, problem.retry_after, str(problem)) == ("queue-full", 2.5, "Full (429): wait")


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-3", None)])
def test_a_header_of_seconds(header: str, seconds: float | None) -> None:
    assert retry_after(httpx2.Response(503, headers={"retry-after": header})) == seconds


@pytest.mark.parametrize(("later", "seconds"), [(60, 60.0), (-60, 0.0)])
def test_a_header_of_a_date_is_seconds_from_now(later: int, seconds: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=later), usegmt=True)
    assert retry_after(httpx2.Response(503, headers={"retry-after": date})) == pytest.approx(seconds, abs=3)


def test_a_proxys_page_says_nothing_but_its_status() -> None:
    problem = problem_of(httpx2.Response(502, headers={"content-type": "text/html", "x-request-id": "r"}, content=b"<html>"))
    assert (type(problem), problem.title, problem.detail, problem.request_id) == (Overloaded, "Bad Gateway", "", "r")


@pytest.mark.parametrize("body", [b"{", b"[1, 2]", b"7"])
def test_a_body_that_is_not_the_json_that_it_claims_to_be(body: bytes) -> None:
    problem = problem_of(httpx2.Response(400, headers={"content-type": "application/problem+json"}, content=body))
    assert (problem.status, problem.detail) == (400, "The body is not the JSON that it claims to be.")


def test_the_status_is_the_responses_whatever_the_body_says() -> None:
    assert problem_of(httpx2.Response(404, json={"status": 200, "title": "x"})).status == 404
