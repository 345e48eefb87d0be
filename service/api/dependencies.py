"""What routes depend on: the gateway, the job queue, and the context of the request."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from service.api.problems import MEDIA_TYPE, request_id_of
from service.engines.contract import Model
from service.errors import UnknownModel
from service.gateway import Gateway
from service.jobs.queue import JobQueue
from service.keys import RequestContext
from service.settings import is_loopback

BEARER = HTTPBearer(auto_error=False, description="an API key, where the service has keys")
HEADER = APIKeyHeader(name="X-API-Key", auto_error=False)


def gateway_of(request: Request) -> Gateway:
    """The running gateway."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def jobs_of(request: Request) -> JobQueue:
    """The jobs of the running gateway."""
    jobs: JobQueue = request.app.state.jobs
    return jobs


# Dependencies are coroutines though they await nothing: FastAPI runs plain functions in a thread each.


async def get_gateway(request: Request) -> Gateway:
    """The running gateway, as a dependency."""
    return gateway_of(request)


async def get_job_queue(request: Request) -> JobQueue:
    """The jobs of the running gateway, as a dependency."""
    return jobs_of(request)


def context_of(request: Request) -> RequestContext:
    """The request's id, caller and arrival. Raises Unauthorised."""
    address = request.client.host if request.client else "unknown"
    scheme, credentials = get_authorization_scheme_param(request.headers.get("authorization"))
    presented = request.headers.get("x-api-key", credentials if scheme.lower() == "bearer" and credentials else None)
    context = gateway_of(request).keyring.context(request_id_of(request), presented, address, is_loopback(address))
    request.scope["state"]["caller"] = context.caller
    return context


async def get_context(
    request: Request, _bearer: Annotated[Any, Depends(BEARER)], _key: Annotated[Any, Depends(HEADER)]
) -> RequestContext:
    """The request's context, as a dependency; the two that it has itself are for the OpenAPI document."""
    return context_of(request)


async def get_linked_context(
    request: Request, _bearer: Annotated[Any, Depends(BEARER)], _key: Annotated[Any, Depends(HEADER)]
) -> RequestContext | None:
    """The request's context, or None where it has the signature of a link in place of a key."""
    return None if "signature" in request.query_params else context_of(request)


JobQueueDependency = Annotated[JobQueue, Depends(get_job_queue)]
GatewayDependency = Annotated[Gateway, Depends(get_gateway)]
ContextDependency = Annotated[RequestContext, Depends(get_context)]
LinkedContextDependency = Annotated[RequestContext | None, Depends(get_linked_context)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for the OpenAPI document."""
    words = {
        400: "malformed or cut short",
        401: "no key, or an unknown one",
        403: "not allowed",
        404: "no such model, task, job or result",
        406: "no format that is accepted",
        408: "the body came too slowly",
        409: "in conflict with an earlier request, or not done yet",
        413: "bytes, pixels, frames or megapixel-steps over a limit",
        415: "not a kind of file that is read here",
        422: "a value or key that is not allowed",
        424: "an address does not give or take a picture",
        429: "the queue is full or the quota spent; see Retry-After",
        500: "the engine's answer was wrong",
        503: "no engine, or going down; see Retry-After",
        504: "the deadline passed or cannot be met",
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": words[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def find(gateway: Gateway, name: str) -> Model:
    """Raises UnknownModel with the names there are."""
    loaded = gateway.repository.models()
    if name not in loaded:
        raise UnknownModel(f"unknown model {name[:64]!r}; expected one of {sorted(loaded)}")
    return loaded[name]
