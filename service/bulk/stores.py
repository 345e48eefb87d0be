"""Where pictures lie and results go: one interface for folders and for buckets.

A folder needs no extra; `s3://`, `gs://` and `az://` are reached by obstore (extra `objects`), which takes keys and addresses from
the environment that each provider's own tools read.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STATE = ".rddm"  # the folder of a target that holds the records; no picture of it is ever read


class StoreError(Exception):
    """What a store refuses, in words that name the place.

    transient: whether the same call may succeed later. fatal: whether no other call can succeed either.
    """

    def __init__(self, words: str, *, transient: bool = False, fatal: bool = False) -> None:
        super().__init__(words)
        self.transient = transient
        self.fatal = fatal


class AlreadyThere(StoreError):
    """Something has the name that was to be made."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing.

    size: bytes, or None where the listing does not tell. tag: changes when the object does, "" where unknown. modified: seconds of
    the epoch. problem: why it cannot be read, where the listing knows that already.
    """

    key: str
    size: int | None = None
    tag: str = ""
    modified: float | None = None
    problem: str | None = None


@asynccontextmanager
async def listed_ahead(entries: AsyncIterator[Entry]) -> AsyncIterator[AsyncIterator[Entry]]:
    """The entries, the first of which is on its way while the block does something else: a bucket takes its time to answer."""
    first = asyncio.create_task(anext(entries, None))
    await asyncio.sleep(0)  # lets it ask

    async def all_entries() -> AsyncIterator[Entry]:
        entry = await first
        while entry is not None:
            yield entry
            entry = await anext(entries, None)

    try:
        yield all_entries()
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


class Store(Protocol):
    """Objects by key, with `/` between the parts of a key. Every method raises StoreError.

    name: in words and links. record_seconds: how long records may wait to be written together; 0 where writing one costs nothing,
    more only where `facts` tell of results that have no record.
    """

    name: str
    record_seconds: float

    def entries(self) -> AsyncIterator[Entry]:
        """Every object, streamed; those below STATE are left out."""
        ...

    async def read(self, key: str, most: int | None = None) -> bytes:
        """The object, or its first bytes, at most so many."""
        ...

    def as_file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The object as a file of this machine, for as long as the block lasts; for objects that memory need not hold."""
        ...

    async def facts(self, key: str) -> Mapping[str, str] | None:
        """What `write` noted beside an object, {} where nothing, None where there is no object."""
        ...

    async def write(
        self, key: str, body: bytes | Path, facts: Mapping[str, str], *, modified: float | None = None, replace: bool = False
    ) -> None:
        """The whole object, of bytes or of a file, or none. Raises AlreadyThere unless it may be replaced."""
        ...

    async def append(self, log: str, lines: bytes) -> None:
        """Adds whole lines to a log below STATE; they last once this returns."""
        ...

    def logs(self, prefix: str, wanted: Callable[[str], bool] = bool) -> AsyncIterator[bytes]:
        """The lines of every log whose name begins so and is wanted, in the order in which they were added."""
        ...
