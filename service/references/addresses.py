"""Connections to public addresses only, whatever a name's owner makes the name mean from one moment to the next."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

# Ranges of IPv6 in which an IPv4 address is hidden (RFC 6052, RFC 8215), which a translator reaches in its place.
TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
Resolver = Callable[[str], Awaitable[list[str]]]


class NotPublicError(httpx2.ConnectError):
    """A name that means an address within a network."""


def is_public(text: str) -> bool:
    """Whether an IP address is of the internet: not private, shared, loopback, link-local, multicast, reserved or translated."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.sixtofour is not None or address.teredo is not None or any(address in net for net in TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


async def resolve(host: str) -> list[str]:
    """The IP addresses of a name. Raises OSError."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in answers]


class PublicTransport(httpx2.AsyncBaseTransport):
    """Looks a name up once, refuses it unless all its addresses are public, and connects to the address that it looked at.

    A second look-up could give another address. The certificate is still checked against the name.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport | None = None, resolver: Resolver = resolve) -> None:
        self._inner = inner or httpx2.AsyncHTTPTransport()
        self._resolver = resolver

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2. Raises NotPublicError, and ConnectError for a name without addresses."""
        host = request.url.host
        try:
            addresses = await self._resolver(host)
        except OSError as unknown:
            raise httpx2.ConnectError(f"{host} has no address", request=request) from unknown
        if not addresses or not all(map(is_public, addresses)):
            raise NotPublicError(f"{host} is not on the internet", request=request)
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=addresses[0])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
