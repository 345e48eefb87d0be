"""ASGI middleware: every request gets an id, a line in the log and is counted; its body is bounded, and the time to send it.

`RequestMiddleware` lies around everything, CORS within it, and `BodyMiddleware` within that, so that a page of an allowed origin
may read why its body was refused.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.prefix import route_of
from service.api.problems import respond
from service.errors import HeadTooLarge, ServiceError, SlowSender, TooLarge, UnsupportedMedia
from service.telemetry.requests import REQUEST_ID, RequestRecord
from service.telemetry.tracing import within

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LINGER_SECONDS = 5.0
HEAD_BYTES, HEAD_LINES = 32 * 1024, 200
CLIENT_GONE = 499  # the status that logs and metrics show where nobody was left to read one
log = logging.getLogger("rddm.access")


@dataclass(frozen=True)
class BodyLimits:
    """Of a request's body: bytes, seconds for all of it, seconds between two pieces."""

    max_bytes: int
    seconds: float
    idle_seconds: float


class RequestBody:
    """A request's body on its way in."""

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._ends = time.monotonic() + limits.seconds
        self._waits = "expect" in headers
        length = headers.get("content-length", "0")
        self._length = int(length) if length.isascii() and length.isdigit() else 0
        self.complete = not self._length and "transfer-encoding" not in headers
        self.received = 0

    async def check_length(self) -> None:
        """Raises TooLarge at once where the header tells."""
        if self._length > self._limits.max_bytes:
            await self._over(f"the body has {self._length} bytes")

    async def receive(self) -> Message:
        """The next message. Raises SlowSender and TooLarge."""
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout(min(self._limits.idle_seconds, self._ends - time.monotonic())):
                message = await self._receive()
        except TimeoutError as slow:
            self.complete = True
            raise SlowSender(
                f"{self.received} bytes of the body arrived; at most {self._limits.idle_seconds:g} s between two pieces "
                f"and {self._limits.seconds:g} s in all are allowed"
            ) from slow
        self.received += len(message.get("body", b""))
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self.received > self._limits.max_bytes:
            await self._over("the body goes on")
        return message

    async def _over(self, what: str) -> None:
        await self.discard()
        raise TooLarge(f"{what}; at most {self._limits.max_bytes} bytes are allowed")

    async def discard(self) -> None:
        """Read what is still sent, for a while: a connection closed on a sender loses the answer on its way to him."""
        if self.complete or self._waits:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (message := await self._receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        except TimeoutError:
            pass
        self.complete = True


class BodyMiddleware:
    """Bounds bodies. What it refuses, and what goes wrong within, is answered here."""

    def __init__(self, app: ASGIApp, limits: BodyLimits, limits_of: Mapping[str, BodyLimits] | None = None) -> None:
        """limits_of: for the routes that have limits of their own."""
        self._app = app
        self._limits = limits
        self._limits_of = limits_of or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = RequestBody(scope, receive, self._limits_of.get(route_of(scope), self._limits))
        has_answered = False

        async def answer(message: Message) -> None:
            nonlocal has_answered
            if message["type"] == "http.response.start":
                await body.discard()
                has_answered = True
            await send(message)

        async def refuse(error: ServiceError) -> None:
            await respond(Request(scope), error.to_problem(scope["state"]["request_id"]))(scope, body.receive, answer)

        try:
            _check_head(scope)
            _check_encoding(scope)
            await body.check_length()
            await self._app(scope, body.receive, answer)
        except ServiceError as refused:
            await refuse(refused)
        except ClientDisconnect:
            raise
        except Exception as unforeseen:
            logging.getLogger("rddm").error("unforeseen %s", type(unforeseen).__name__, exc_info=unforeseen)
            if has_answered:
                raise
            await refuse(ServiceError("the error is in the log, under the request's id"))
        finally:
            scope["state"]["bytes_in"] = body.received


class RequestMiddleware:
    """Around everything else."""

    def __init__(self, app: ASGIApp, on_request: Callable[[RequestRecord], None]) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(self._app, scope, receive, send, self._on_request).run()


class _Exchange:
    """One request and its response."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, on_request: Callable[[RequestRecord], None]
    ) -> None:
        self._app, self._scope, self._receive, self._send, self._on_request = app, scope, receive, send, on_request
        given = Headers(scope=scope).get("x-request-id", "")
        self._id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        self._status = CLIENT_GONE
        self._sent = 0
        scope.setdefault("state", {})["request_id"] = self._id
        self._headless = scope["method"] == "HEAD"
        self._inner = {**scope, "method": "GET"} if self._headless else scope  # routes answer GET; HEAD is its head

    async def run(self) -> None:
        REQUEST_ID.set(self._id)
        begun = time.perf_counter()
        with within(Headers(scope=self._scope)):
            try:
                await self._app(self._inner, self._receive, self._answer)
            except ClientDisconnect:
                self._status = CLIENT_GONE
            finally:
                self._record(time.perf_counter() - begun)

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self._id
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
        elif self._headless:
            message = {**message, "body": b""}
        self._sent += len(message.get("body", b""))
        await self._send(message)

    def _record(self, seconds: float) -> None:
        route = getattr(self._inner.get("route"), "path", "unknown")
        record = RequestRecord(self._scope["method"], route, self._status, seconds)
        self._on_request(record)
        log.info(
            "%s %s %d",
            *(record.method, route, record.status),
            extra={
                "facts": {
                    "method": record.method,
                    "route": route,
                    "status": record.status,
                    "seconds": round(seconds, 4),
                    "bytes_in": self._scope["state"].get("bytes_in", 0),
                    "bytes_out": self._sent,
                    "caller": self._scope["state"].get("caller"),
                }
            },
        )


def _check_head(scope: Scope) -> None:
    """The HTTP parser bounds what it has to keep; a head that comes in one piece passes it."""
    length = (
        len(scope.get("raw_path", b""))
        + len(scope["query_string"])
        + sum(len(name) + len(value) for name, value in scope["headers"])
    )
    if length > HEAD_BYTES or len(scope["headers"]) > HEAD_LINES:
        told = f"the address and {len(scope['headers'])} headers have {length} bytes"
        raise HeadTooLarge(f"{told}; at most {HEAD_BYTES} in {HEAD_LINES} headers are allowed")


def _check_encoding(scope: Scope) -> None:
    encoding = Headers(scope=scope).get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"a body with Content-Encoding {encoding[:40]!r} is not read here; expected identity")
