"""A bucket as a store, by obstore: S3 and what speaks like it, Google Cloud Storage, Azure."""

import asyncio
import os
import re
import tempfile
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

import obstore
from obstore import exceptions
from obstore.store import from_url

from service.bulk.stores import STATE, AlreadyThere, Entry, StoreError

LISTED_AT_ONCE = 1000
LOGS_AT_ONCE = 16
ANSWER = re.compile(r"<Code>(?P<code>\w+)</Code>\s*<Message>(?P<message>[^<\n]*)")
RECORD_SECONDS = 5.0  # records that end within it share an object: each write is paid for, and each is read by the next run
RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
CLIENT: Any = {"timeout": "120s", "connect_timeout": "10s"}
REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.UnknownConfigurationKeyError)
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403 Forbidden", "401 Unauthorized")
NO_ROOM = ("507 Insufficient Storage", "StorageFull", "QuotaExceeded")  # MinIO, Ceph


class ObjectStore:
    """Keys are relative to the location's prefix. Facts are the object's own metadata."""

    record_seconds = RECORD_SECONDS

    def __init__(self, location: str) -> None:
        """location: s3://bucket/prefix and the like. Raises StoreError for an address that cannot be understood."""
        self.name = location
        try:
            options: Any = {**CLIENT, **_plain_http()}
            self._store: Any = from_url(location, client_options=options, retry_config=RETRIES)
        except Exception as wrong:  # obstore raises several kinds, ValueError among them
            raise StoreError(f"{location} cannot be opened: {_words(wrong)}", fatal=True) from wrong
        self._segments = count()
        self._run = uuid.uuid4().hex[:8]

    async def entries(self) -> AsyncIterator[Entry]:
        """See Store.entries; in the order of keys, a page at a time."""
        async for one in self._list(None):
            if not one["path"].startswith(f"{STATE}/") and not one["path"].endswith("/"):
                yield Entry(one["path"], one["size"], one["e_tag"] or "", one["last_modified"].timestamp())

    async def _list(self, prefix: str | None) -> AsyncIterator[Any]:
        """The next page is on its way while this one is gone through."""
        pages = obstore.list(self._store, prefix, chunk_size=LISTED_AT_ONCE)
        coming = asyncio.ensure_future(anext(pages))
        try:
            while True:
                page = await coming
                coming = asyncio.ensure_future(anext(pages))
                for one in page:
                    yield one
        except StopAsyncIteration:
            return
        except Exception as error:
            raise self._translated(error, "listed") from error
        finally:
            if not coming.cancel():
                coming.exception()  # asked for, so that nobody warns of it

    async def read(self, key: str, most: int | None = None) -> bytes:
        """See Store.read."""
        try:
            if most is not None:
                return bytes(await obstore.get_range_async(self._store, key, start=0, length=most))
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
        except Exception as error:
            raise self._translated(error, f"read at {key}") from error

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """See Store.as_file."""
        with tempfile.TemporaryDirectory(prefix="rddm-") as folder:
            path = Path(folder) / "object"
            try:
                answer = await obstore.get_async(self._store, key)
                with path.open("wb") as file:
                    async for chunk in answer.stream():
                        await asyncio.to_thread(file.write, chunk)
            except Exception as error:
                raise self._translated(error, f"read at {key}") from error
            yield path

    async def facts(self, key: str) -> Mapping[str, str] | None:
        """See Store.facts."""
        try:
            stored = await obstore.get_async(self._store, key, options={"head": True})
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._translated(error, f"asked about {key}") from error
        return {str(name).lower(): str(value) for name, value in stored.attributes.items()}

    async def write(
        self,
        key: str,
        body: bytes | Path,
        facts: Mapping[str, str],
        *,
        modified: float | None = None,  # noqa: ARG002  a bucket keeps its own times
        replace: bool = False,
    ) -> None:
        """See Store.write; creation is the store's own conditional write, but for a file: in parts there is none.

        So what has come to a file's name is seen before its first part is sent, and not while they are.
        """
        in_parts = isinstance(body, Path)
        if in_parts and not replace and await self.facts(key) is not None:
            raise AlreadyThere(f"{key} is there already")
        mode: Literal["overwrite", "create"] = "overwrite" if replace or in_parts else "create"
        try:
            await obstore.put_async(self._store, key, body, attributes=dict(facts), mode=mode, use_multipart=in_parts)
        except exceptions.AlreadyExistsError as there:
            raise AlreadyThere(f"{key} is there already") from there
        except Exception as error:
            raise self._translated(error, f"written at {key}") from error

    async def append(self, log: str, lines: bytes) -> None:
        """See Store.append: an object for each call, named so that later ones come later."""
        name = f"{STATE}/{log}/{time.time():017.6f}-{self._run}-{next(self._segments):08d}.jsonl"
        await self.write(name, lines, {}, replace=True)

    async def logs(self, prefix: str, wanted: Callable[[str], bool] = bool) -> AsyncIterator[bytes]:
        """See Store.logs; some objects are on their way while one is read."""
        waiting: deque[asyncio.Task[bytes]] = deque()
        try:
            async for one in self._list(f"{STATE}/"):
                name = one["path"].split("/")[1]
                if not name.startswith(prefix) or not wanted(name):
                    continue
                waiting.append(asyncio.create_task(self.read(one["path"])))
                if len(waiting) == LOGS_AT_ONCE:
                    for line in (await waiting.popleft()).splitlines(keepends=True):
                        yield line
            while waiting:
                for line in (await waiting.popleft()).splitlines(keepends=True):
                    yield line
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _translated(self, error: Exception, doing: str) -> StoreError:
        words = _words(error)
        if isinstance(error, REFUSED) or any(sign in str(error) for sign in NO_BUCKET + WRONG_KEYS + NO_ROOM):
            return StoreError(f"{self.name} could not be {doing}: {words}", fatal=True)
        if isinstance(error, FileNotFoundError):
            return StoreError(f"{self.name} has nothing to be {doing}: {words}")
        return StoreError(f"{self.name} could not be {doing}: {words}", transient=True)


def _words(error: Exception) -> str:
    """What the store answers in the XML of S3 and Azure, else the error's first line; at a length that a terminal shows."""
    if (answer := ANSWER.search(str(error))) is not None:
        return f"{answer['code']}: {answer['message'].strip()}"[:240]
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:240]


def _plain_http() -> dict[str, Any]:
    """Plain HTTP is taken where the environment names such an address, as test servers have."""
    address = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT", "")
    return {"allow_http": True} if address.startswith("http://") else {}
