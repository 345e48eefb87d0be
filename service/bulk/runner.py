"""The way of a batch: list, leave out what is done, read, restore, write, record.

A result is a function of its picture and its recipe, and is written whole or not at all: doing a picture twice does no harm, and a
run that was killed goes on where its records end.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

from service.bulk.picture import BatchJob, PictureWork, Restorer, patiently, recipe_of
from service.bulk.records import Record, RecordIndex, open_index, parse
from service.bulk.stores import Entry, Store

log = logging.getLogger("rddm.bulk")
MOST_PROBLEMS_SHOWN = 200
MOST_QUEUED = 64  # entries that were listed and wait; a busy engine needs a few more than it works on


@dataclass
class Summary:
    """Counts of one run. kept: done by an earlier run; refused: no picture; failed_before: left out; frames: of clips."""

    listed: int = 0
    restored: int = 0
    kept: int = 0
    refused: int = 0
    failed: int = 0
    failed_before: int = 0
    megapixels: float = 0.0
    frames: int = 0
    seconds: float = 0.0
    done_listing: bool = False
    problems: list[Record] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Objects with which nothing is left to be done."""
        return self.restored + self.kept + self.refused + self.failed + self.failed_before

    @property
    def complete(self) -> bool:
        """Whether nothing failed, in this run or before it."""
        return not (self.failed or self.failed_before)

    def count(self, record: Record) -> None:
        """Adds what came of one object in this run."""
        if record.status == "restored":
            self.restored += 1
            self.megapixels += (record.width or 0) * (record.height or 0) * (record.frames or 1) / 1e6
            return
        if record.status == "failed":
            self.failed += 1
        else:
            self.refused += 1
        if len(self.problems) < MOST_PROBLEMS_SHOWN:
            self.problems.append(record)


Listener = Callable[[Summary], None]


@contextlib.asynccontextmanager
async def load_index(target: Store, job: BatchJob) -> AsyncIterator[RecordIndex]:
    """The records that earlier runs left in the target of this job's shard, for as long as the block lasts."""
    with open_index() as index:
        async for line in target.logs("records-", job.may_have_recorded):
            if (record := parse(line)) is not None:
                index.add(record)
        yield index


async def run_batch(
    job: BatchJob, source: Store, target: Store, restorer: Restorer, entries: AsyncIterator[Entry], on_change: Listener
) -> Summary:
    """Every entry once. on_change hears of each one. The restorer is started for the first one that it is needed for.

    Raises StoreError where the store can be of no use any more, and what `Restorer.start` raises.
    """
    async with load_index(target, job) as index:
        batch = _Batch(job, source, target, restorer, index, on_change)
        return await batch.run(entries)


def is_in_shard(job: BatchJob, entry: Entry) -> bool:
    """Whether the entry belongs to the job's part of all objects."""
    index, count = job.shard
    return zlib.crc32(entry.key.encode()) % count == index


def note_earlier(job: BatchJob, recipe: str, entry: Entry, earlier: Record | None, summary: Summary) -> bool:
    """Whether an earlier run with the same recipe left nothing to do, which is counted; a changed object is done anew."""
    if earlier is None or earlier.recipe != recipe or (entry.tag and earlier.tag and entry.tag != earlier.tag):
        return False
    if earlier.status == "failed":
        if job.retry_failed:
            return False
        summary.failed_before += 1
    elif earlier.status == "restored":
        summary.kept += 1
    else:
        summary.refused += 1
    return True


class _Batch:
    """One run: a listing feeds a bounded queue, workers empty it, one writer keeps the records."""

    def __init__(
        self, job: BatchJob, source: Store, target: Store, restorer: Restorer, index: RecordIndex, on_change: Listener
    ) -> None:
        self._job, self._target, self._restorer = job, target, restorer
        self._index, self._on_change = index, on_change
        self._recipe = recipe_of(restorer, job.parameters, job.clips)
        self._pictures = PictureWork(job, source, target, restorer, resumed=len(index) > 0, on_frame=self._count_frame)
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(MOST_QUEUED)
        self._records: asyncio.Queue[Record | None] = asyncio.Queue()
        self._ending = asyncio.Event()
        self.summary = Summary()

    async def run(self, entries: AsyncIterator[Entry]) -> Summary:
        started = time.monotonic()
        self._writer = asyncio.create_task(self._write_records())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._list(entries))
                group.create_task(self._work_side_by_side())
        except BaseExceptionGroup as several:
            raise _first(several) from None
        finally:
            self.summary.seconds = time.monotonic() - started
            self._records.put_nowait(None)
            self._ending.set()
            await asyncio.shield(self._writer)
        return self.summary

    # Listing

    async def _list(self, entries: AsyncIterator[Entry]) -> None:
        async for entry in entries:
            if not is_in_shard(self._job, entry):
                continue
            self.summary.listed += 1
            if note_earlier(self._job, self._recipe, entry, self._index.find(entry.key), self.summary) or self._job.dry_run:
                self._on_change(self.summary)
            else:
                await self._queue.put(entry)
        self.summary.done_listing = True
        await self._queue.put(None)

    # Working

    async def _work_side_by_side(self) -> None:
        if (first := await self._queue.get()) is None:
            return
        await self._restorer.start()
        self._on_change(self.summary)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(first))
            for _ in range(self._restorer.at_once - 1):
                group.create_task(self._work())

    async def _work(self, entry: Entry | None = None) -> None:
        """This entry, then those of the queue, whose end is left for the next worker."""
        entry = entry or await self._queue.get()
        while entry is not None:
            await self._do(entry)
            entry = await self._queue.get()
        self._queue.put_nowait(None)

    async def _do(self, entry: Entry) -> None:
        earlier = self._index.find(entry.key)
        record = await self._pictures.record_of(entry, earlier.target if earlier else None)
        self._records.put_nowait(record)
        if record.status == "restored":
            self._index.add(record)  # a watched picture may come again, and its result is ours to replace
        if self._writer.done():  # it ends early only by an error
            self._writer.result()
        self.summary.count(record)
        self._on_change(self.summary)

    def _count_frame(self) -> None:
        self.summary.frames += 1
        self._on_change(self.summary)

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
                await patiently(partial(self._target.append, self._job.log, lines))


def _first(error: BaseException) -> BaseException:
    """Of a group, the error that ended its tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
