"""The facts of a request that logs and metrics share."""

from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = ContextVar("request_id", default="-")


@dataclass(frozen=True)
class RequestRecord:
    """A finished request. route: the template, never the address itself; seconds: from its head to the end of its answer."""

    method: str
    route: str
    status: int
    seconds: float
