"""Telling an address how a job goes: Standard Webhooks, signed, to hosts that the operator allows.

A message is `{"type": "job.started" | "job.succeeded" | "job.failed", "timestamp": ..., "data": the job's document}`.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from service.errors import InvalidValue, ServiceError
from service.jobs.deliveries import Delivery, DeliveryStore
from service.references import AllowedHosts

if TYPE_CHECKING:
    import httpx2
    from standardwebhooks import Webhook

log = logging.getLogger("rddm.webhooks")
Event = Literal["started", "succeeded", "failed"]
# Pauses after an attempt that failed, as Standard Webhooks proposes them, up to the day that receivers may be down.
PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
SECONDS = 10.0
POLL_SECONDS = 1.0
GONE = 410


def message(job: str, address: str, event: Event, document: Mapping[str, Any]) -> Delivery:
    """The message about a job to an address. Its id is of the job and the event, so that a repetition has the same."""
    payload = {"type": f"job.{event}", "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), "data": document}
    return Delivery(f"{job}-{event}", address, json.dumps(payload))


class Webhooks:
    """hosts: the only ones that are ever spoken to; secret: what messages are signed with, `whsec_` and base64.

    private: whether a host may have an address within a network, as a receiver beside the gateway has.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        secret: str | None,
        transport: "httpx2.AsyncBaseTransport | None" = None,
        *,
        private: bool = False,
    ) -> None:
        self._hosts = AllowedHosts(hosts if secret else ())
        self._signer = _signer(secret) if secret else None
        self._transport = transport
        self._private = private

    def check(self, address: str) -> None:
        """Raises InvalidValue for an address that is not https or not of an allowed host."""
        self._hosts.check(address, "webhook")

    async def send(self, delivery: Delivery) -> bool:
        """One attempt; whether there need not be another. It never raises."""
        import httpx2  # noqa: PLC0415 (most gateways send no webhooks)

        from service.references.addresses import NotPublicError  # noqa: PLC0415 (it imports httpx2)

        try:
            self.check(delivery.url)  # another gateway may have taken it in
            async with httpx2.AsyncClient(timeout=SECONDS, transport=self._transport_of_attempt()) as client:
                answer = await client.post(delivery.url, content=delivery.body.encode(), headers=self.headers(delivery))
        except InvalidValue:
            log.warning("webhook %s goes to a host that is not allowed here; it is dropped", delivery.id)
            return True
        except NotPublicError as refused:
            log.warning("webhook %s, attempt %d: %s; RDDM_WEBHOOK_PRIVATE allows it", delivery.id, delivery.attempts, refused)
            return False
        except httpx2.HTTPError as error:
            log.warning("webhook %s, attempt %d: %s", delivery.id, delivery.attempts, type(error).__name__)
            return False
        if not answer.is_success:
            log.warning("webhook %s, attempt %d: status %d", delivery.id, delivery.attempts, answer.status_code)
        return answer.is_success or answer.status_code == GONE

    def _transport_of_attempt(self) -> "httpx2.AsyncBaseTransport | None":
        """None for the client's own, which also heeds proxies of the environment."""
        from service.references.addresses import PublicTransport  # noqa: PLC0415 (it imports httpx2)

        return self._transport if self._transport is not None or self._private else PublicTransport()

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """webhook-id, webhook-timestamp, webhook-signature."""
        assert self._signer is not None
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(delivery.id, now, delivery.body),
        }


def _signer(secret: str) -> "Webhook":
    from standardwebhooks import Webhook  # noqa: PLC0415 (what is not used is not imported)

    return Webhook(secret)


class Courier:
    """Sends what is due, again and again until each message arrived or was tried often enough."""

    def __init__(self, store: DeliveryStore, webhooks: Webhooks) -> None:
        self._store, self._webhooks = store, webhooks
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0

    async def start(self) -> None:
        """Begin with what an earlier process left."""
        await self._store.open()
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop; what was not confirmed stays in the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                due = await self._store.claim()
                await asyncio.gather(*map(self._deliver, due))
                self.waiting = await self._store.count()
            except ServiceError as error:
                log.warning("webhooks wait: %s", error.detail)
                due = []
            if not due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):  # wait_for can lose a cancellation (Python 3.11)
                        await self._wake.wait()

    async def _deliver(self, delivery: Delivery) -> None:
        if await self._webhooks.send(delivery):
            await self._store.remove(delivery)
        elif delivery.attempts > len(PAUSES):
            log.error("webhook %s was tried %d times and is given up", delivery.id, delivery.attempts)
            await self._store.remove(delivery)
        else:
            await self._store.postpone(delivery, PAUSES[delivery.attempts - 1])
