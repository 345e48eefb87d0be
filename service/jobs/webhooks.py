"""Telling an address of a job's end: Standard Webhooks, signed, to hosts that the operator allows."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from service.errors import InvalidValue

log = logging.getLogger("rddm.webhooks")
TRIES = (0, 2, 10, 60)
SECONDS = 10.0


class Webhooks:
    """hosts: the only ones that are ever spoken to; secret: what the signature is made with."""

    def __init__(self, hosts: tuple[str, ...], secret: str | None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._hosts = hosts
        self._secret = (secret or "").encode()
        self._transport = transport

    def check(self, address: str) -> None:
        """Raises InvalidValue for an address that is not https or not of an allowed host."""
        try:
            parts = urlsplit(address)
            host = parts.hostname
        except ValueError as wrong:
            raise InvalidValue("webhook is no address") from wrong
        if parts.scheme != "https" or host not in self._hosts or parts.username is not None:
            allowed = list(self._hosts) or "none: the operator allows no webhooks"
            raise InvalidValue(f"webhook goes to {str(host)[:80]!r}; expected an https address at one of {allowed}")

    async def tell(self, address: str, identity: str, told: Mapping[str, Any]) -> None:
        """Post what is told, again some times if nobody answers. It never raises: the job is done all the same."""
        body = json.dumps(told).encode()
        for pause in TRIES:
            await asyncio.sleep(pause)
            try:
                async with httpx.AsyncClient(timeout=SECONDS, transport=self._transport) as client:
                    response = await client.post(address, content=body, headers=self.headers(identity, body))
                if response.status_code < 500:
                    return
            except httpx.HTTPError as error:
                log.warning("a webhook could not be told: %s", type(error).__name__)

    def headers(self, identity: str, body: bytes) -> dict[str, str]:
        """webhook-id, webhook-timestamp, webhook-signature."""
        now = str(int(time.time()))
        signed = hmac.new(self._secret, b".".join((identity.encode(), now.encode(), body)), hashlib.sha256).digest()
        return {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }
