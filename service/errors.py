"""What can go wrong, and whose fault it is. Every error is answered as RFC 9457 problem+json.

ServiceError            500  something went wrong here
├─ Malformed            400  the request or its picture cannot be read
│  └─ WorkerDied        400  the process that read or wrote the picture ended, by the picture or by something else
├─ Unauthorised         401  no key, or one that is not known
├─ Forbidden            403  the key or address may not do this
├─ NotFound             404  no such model, task, job or result
│  └─ UnknownModel      404  no such model
├─ NotAcceptable        406  no format that the caller accepts
├─ SlowSender           408  the body did not arrive in time
├─ Conflict             409  the same idempotency key with another request
├─ TooLarge             413  bytes, pixels, frames or megapixel-steps over a limit
├─ UnsupportedMedia     415  not a kind of file that is read here
├─ InvalidValue         422  a value or key that is not allowed
├─ ReferenceFailed      424  an address in the request does not give or take a picture
├─ QueueFull            429  too much waits already
│  └─ QuotaSpent        429  the caller's quota is spent
├─ HeadTooLarge         431  the address and headers are over a limit
├─ BadAnswer            500  the engine's answer has the wrong shape or is not finite
├─ EngineUnavailable    503  no engine answers
│  ├─ OutOfMemory       503  the engine has no room for this batch: the scheduler tries a smaller one
│  ├─ ShuttingDown      503  this gateway finishes what it has and takes nothing new
│  └─ StoreUnavailable  503  jobs cannot be kept now
└─ DeadlineExceeded     504  the deadline passed, or cannot be met
"""

from collections.abc import Mapping
from typing import Any, ClassVar


def problem_document(status: int, slug: str, title: str, detail: str, request_id: str, **more: Any) -> dict[str, Any]:
    """The members of a problem document of RFC 9457, and further ones of ours."""
    kind = f"urn:rddm:problem:{slug}"
    return {"type": kind, "title": title, "status": status, "detail": detail, "request_id": request_id} | more


class ServiceError(Exception):
    """detail: a sentence for the caller that names the value and what is allowed; it never holds bytes, paths or keys.

    retry_after: seconds; headers and extra: further headers and problem members of the answer.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong here"

    def __init__(self, detail: str, *, retry_after: float | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.headers: Mapping[str, str] = {}
        self.extra = extra

    def to_problem(self, request_id: str) -> dict[str, Any]:
        """The error as a problem document of RFC 9457."""
        more = self.extra if self.retry_after is None else {**self.extra, "retry_after": round(self.retry_after, 3)}
        return problem_document(self.status, self.slug, self.title, self.detail, request_id, **more)


class Malformed(ServiceError):
    status, slug, title = 400, "malformed", "The request cannot be read"


class Unauthorised(ServiceError):
    status, slug, title = 401, "unauthorised", "A valid API key is needed"


class Forbidden(ServiceError):
    status, slug, title = 403, "forbidden", "Not allowed"


class NotFound(ServiceError):
    status, slug, title = 404, "not-found", "No such thing"


class NotAcceptable(ServiceError):
    status, slug, title = 406, "not-acceptable", "No acceptable format"


class SlowSender(ServiceError):
    status, slug, title = 408, "slow-sender", "The body did not arrive in time"


class Conflict(ServiceError):
    status, slug, title = 409, "conflict", "In conflict with an earlier request"


class TooLarge(ServiceError):
    status, slug, title = 413, "too-large", "Over a limit"


class UnsupportedMedia(ServiceError):
    status, slug, title = 415, "unsupported-media", "Not a kind of file that is read here"


class InvalidValue(ServiceError):
    status, slug, title = 422, "invalid-value", "A value is not allowed"


class HeadTooLarge(ServiceError):
    status, slug, title = 431, "head-too-large", "The address and headers are over a limit"


class ReferenceFailed(ServiceError):
    """passing: whether the same may succeed in a moment."""

    status, slug, title = 424, "reference-failed", "An address in the request does not give or take a picture"

    def __init__(self, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail)
        self.passing = passing


class QueueFull(ServiceError):
    status, slug, title = 429, "queue-full", "Too much work is waiting"


class QuotaSpent(QueueFull):
    slug, title = "quota-spent", "The key's quota is spent"


class BadAnswer(ServiceError):
    status, slug, title = 500, "bad-answer", "The engine's answer is wrong"


class EngineUnavailable(ServiceError):
    status, slug, title = 503, "engine-unavailable", "No engine answers"


class OutOfMemory(EngineUnavailable):
    slug, title = "out-of-memory", "The engine is out of memory"


class ShuttingDown(EngineUnavailable):
    slug, title = "shutting-down", "This gateway is going down"


class StoreUnavailable(EngineUnavailable):
    slug, title = "store-unavailable", "Jobs cannot be kept now"


class DeadlineExceeded(ServiceError):
    status, slug, title = 504, "deadline-exceeded", "The deadline passed or cannot be met"


class WorkerDied(Malformed):
    slug, title = "worker-died", "The picture cannot be read"


class UnknownModel(NotFound):
    slug, title = "unknown-model", "No such model"
