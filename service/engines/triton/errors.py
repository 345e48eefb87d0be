"""The one place where what a Triton server says becomes an error of this service. What it says in detail goes to the log only."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from tritonclient.utils import InferenceServerException

from service.errors import (
    BadAnswer,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidValue,
    OutOfMemory,
    QueueFull,
    ServiceError,
    UnknownModel,
)

log = logging.getLogger(__name__)

# gRPC's code -> our error, whose class holds the HTTP status.
CODES: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.CANCELLED: EngineUnavailable,
    grpc.StatusCode.UNKNOWN: EngineUnavailable,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidValue,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.ALREADY_EXISTS: EngineUnavailable,
    grpc.StatusCode.PERMISSION_DENIED: EngineUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QueueFull,
    grpc.StatusCode.FAILED_PRECONDITION: EngineUnavailable,
    grpc.StatusCode.ABORTED: EngineUnavailable,
    grpc.StatusCode.OUT_OF_RANGE: InvalidValue,
    grpc.StatusCode.UNIMPLEMENTED: EngineUnavailable,
    grpc.StatusCode.INTERNAL: EngineUnavailable,
    grpc.StatusCode.UNAVAILABLE: EngineUnavailable,
    grpc.StatusCode.DATA_LOSS: EngineUnavailable,
    grpc.StatusCode.UNAUTHENTICATED: EngineUnavailable,
}
DETAILS: dict[type[ServiceError], str] = {
    BadAnswer: "an output of model {name!r} has the wrong shape",
    DeadlineExceeded: "the deadline passed while the network ran",
    EngineUnavailable: "the server of model {name!r} does not answer",
    InvalidValue: "model {name!r} does not take this input",
    OutOfMemory: "there is no memory for model {name!r}",
    QueueFull: "too much waits for model {name!r}",
    UnknownModel: "model {name!r}, or this version of it, is not loaded",
}
# Triton has no code of its own for these; it answers UNAVAILABLE, INTERNAL or INVALID_ARGUMENT and a sentence.
QUEUE_SIGNS = ("maximum queue size", "request timeout expired")
SHAPE_SIGNS = ("to hold the results",)  # an output is larger than the memory that was meant for it
MEMORY_SIGNS = ("out of memory", "failed to allocate", "bad_alloc", "cuda failure 2")
UNKNOWN_SIGNS = ("failed to poll from model repository",)
GARBLED_SIGNS = ("without 'shared_memory_region'",)  # said, very seldom, of a request that names its region
LOST_REGION = "unable to find shared memory region"
RETRY_AFTER_SECONDS = 1.0


class LostRegion(Exception):
    """The server knows nothing of a shared memory region: it was started anew."""


class ServerUnreachable(EngineUnavailable):
    """Nobody answers at the address, or the connection broke."""


class ModelCrashed(EngineUnavailable):
    """The server answers, but what runs the model there does not: its process may have ended."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raises a ServiceError, or LostRegion, for everything that a client of Triton raises. name: the model."""
    try:
        yield
    except InferenceServerException as error:
        log.warning("model %s: %s: %s", name, error.status(), error.message())
        raise to_error(error, name) from error
    except grpc.aio.UsageError as error:
        raise ServerUnreachable(DETAILS[EngineUnavailable].format(name=name)) from error


def to_error(error: InferenceServerException, name: str) -> ServiceError | LostRegion:
    """The service's error for what the client raised; one without a code was raised by the client itself over our own input."""
    said = (error.message() or "").lower()
    if LOST_REGION in said:
        return LostRegion(name)
    code = to_code(error)
    kind = to_kind(code, said)
    retry_after = RETRY_AFTER_SECONDS if issubclass(kind, QueueFull | EngineUnavailable) else None
    raised = kind(DETAILS[kind].format(name=name), retry_after=retry_after)
    special = {grpc.StatusCode.UNAVAILABLE: ServerUnreachable, grpc.StatusCode.INTERNAL: ModelCrashed}
    if kind is EngineUnavailable and code in special:
        return special[code](raised.detail, retry_after=retry_after)
    return raised


def to_code(error: InferenceServerException) -> grpc.StatusCode:
    """The code in the client's text `StatusCode.UNAVAILABLE`. Raises KeyError for a code that gRPC does not have."""
    status = error.status()
    if status is None:
        return grpc.StatusCode.INVALID_ARGUMENT
    return grpc.StatusCode[status.removeprefix("StatusCode.")]


def to_kind(code: grpc.StatusCode, said: str) -> type[ServiceError]:
    """The table, refined by what the server says where one code means several things."""
    if any(sign in said for sign in MEMORY_SIGNS):
        return OutOfMemory
    if any(sign in said for sign in SHAPE_SIGNS):
        return BadAnswer
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in said for sign in QUEUE_SIGNS):
        return QueueFull
    if any(sign in said for sign in UNKNOWN_SIGNS):
        return UnknownModel
    if any(sign in said for sign in GARBLED_SIGNS):
        return EngineUnavailable
    return CODES[code]
