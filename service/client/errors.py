"""What goes wrong between a client and the gateway.

ClientError
├─ Unreachable      no answer came, or it broke off
├─ Unexpected       the answer is not one that the contract knows
└─ Problem          the server's problem+json: status, slug, title, detail, request_id, retry_after
   ├─ Refused       4xx: what was sent cannot be served; sending it again changes nothing
   │  └─ Locked     401, 403: a key is missing or may not do this
   └─ Overloaded    429, 502, 503, 504: it may be served later; raised once the retries are spent
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2


class ClientError(Exception):
    """Whatever keeps a request from being answered."""


class Unreachable(ClientError):
    """No answer came, or it broke off. patient: the server was given all the time there was, so asking again is no use."""

    def __init__(self, detail: str, *, patient: bool = False) -> None:
        super().__init__(detail)
        self.patient = patient


class Unexpected(ClientError):
    """The answer is not one that the contract knows: not this service, or another version of it."""


class Problem(ClientError):
    """The server's own words (RFC 9457); retry_after: seconds, or None."""

    def __init__(self, body: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status = int(body["status"])
        self.slug = str(body.get("type", "")).rpartition(":")[2]
        self.title = str(body.get("title", ""))
        self.detail = str(body.get("detail", ""))
        self.request_id: str | None = body.get("request_id")
        self.retry_after = retry_after if retry_after is not None else body.get("retry_after")
        super().__init__(f"{self.title} ({self.status}): {self.detail}")


class Refused(Problem):
    """What was sent cannot be served; sending it again changes nothing."""


class Locked(Refused):
    """A key is missing, unknown, or may not do this."""


class Overloaded(Problem):
    """The gateway is full or has no engine now; the request may be served later."""


def to_problem(body: Mapping[str, Any], retry_after: float | None = None) -> Problem:
    """The error class that a problem object's status calls for."""
    status = int(body["status"])
    if status in {401, 403}:
        return Locked(body, retry_after)
    if status in {429, 502, 503, 504}:
        return Overloaded(body, retry_after)
    return (Refused if status < 500 else Problem)(body, retry_after)


def retry_after(response: "httpx2.Response") -> float | None:
    """Seconds from now, whether the header says seconds or a date; None without one."""
    value = response.headers.get("retry-after", "")
    try:
        if value.isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def problem_of(response: "httpx2.Response") -> Problem:
    """What an unsuccessful response says; a proxy's HTML says nothing but its status."""
    body: dict[str, Any] = {"title": response.reason_phrase or "Error", "request_id": response.headers.get("x-request-id")}
    if "json" in response.headers.get("content-type", ""):
        try:
            body |= dict(response.json())
        except (TypeError, ValueError):
            body["detail"] = "The body is not the JSON that it claims to be."
    return to_problem(body | {"status": response.status_code}, retry_after(response))
