"""ASGI middleware: every request gets an id, a line in the log and is counted; its body is bounded, and the time to send it.

`RequestMiddleware` lies around everything, CORS within it, and `RefusalMiddleware` within that, so that a page of an allowed origin
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

from service.api.prefix import located, place_references, route_of
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

    async def disconnected(self) -> None:
        """Waits until the sender has gone; to be awaited once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def discard(self) -> None:
        """Read what is still sent, for a while: a connection that is closed on a sender loses the answer."""
        if self.complete or self._waits:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (message := await self._receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        except TimeoutError:
            pass
        self.complete = True


class RefusalMiddleware:
    """Answers what is refused, and what goes wrong within."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def refuse(error: ServiceError) -> None:
            await respond(Request(scope), error.to_problem(scope["state"]["request_id"]))(scope, receive, send)

        try:
            _check_head(scope)
            _check_encoding(scope)
            await scope["state"]["body"].check_length()
            await self._app(scope, receive, send)
        except ServiceError as refused:
            await refuse(refused)
        except ClientDisconnect:
            raise
        except Exception as unforeseen:
            logging.getLogger("rddm").error("unforeseen %s", type(unforeseen).__name__, exc_info=unforeseen)
            if scope["state"]["is_answered"]:
                raise
            await refuse(ServiceError("the error is in the log, under the request's id"))


class RequestMiddleware:
    """Around everything else. limits_of: of routes that have limits of their own. root_path: below which a proxy offers this."""

    def __init__(
        self,
        app: ASGIApp,
        on_request: Callable[[RequestRecord], None],
        limits: BodyLimits,
        limits_of: Mapping[str, BodyLimits] | None = None,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._on_request = on_request
        self._limits = limits
        self._limits_of = limits_of or {}
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = located(scope, self._root_path)
        body = RequestBody(scope, receive, self._limits_of.get(route_of(scope), self._limits))
        exchange = _Exchange(scope, body, send)
        start = time.perf_counter()
        with within(Headers(scope=scope)):
            try:
                await self._app(exchange.scope, body.receive, exchange.answer)
            except ClientDisconnect:
                exchange.status = CLIENT_GONE
            finally:
                record = exchange.record(time.perf_counter() - start)
                self._on_request(record)
                exchange.log(record)


class _Exchange:
    """One request and its response. scope: as routes see it, which answer GET; HEAD is its head."""

    def __init__(self, scope: Scope, body: RequestBody, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self._id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        REQUEST_ID.set(self._id)
        self._method, self._body, self._send = scope["method"], body, send
        self._state = scope.setdefault("state", {})
        self._state.update(request_id=self._id, body=body, is_answered=False)
        self._sent = 0
        self.status = CLIENT_GONE
        self.scope = {**scope, "method": "GET"} if self._method == "HEAD" else scope

    async def answer(self, message: Message) -> None:
        """Sends a message of the response, once the request's body has been read to its end."""
        if message["type"] == "http.response.start":
            await self._body.discard()
            self._state["is_answered"] = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            place_references(headers, self.scope)
        elif self._method == "HEAD":
            message = {**message, "body": b""}
        self._sent += len(message.get("body", b""))
        await self._send(message)

    def record(self, seconds: float) -> RequestRecord:
        """What is counted of it."""
        return RequestRecord(self._method, getattr(self.scope.get("route"), "path", "unknown"), self.status, seconds)

    def log(self, record: RequestRecord) -> None:
        """Writes the request's line to the access log."""
        facts = {
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "seconds": round(record.seconds, 4),
            "bytes_in": self._body.received,
            "bytes_out": self._sent,
            "caller": self._state.get("caller"),
        }
        log.info("%s %s %d", record.method, record.route, record.status, extra={"facts": facts})


def _check_head(scope: Scope) -> None:
    """The HTTP parser bounds what it has to keep; a head that comes in one piece passes it."""
    length = (
        len(scope.get("raw_path", b""))
        + len(scope["query_string"])
        + sum(len(name) + len(value) for name, value in scope["headers"])
    )
    if length > HEAD_BYTES or len(scope["headers"]) > HEAD_LINES:
        size = f"the address and {len(scope['headers'])} headers have {length} bytes"
        raise HeadTooLarge(f"{size}; at most {HEAD_BYTES} in {HEAD_LINES} headers are allowed")


def _check_encoding(scope: Scope) -> None:
    encoding = Headers(scope=scope).get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"a body with Content-Encoding {encoding[:40]!r} is not read here; expected identity")
