"""The way of a batch: list, leave out what is done, read, restore, write, record.

A result is a function of its picture and its recipe, and is written whole or not at all: doing a picture twice does no harm, and a
run that was killed goes on where its records end.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from service.bulk.records import Record, RecordIndex, open_index, parse
from service.bulk.stores import AlreadyThere, Entry, Store, StoreError
from service.errors import EngineUnavailable, QueueFull, ServiceError, UnsupportedMedia
from service.pictures.kinds import sniff
from service.restoration.parameters import RestoreParameters

log = logging.getLogger("rddm.bulk")
T = TypeVar("T")
HEAD_BYTES = 4096  # enough to tell a picture from what is none
WHOLE_BYTES = 4 << 20  # objects of up to this size are read at once, larger ones only if their head is a picture's
MOST_TRIES = 6
LONGEST_PAUSE = 30.0
MOST_PROBLEMS_SHOWN = 200
RECIPE_FACT, TAG_FACT, DIGEST_FACT = "rddm-recipe", "rddm-source", "rddm-digest"


@dataclass(frozen=True)
class Restored:
    """A finished file: its bytes, and its size in pixels."""

    body: bytes
    width: int
    height: int


class Restorer(Protocol):
    """What restores. digest and steps belong to the recipe; at_once: pictures that keep it busy."""

    digest: str
    steps: int
    at_once: int

    def suffixes(self, picture: bytes, parameters: RestoreParameters) -> tuple[str, ...]:
        """The suffixes of the result's format, the usual one first. Raises UnsupportedMedia."""
        ...

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        """Raises the errors of service.errors."""
        ...


@dataclass(frozen=True)
class BatchJob:
    """What is asked for.

    shard: (index, count), index from 0: the objects whose key's CRC-32 leaves that remainder. retry_failed: pictures that failed
    before are tried again. most_bytes: of a source file.
    """

    parameters: RestoreParameters
    shard: tuple[int, int] = (0, 1)
    retry_failed: bool = False
    dry_run: bool = False
    most_bytes: int = 200 << 20
    keeps_times: bool = True

    @property
    def log(self) -> str:
        """The name of this shard's records."""
        return f"records-{self.shard[0]:05d}-of-{self.shard[1]:05d}"


@dataclass
class Summary:
    """Counts of one run. kept: done by an earlier run; refused: no picture; waiting: left out, since it failed before."""

    listed: int = 0
    restored: int = 0
    kept: int = 0
    refused: int = 0
    failed: int = 0
    failed_before: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0
    done_listing: bool = False
    problems: list[Record] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing failed, in this run or before it."""
        return not (self.failed or self.failed_before)


Listener = Callable[[Summary], None]


def recipe_of(restorer: Restorer, parameters: RestoreParameters) -> str:
    """What the result is a function of beside the picture: model digest, steps, and every parameter, hashed to 16 digits."""
    said = parameters.model_copy(update={"steps": restorer.steps}).model_dump_json(exclude={"max_latency_ms", "webhook"})
    return hashlib.sha256(f"{restorer.digest} {said}".encode()).hexdigest()[:16]


def target_key(key: str, suffixes: tuple[str, ...]) -> str:
    """The source's key; one whose suffix belongs to another format gets the right one behind it, so that no two keys meet."""
    name = key.rpartition("/")[2]
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    return key if not suffix or suffix in suffixes else f"{key}{suffixes[0]}"


async def run_batch(
    job: BatchJob, source: Store, target: Store, restorer: Restorer, entries: AsyncIterator[Entry], on_change: Listener
) -> Summary:
    """Every entry once. on_change hears of each one. Raises StoreError where the store can be of no use any more."""
    with open_index() as index:
        async for line in target.logs("records-"):
            if (record := parse(line)) is not None:
                index.add(record)
        batch = _Batch(job, source, target, restorer, index, on_change)
        return await batch.run(entries)


class _Batch:
    """One run: a listing feeds a bounded queue, workers empty it, one writer keeps the records."""

    def __init__(
        self, job: BatchJob, source: Store, target: Store, restorer: Restorer, index: RecordIndex, on_change: Listener
    ) -> None:
        self._job, self._source, self._target, self._restorer = job, source, target, restorer
        self._index, self._on_change = index, on_change
        self._recipe = recipe_of(restorer, job.parameters)
        self._is_resumed = len(index) > 0
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(2 * restorer.at_once)
        self._records: asyncio.Queue[Record | None] = asyncio.Queue()
        self._ending = asyncio.Event()
        self.summary = Summary()

    async def run(self, entries: AsyncIterator[Entry]) -> Summary:
        started = time.monotonic()
        self._writer = asyncio.create_task(self._write_records())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._list(entries))
                for _ in range(self._restorer.at_once):
                    group.create_task(self._work())
        except* StoreError as several:
            raise _first(several) from None
        finally:
            self.summary.seconds = time.monotonic() - started
            self._records.put_nowait(None)
            self._ending.set()
            await asyncio.shield(self._writer)
        return self.summary

    # Listing

    async def _list(self, entries: AsyncIterator[Entry]) -> None:
        index, count = self._job.shard
        async for entry in entries:
            if zlib.crc32(entry.key.encode()) % count != index:
                continue
            self.summary.listed += 1
            if self._is_done(entry) or self._job.dry_run:
                self._on_change(self.summary)
            else:
                await self._queue.put(entry)
        self.summary.done_listing = True
        for _ in range(self._restorer.at_once):
            await self._queue.put(None)

    def _is_done(self, entry: Entry) -> bool:
        """Whether an earlier run with the same recipe left nothing to do; an object that changed since then is done anew."""
        record = self._index.find(entry.key)
        if record is None or record.recipe != self._recipe or (entry.tag and record.tag and entry.tag != record.tag):
            return False
        if record.status == "failed":
            if self._job.retry_failed:
                return False
            self.summary.failed_before += 1
        elif record.status == "restored":
            self.summary.kept += 1
        else:
            self.summary.refused += 1
        return True

    # Working

    async def _work(self) -> None:
        while (entry := await self._queue.get()) is not None:
            record = await self._record_of(entry)
            self._records.put_nowait(record)
            if self._writer.done():  # it ends early only by an error
                self._writer.result()
            self._count(record)
            self._on_change(self.summary)

    def _count(self, record: Record) -> None:
        if record.status == "restored":
            self.summary.restored += 1
            self.summary.megapixels += (record.width or 0) * (record.height or 0) / 1e6
            return
        if record.status == "failed":
            self.summary.failed += 1
        else:
            self.summary.refused += 1
        if len(self.summary.problems) < MOST_PROBLEMS_SHOWN:
            self.summary.problems.append(record)

    async def _record_of(self, entry: Entry) -> Record:
        started = time.monotonic()
        record = Record(entry.key, "failed", self._recipe, entry.tag, finished=0.0, bytes_in=entry.size)
        try:
            record = await self._restore(entry, record)
        except UnsupportedMedia as refused:
            record = replace(record, status="not-a-picture", problem=refused.detail)
        except ServiceError as error:
            record = replace(record, problem=error.detail)
        except StoreError as error:
            if error.fatal:
                raise
            record = replace(record, problem=str(error))
        return replace(record, seconds=round(time.monotonic() - started, 4), finished=round(time.time(), 3))

    async def _restore(self, entry: Entry, record: Record) -> Record:
        if entry.problem is not None:
            return replace(record, problem=entry.problem)
        picture = await self._read(entry)
        if (earlier := await self._result_without_record(entry, picture, record)) is not None:
            return earlier
        restored = await _patiently(lambda: self._restorer.restore(picture, self._job.parameters))
        digest = hashlib.sha256(restored.body).hexdigest()
        target = target_key(entry.key, self._restorer.suffixes(picture, self._job.parameters))
        done = replace(
            record,
            status="restored",
            target=target,
            bytes_in=len(picture),
            bytes_out=len(restored.body),
            width=restored.width,
            height=restored.height,
            digest=digest,
        )
        await self._write(entry, done, restored.body)
        return done

    async def _result_without_record(self, entry: Entry, picture: bytes, record: Record) -> Record | None:
        """The record of a result that a killed run wrote and had no time to note, where the store keeps facts beside results."""
        if not self._is_resumed or self._target.record_seconds == 0:
            return None
        target = target_key(entry.key, self._restorer.suffixes(picture, self._job.parameters))
        noted = await _patiently(lambda: self._target.facts(target)) or {}
        if noted.get(RECIPE_FACT) != self._recipe or noted.get(TAG_FACT) != entry.tag:
            return None
        return replace(record, status="restored", target=target, bytes_in=len(picture), digest=noted.get(DIGEST_FACT))

    async def _read(self, entry: Entry) -> bytes:
        """Raises UnsupportedMedia for what is no picture, before much of it is read."""
        if entry.size is not None and entry.size > self._job.most_bytes:
            raise StoreError(f"the file has {entry.size} bytes; at most {self._job.most_bytes} are read")
        if entry.size is None or entry.size > WHOLE_BYTES:
            sniff(await _patiently(lambda: self._source.read(entry.key, HEAD_BYTES)))
        picture = await _patiently(lambda: self._source.read(entry.key))
        sniff(picture)
        return picture

    async def _write(self, entry: Entry, record: Record, body: bytes) -> None:
        """Creates the result, or replaces one that an earlier record says is ours; a file of somebody else is never lost."""
        target = record.target or entry.key
        facts = {RECIPE_FACT: self._recipe, TAG_FACT: entry.tag, DIGEST_FACT: record.digest or ""}
        modified = entry.modified if self._job.keeps_times else None
        earlier = self._index.find(entry.key)
        ours = earlier is not None and earlier.target == target
        try:
            await _patiently(lambda: self._target.write(target, body, facts, modified=modified, replace=ours))
        except AlreadyThere:
            noted = await _patiently(lambda: self._target.facts(target)) or {}
            if RECIPE_FACT in noted:  # a run that was killed between the result and its record
                await _patiently(lambda: self._target.write(target, body, facts, modified=modified, replace=True))
            elif await _patiently(lambda: self._target.read(target)) != body:
                raise StoreError(
                    f"{target} is there already and no record says that it is a result; expected another target"
                ) from None

    # Records

    async def _write_records(self) -> None:
        """In the order in which pictures end, together with those that end within the store's `record_seconds`."""
        last = False
        while not last:
            records = [await self._records.get()]
            if records[0] is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), self._target.record_seconds)
            while not self._records.empty():
                records.append(self._records.get_nowait())
            last = None in records
            lines = b"".join(record.to_line() for record in records if record is not None)
            if lines:
                await _patiently(partial(self._target.append, self._job.log, lines))


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's result; what may pass (a busy store, a full queue) is tried again, after pauses that double."""
    for attempt in range(MOST_TRIES):
        try:
            return await call()
        except (StoreError, QueueFull, EngineUnavailable) as error:
            passing = not isinstance(error, StoreError) or error.transient
            if not passing or attempt == MOST_TRIES - 1:
                raise
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**attempt) * random.uniform(0.5, 1.5))  # noqa: S311
    raise AssertionError("unreachable")


def _first(group: "BaseExceptionGroup[StoreError]") -> StoreError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StoreError)
    return error
