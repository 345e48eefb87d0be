"""What an address in a request means: https at hosts that the operator names, or keys of stores that the operator names."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from urllib.parse import urljoin

import httpx2

from service.bulk import Store, StoreError, open_store
from service.errors import InvalidValue, ReferenceFailed, TooLarge
from service.references.addresses import NotPublicError, PublicTransport
from service.references.hosts import AllowedHosts
from service.settings import Settings

HEADERS = {"accept": "image/*, */*;q=0.5", "accept-encoding": "identity"}
MOST_REDIRECTS = 3
TRIES, PAUSE = 3, 0.5  # of a delivery, whose result is made already; seconds before the second, then twice as long
PASSING = (408, 425, 429, 500, 502, 503, 504)


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
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._hosts, self._stores = AllowedHosts(hosts), tuple(location.rstrip("/") + "/" for location in stores)
        self._most_bytes, self._seconds = most_bytes, seconds
        self._transport = transport
        self._opened: dict[str, Store] = {}

    def check(self, address: str, name: str) -> None:
        """name: of the member that holds the address. Raises InvalidValue for a place that is not allowed."""
        self._place(address, name)

    async def read(self, address: str, name: str) -> bytes:
        """The picture's bytes. Raises InvalidValue, TooLarge, and ReferenceFailed where the place does not give it."""
        place = self._place(address, name)
        async with self._in_time(name):
            if place is None:
                return await self._get(address, name)
            return await self._read_key(*place, name)

    async def write(self, address: str, body: bytes, media_type: str, name: str = "output_url") -> None:
        """Puts a result there, whole, in place of what was there. Raises InvalidValue and ReferenceFailed."""
        place = self._place(address, name)
        for attempt in range(TRIES):
            try:
                async with self._in_time(name):
                    await (self._put(address, body, media_type, name) if place is None else self._write_key(*place, body))
                return
            except ReferenceFailed as failed:
                if attempt == TRIES - 1 or not failed.passing:
                    raise
            await asyncio.sleep(PAUSE * 2**attempt)

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()

    def _place(self, address: str, name: str) -> tuple[str, str] | None:
        """The location of a store and a key in it, None for an allowed https address. Raises InvalidValue."""
        place = self._store_of(address)
        if place is None:
            self._hosts.check(address, name, *self._stores)
        return place

    # https

    @cached_property
    def _client(self) -> httpx2.AsyncClient:
        """Without proxies of the environment, which would look names up themselves."""
        transport = self._transport or PublicTransport()
        return httpx2.AsyncClient(timeout=self._seconds, transport=transport, trust_env=False, follow_redirects=False)

    async def _get(self, address: str, name: str) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            async with self._client.stream("GET", address, headers=HEADERS) as answer:
                if not answer.is_redirect:
                    return await self._body_of(answer, name)
                address = urljoin(address, answer.headers["location"])
            self._hosts.check(address, f"the redirect of {name}", *self._stores)
        raise ReferenceFailed(f"{name} redirects more than {MOST_REDIRECTS} times")

    async def _body_of(self, answer: httpx2.Response, name: str) -> bytes:
        if answer.status_code != httpx2.codes.OK:
            raise ReferenceFailed(f"{name} answered {answer.status_code}; expected 200 and a picture")
        if (coding := answer.headers.get("content-encoding", "identity")) != "identity":
            raise ReferenceFailed(f"{name} came with content-encoding {coding[:40]!r}; expected none, as was asked for")
        self._check_size(int(answer.headers.get("content-length", 0)), name)
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            self._check_size(len(body), name)
        return bytes(body)

    async def _put(self, address: str, body: bytes, media_type: str, name: str) -> None:
        answer = await self._client.put(address, content=body, headers={"content-type": media_type})
        if not answer.is_success:
            words = f"{name} answered {answer.status_code} to PUT; expected 200, 201 or 204"
            raise ReferenceFailed(words, passing=answer.status_code in PASSING)

    # Stores

    def _store_of(self, address: str) -> tuple[str, str] | None:
        """The location of an allowed store and a key in it."""
        for location in self._stores:
            key = address.removeprefix(location)
            if key and key != address and not {"", ".", ".."} & set(key.split("/")):
                return location, key
        return None

    def _open(self, location: str) -> Store:
        """Made once. Raises StoreError where it cannot be opened."""
        if location not in self._opened:
            self._opened[location] = open_store(location)
        return self._opened[location]

    async def _read_key(self, location: str, key: str, name: str) -> bytes:
        body = await self._open(location).read(key, self._most_bytes + 1)
        self._check_size(len(body), name)
        return body

    async def _write_key(self, location: str, key: str, body: bytes) -> None:
        await self._open(location).write(key, body, {}, replace=True)

    # Both

    def _check_size(self, size: int, name: str) -> None:
        if size > self._most_bytes:
            raise TooLarge(f"{name} has more than the {self._most_bytes} bytes that are read")

    @asynccontextmanager
    async def _in_time(self, name: str) -> AsyncIterator[None]:
        """The errors of networks and stores as ours, in words that hold no address: its query may be a secret."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except NotPublicError as refused:
            raise InvalidValue(f"{name} means an address within a network; expected one on the internet") from refused
        except (TimeoutError, httpx2.TimeoutException) as late:
            raise ReferenceFailed(f"{name} took longer than {time.monotonic() - started:.0f} s", passing=True) from late
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ReferenceFailed(f"{name} cannot be reached: {type(error).__name__}", passing=True) from error
        except StoreError as error:
            raise ReferenceFailed(f"{name}: the store refused it", passing=error.transient) from error


def references_of(settings: Settings) -> References:
    """As the operator allows them."""
    return References(settings.reference_hosts, settings.reference_stores, settings.max_body_bytes, settings.reference_seconds)
