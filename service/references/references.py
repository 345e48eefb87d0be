"""What an address in a request means: https at hosts that the operator names, or keys of stores that the operator names."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from service.errors import ReferenceFailed, TooLarge
from service.references.hosts import AllowedHosts
from service.settings import Settings

if TYPE_CHECKING:
    import httpx2

    from service.references.https import Https
    from service.references.store_keys import StoreKeys

TRIES, PAUSE = 3, 0.5  # of a delivery, whose result is made already; seconds before the second, then twice as long


class References:
    """Reads and writes what addresses name.

    hosts: of https addresses; stores: what keys begin with, as `s3://bucket/prefix`; both as the operator allows them.
    most_bytes: of a picture that is read; seconds: for one picture, redirects and all.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        stores: tuple[str, ...],
        most_bytes: int,
        seconds: float,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        self._hosts, self._stores = AllowedHosts(hosts), tuple(location.rstrip("/") + "/" for location in stores)
        self._most_bytes, self._seconds = most_bytes, seconds
        self._transport = transport

    def check(self, address: str, name: str) -> None:
        """name: of the member that holds the address. Raises InvalidValue for a place that is not allowed."""
        self._place(address, name)

    async def read(self, address: str, name: str) -> bytes:
        """The picture's bytes. Raises InvalidValue, TooLarge, and ReferenceFailed where the place does not give it."""
        place = self._place(address, name)
        async with self._in_time(name):
            if place is None:
                return await self._https.get(address, name)
            return await self._keys.get(*place, name)

    async def write(self, address: str, body: bytes, media_type: str, name: str = "output_url") -> None:
        """Puts a result there, whole, in place of what was there. Raises InvalidValue and ReferenceFailed."""
        place = self._place(address, name)
        for attempt in range(TRIES):
            try:
                async with self._in_time(name):
                    if place is None:
                        await self._https.put(address, body, media_type, name)
                    else:
                        await self._keys.put(*place, body, name)
                return
            except ReferenceFailed as failed:
                if attempt == TRIES - 1 or not failed.passing:
                    raise
            await asyncio.sleep(PAUSE * 2**attempt)

    async def close(self) -> None:
        """Close the connections."""
        if "_https" in self.__dict__:
            await self._https.close()

    @cached_property
    def _https(self) -> "Https":
        from service.references.https import Https  # noqa: PLC0415 (most gateways are given no addresses)

        return Https(self._check_https, self._check_size, self._seconds, self._transport)

    @cached_property
    def _keys(self) -> "StoreKeys":
        from service.references.store_keys import StoreKeys  # noqa: PLC0415 (the same)

        return StoreKeys(self._check_size, self._most_bytes)

    def _place(self, address: str, name: str) -> tuple[str, str] | None:
        """The location of a store and a key in it, None for an allowed https address. Raises InvalidValue."""
        place = self._store_of(address)
        if place is None:
            self._check_https(address, name)
        return place

    def _store_of(self, address: str) -> tuple[str, str] | None:
        """The location of an allowed store and a key in it."""
        for location in self._stores:
            key = address.removeprefix(location)
            if key and key != address and not {"", ".", ".."} & set(key.split("/")):
                return location, key
        return None

    def _check_https(self, address: str, name: str) -> None:
        self._hosts.check(address, name, *self._stores)

    def _check_size(self, size: int, name: str) -> None:
        if size > self._most_bytes:
            raise TooLarge(f"{name} has more than the {self._most_bytes} bytes that are read")

    @asynccontextmanager
    async def _in_time(self, name: str) -> AsyncIterator[None]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except TimeoutError as late:
            raise ReferenceFailed(f"{name} took longer than {time.monotonic() - started:.0f} s", passing=True) from late


def references_of(settings: Settings) -> References:
    """As the operator allows them."""
    return References(settings.reference_hosts, settings.reference_stores, settings.max_body_bytes, settings.reference_seconds)
