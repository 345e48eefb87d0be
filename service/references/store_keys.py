"""Pictures and results that lie under keys of allowed stores, as `s3://bucket/prefix/key`; imported once one is named."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.bulk import Store, StoreError, open_store
from service.errors import ReferenceFailed


class StoreKeys:
    """Opens each store once. most_bytes: that are read of an object; check_size: raises for more.

    Both methods raise ReferenceFailed where the store refuses; name: of the member that holds the address.
    """

    def __init__(self, check_size: Callable[[int, str], object], most_bytes: int) -> None:
        self._check_size, self._most_bytes = check_size, most_bytes
        self._opened: dict[str, Store] = {}

    async def get(self, location: str, key: str, name: str) -> bytes:
        """The object's bytes."""
        with translated(name):
            body = await self._open(location).read(key, self._most_bytes + 1)
        self._check_size(len(body), name)
        return body

    async def put(self, location: str, key: str, body: bytes, name: str) -> None:
        """Puts the object there, whole, in place of what was there."""
        with translated(name):
            await self._open(location).write(key, body, {}, replace=True)

    def _open(self, location: str) -> Store:
        """Raises StoreError where it cannot be opened."""
        if location not in self._opened:
            self._opened[location] = open_store(location)
        return self._opened[location]


@contextmanager
def translated(name: str) -> Iterator[None]:
    """The store's error as ours, in words that hold no address."""
    try:
        yield
    except StoreError as error:
        raise ReferenceFailed(f"{name}: the store refused it", passing=error.transient) from error
