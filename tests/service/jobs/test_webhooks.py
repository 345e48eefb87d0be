"""Webhooks: only to allowed hosts, signed by the standard, delivered at least once whatever ends in between."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from service.jobs import webhooks
from service.jobs.deliveries import Delivery
from service.jobs.webhooks import Webhooks
from tests.service.conftest import file_of, pixels_of, running, settings_for
from tests.service.jobs.test_queue import LATER, begin, ended
from tests.service.serving import FakeServingEngine

standardwebhooks = pytest.importorskip("standardwebhooks")
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ADDRESS = "https://hooks.example/x"


class Receiver:
    """Answers with the statuses of its list, then 204; keeps what it heard."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.heard: asyncio.Queue[httpx2.Request] = asyncio.Queue()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.heard.put_nowait(request)
        return httpx2.Response(self.statuses.pop(0) if self.statuses else 204)

    async def next(self) -> dict[str, Any]:
        """The next message, verified as any receiver does it."""
        async with asyncio.timeout(20):
            request = await self.heard.get()
        received = standardwebhooks.Webhook(SECRET).verify(request.content, dict(request.headers))
        return received | {"id": request.headers["webhook-id"]}


def receiving(tmp_path: Path, monkeypatch: Any, receiver: Receiver) -> Any:
    settings = settings_for(tmp_path, webhook_hosts=("hooks.example",), webhook_secret=SECRET)
    monkeypatch.setattr(
        "service.api.parts.webhooks_of", lambda _: Webhooks(("hooks.example",), SECRET, httpx2.MockTransport(receiver))
    )
    return settings


async def test_webhooks_go_to_allowed_hosts_only(tmp_path: Path, monkeypatch: Any) -> None:
    async with running(receiving(tmp_path, monkeypatch, Receiver())) as gateway:
        for address in ("https://evil.example/x", "http://hooks.example/x", "https://u:p@hooks.example/", "https://[::1"):
            refused = await gateway.client.post(
                "/restore", params={"webhook": address}, content=file_of(pixels_of(8, 8)), headers=LATER
            )
            assert refused.status_code == 422, address
        alone = await gateway.client.post(f"/restore?webhook={ADDRESS}", content=file_of(pixels_of(8, 8)))
        assert alone.status_code == 422


async def test_a_receiver_hears_of_the_start_and_of_the_end(tmp_path: Path, monkeypatch: Any) -> None:
    receiver = Receiver()
    async with running(receiving(tmp_path, monkeypatch, receiver)) as gateway:
        job = await begin(gateway, f"/restore?webhook={ADDRESS}")
        messages = [await receiver.next() for _ in range(2)]
        assert {(one["type"], one["id"]) for one in messages} == {
            ("job.started", f"{job['id']}-started"),
            ("job.succeeded", f"{job['id']}-succeeded"),
        }
        last = next(one for one in messages if one["type"] == "job.succeeded")
        assert last["data"] == await ended(gateway, job)
        failing = await begin(gateway, f"/restore?webhook={ADDRESS}", content=file_of(pixels_of(64, 64))[:500])
        messages = [await receiver.next() for _ in range(2)]
        last = next(one for one in messages if one["type"] == "job.failed")
        assert (last["data"]["id"], last["data"]["problem"]["status"]) == (failing["id"], 400)


async def test_a_message_is_sent_again_under_its_id_until_it_is_confirmed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(webhooks, "PAUSES", (0.05, 0.05, 0.05))
    receiver = Receiver(204, 500, 400)
    async with running(receiving(tmp_path, monkeypatch, receiver)) as gateway:
        job = await begin(gateway, f"/restore?webhook={ADDRESS}")
        messages = [await receiver.next() for _ in range(4)]
        last = [one for one in messages if one["type"] == "job.succeeded"]
        assert len(messages) == 4
        assert {one["data"]["id"] for one in last} == {job["id"]}
        assert len({one["id"] for one in messages}) == 2


async def test_a_receiver_that_is_gone_is_not_asked_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(webhooks, "PAUSES", (0.05,))
    receiver = Receiver(410, 410)
    async with running(receiving(tmp_path, monkeypatch, receiver)) as gateway:
        await ended(gateway, await begin(gateway, f"/restore?webhook={ADDRESS}"))
        for _ in range(2):
            await receiver.next()
        await asyncio.sleep(0.5)
        assert receiver.heard.empty()


async def test_a_message_that_nobody_confirmed_is_sent_after_a_restart(tmp_path: Path, monkeypatch: Any) -> None:
    receiver = Receiver(503, 503)
    async with running(receiving(tmp_path, monkeypatch, receiver)) as gateway:
        job = await begin(gateway, f"/restore?webhook={ADDRESS}")
        first = {(await receiver.next())["id"] for _ in range(2)}
    async with running(receiving(tmp_path, monkeypatch, receiver), FakeServingEngine()):
        again = {(await receiver.next())["id"] for _ in range(2)}
    assert first == again == {f"{job['id']}-started", f"{job['id']}-succeeded"}


@pytest.mark.parametrize("secret", ["s3cret", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, not at all!"])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ValidationError, match="webhook_secret"):
        settings_for(tmp_path, webhook_hosts=("hooks.example",), webhook_secret=secret)


async def test_a_receiver_within_a_network_is_called_only_where_the_operator_says_so(caplog: pytest.LogCaptureFixture) -> None:
    heard = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))  # of TLS: its certificate does not matter here
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        place = f"localhost:{server.sockets[0].getsockname()[1]}"
        delivery = Delivery("one-started", f"https://{place}/jobs", "{}")
        assert not await Webhooks((place,), SECRET).send(delivery)
        assert not heard
        assert "localhost is not on the internet; RDDM_WEBHOOK_PRIVATE allows it" in caplog.text
        assert not await Webhooks((place,), SECRET, private=True).send(delivery)
    assert heard == [b"\x16"]
