"""Bodies are bounded in bytes and time, and every exchange has an id and a record."""

import asyncio
from typing import Any

import pytest

from service.api.middleware import BodyLimits, RefusalMiddleware, RequestBody, RequestMiddleware
from service.errors import SlowSender, TooLarge
from service.telemetry.requests import RequestRecord

LIMITS = BodyLimits(10, 5.0, 1.0)


def scope(*headers: tuple[str, str], method: str = "POST") -> dict[str, Any]:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": encoded, "root_path": ""}


class Sender:
    """Sends pieces, then nothing."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = list(pieces)

    async def __call__(self) -> dict[str, Any]:
        if not self.left:
            await asyncio.Event().wait()
        piece = self.left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.left)}


async def exchange(app: Any, asked: dict[str, Any], *pieces: bytes) -> tuple[int, dict[bytes, bytes], bytes, list[RequestRecord]]:
    records: list[RequestRecord] = []
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await RequestMiddleware(RefusalMiddleware(app), records.append, LIMITS)(asked, Sender(*pieces), send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body, records


async def echo(_: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


async def test_a_body_that_says_it_is_too_long_is_refused_at_once() -> None:
    body = RequestBody(scope(("content-length", "11")), Sender(b"x" * 11), LIMITS)
    with pytest.raises(TooLarge, match="the body has 11 bytes; at most 10 bytes are allowed"):
        await body.check_length()


async def test_a_body_that_goes_on_is_refused_when_it_is_too_long() -> None:
    body = RequestBody(scope(("transfer-encoding", "chunked")), Sender(b"x" * 6, b"x" * 6, b""), LIMITS)
    await body.receive()
    with pytest.raises(TooLarge, match="the body goes on"):
        await body.receive()
    assert body.complete


async def test_a_sender_that_stops_is_slow() -> None:
    body = RequestBody(scope(("content-length", "8")), Sender(), BodyLimits(10, 5.0, 0.001))
    with pytest.raises(SlowSender, match=r"0 bytes of the body arrived; at most 0.001 s between two pieces and 5 s in all"):
        await body.receive()


async def test_an_exchange_has_an_id_and_a_record() -> None:
    status, headers, body, [record] = await exchange(echo, scope(("x-request-id", "mine-1"), ("content-length", "2")), b"hi")
    assert (status, body) == (200, b"hi")
    assert (headers[b"x-request-id"], headers[b"x-content-type-options"]) == (b"mine-1", b"nosniff")
    assert (record.method, record.route, record.status) == ("POST", "unknown", 200)


async def test_an_id_that_could_break_a_log_is_replaced() -> None:
    _, headers, _, _ = await exchange(echo, scope(("x-request-id", 'a"b\n')), b"")
    assert len(headers[b"x-request-id"]) == 32


async def test_head_is_answered_like_get_without_a_body() -> None:
    async def app(inner: Any, receive: Any, send: Any) -> None:
        assert inner["method"] == "GET"
        await echo(inner, receive, send)

    status, _, body, _ = await exchange(app, scope(method="HEAD"), b"hi")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("content-length", "99")], 413),
        ([("content-encoding", "gzip")], 415),
        ([("x", "a" * 33_000)], 431),
        ([("x", "a")] * 201, 431),
    ],
)
async def test_what_is_refused_never_reaches_the_app(headers: list[tuple[str, str]], status: int) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError

    actual, answer, _, [record] = await exchange(never, scope(*headers), b"")
    assert (actual, record.status) == (status, status)
    assert answer[b"content-type"] == b"application/problem+json"


async def test_what_nobody_foresaw_is_500_and_says_nothing_of_itself() -> None:
    async def breaks(*_: Any) -> None:
        raise KeyError("secret")

    status, _, body, _ = await exchange(breaks, scope())
    assert status == 500
    assert b"secret" not in body
