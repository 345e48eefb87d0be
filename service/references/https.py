"""Pictures and results at https addresses of allowed hosts: the part of references that speaks HTTP, imported once it is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import httpx2

from service.errors import InvalidValue, ReferenceFailed
from service.references.addresses import NotPublicError, PublicTransport

HEADERS = {"accept": "image/*, */*;q=0.5", "accept-encoding": "identity"}
MOST_REDIRECTS = 3
PASSING = (408, 425, 429, 500, 502, 503, 504)


class Https:
    """Gets and puts.

    check_place: is given the address of a redirect and what it is called, and raises where it is not allowed. check_size: raises
    for a body of so many bytes. seconds: for each connection and each pause of the other side.

    Both methods take the name of the member that holds the address. They raise ReferenceFailed where the place does not do its
    part, and TimeoutError.
    """

    def __init__(
        self,
        check_place: Callable[[str, str], object],
        check_size: Callable[[int, str], object],
        seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Without proxies of the environment, which would look names up themselves."""
        self._check_place, self._check_size = check_place, check_size
        transport = transport or PublicTransport()
        self._client = httpx2.AsyncClient(timeout=seconds, transport=transport, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, address: str, name: str) -> bytes:
        """The body, after redirects to allowed places."""
        with translated(name):
            for _ in range(MOST_REDIRECTS + 1):
                async with self._client.stream("GET", address, headers=HEADERS) as answer:
                    if not answer.is_redirect:
                        return await self._body_of(answer, name)
                    address = urljoin(address, answer.headers["location"])
                self._check_place(address, f"the redirect of {name}")
            raise ReferenceFailed(f"{name} redirects more than {MOST_REDIRECTS} times")

    async def put(self, address: str, body: bytes, media_type: str, name: str) -> None:
        """Sends the body by PUT."""
        with translated(name):
            answer = await self._client.put(address, content=body, headers={"content-type": media_type})
        if not answer.is_success:
            words = f"{name} answered {answer.status_code} to PUT; expected 200, 201 or 204"
            raise ReferenceFailed(words, passing=answer.status_code in PASSING)

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


@contextmanager
def translated(name: str) -> Iterator[None]:
    """httpx2's errors as ours, in words that hold no address: its query may be a secret."""
    try:
        yield
    except NotPublicError as refused:
        raise InvalidValue(f"{name} means an address within a network; expected one on the internet") from refused
    except httpx2.TimeoutException as late:
        raise TimeoutError from late
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise ReferenceFailed(f"{name} cannot be reached: {type(error).__name__}", passing=True) from error
