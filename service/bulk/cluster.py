"""A batch on a Ray cluster, by Ray Data: keys travel, pictures do not.

Each actor holds the restoration service and goes between the stores and its own memory. Every object's error is a record, since a
row that raises would end the whole job. An actor or a node that dies is replaced by Ray and its rows are done again; results are
written whole or not at all, so that this does no harm.
"""

import asyncio
import hashlib
import platform
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import ray

from service.bulk.locations import open_store
from service.bulk.picture import BatchJob, PictureWork, Restorer, patiently, recipe_of
from service.bulk.records import Record, parse
from service.bulk.restorer import open_restorer
from service.bulk.runner import Listener, Summary, is_in_shard, load_index, note_earlier
from service.bulk.stores import STATE, AlreadyThere, Entry, Store, StoreError
from service.errors import EngineUnavailable
from service.restoration.parameters import RestoreParameters
from service.settings import Settings

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("size", pa.int64()),
        ("tag", pa.string()),
        ("modified", pa.float64()),
        ("problem", pa.string()),
        ("earlier_target", pa.string()),
    ]
)
OUTCOME = pa.schema(
    [("key", pa.string()), ("status", pa.string()), ("problem", pa.string()), ("width", pa.int64()), ("height", pa.int64())]
)
ROWS_AT_ONCE = 10_000  # of a listing that become Arrow together
TASKS_PER_ACTOR = 50  # so that the last ones end about together
LEAST_ROWS, MOST_ROWS = 4, 500  # of one task, which is what is done again where an actor dies
Opener = Callable[[Settings, RestoreParameters], AbstractAsyncContextManager[Restorer]]


def actor_settings(gpus: Sequence[object]) -> Settings:
    """Of a restorer in an actor: one call at a time, on the GPU that Ray gave it, if it gave one."""
    settings = Settings(instances=1, threads=1)
    return settings.model_copy(update={"device": "cuda"}) if gpus else settings


class BatchActor:
    """Restores rows of keys. Ray makes one for each place in the cluster.

    run: of all actors of one batch; recipe: of the driver, whose machine may have other models; opened: what opens the restorer.
    """

    def __init__(
        self, job: dict[str, Any], source: str, target: str, run: str, recipe: str, opened: Opener, *, resumed: bool
    ) -> None:
        self._job = BatchJob(**job)
        self._source, self._target = open_store(source), open_store(target, may_create=True)
        self._run, self._log = run, f"records-ray-{uuid.uuid4().hex}"
        self._loop = asyncio.new_event_loop()
        self._opened = opened(actor_settings(ray.get_gpu_ids()), self._job.parameters)
        self._restorer = self._loop.run_until_complete(self._opened.__aenter__())
        if recipe_of(self._restorer, self._job.parameters) != recipe:
            raise EngineUnavailable(
                f"{platform.node()} has other weights, or another version, than the machine that lists the keys"
            )
        self._pictures = PictureWork(self._job, self._source, self._target, self._restorer, resumed=resumed)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """A record for each row, noted in the target before it is returned."""
        records = self._loop.run_until_complete(self._all(rows.to_pylist()))
        outcomes = [{name: getattr(record, name) for name in OUTCOME.names} for record in records]
        return pa.Table.from_pylist(outcomes, schema=OUTCOME)

    async def _all(self, rows: list[dict[str, Any]]) -> list[Record]:
        noted = await self._noted_by_lost_attempts(rows)
        free = asyncio.Semaphore(self._restorer.at_once)
        at_once = self._target.record_seconds == 0

        async def one(row: dict[str, Any]) -> Record:
            earlier_target = row.pop("earlier_target")
            async with free:
                record = await self._pictures.record_of(Entry(**row), earlier_target)
                if at_once:
                    await self._note([record])
                return record

        new = await asyncio.gather(*(one(row) for row in rows if row["key"] not in noted))
        if new and not at_once:  # each write is paid for, and results carry facts of their own
            await self._note(new)
        return [*noted.values(), *new]

    async def _note(self, records: list[Record]) -> None:
        await patiently(lambda: self._target.append(self._log, b"".join(record.to_line() for record in records)))

    async def _noted_by_lost_attempts(self, rows: list[dict[str, Any]]) -> dict[str, Record]:
        """By key, what actors noted that died over these rows: nothing shall have two records. {} for the first attempt.

        A mark beside the records names the log of every actor that tried; Ray does not tell which attempt this is.
        """
        keys = {row["key"] for row in rows}
        mark = f"{STATE}/attempts-{self._run}/{hashlib.sha256(rows[0]['key'].encode()).hexdigest()}"
        mine = f"{self._log}\n".encode()
        try:
            await patiently(lambda: self._target.write(mark, mine, {}))
            return {}
        except AlreadyThere:
            logs = await patiently(lambda: self._target.read(mark))
        await patiently(lambda: self._target.write(mark, logs + mine, {}, replace=True))
        records = [parse(line) for log in set(logs.decode().split()) async for line in self._target.logs(log)]
        return {record.key: record for record in records if record is not None and record.key in keys}


async def list_pending(
    job: BatchJob, target: Store, recipe: str, entries: AsyncIterator[Entry], summary: Summary
) -> tuple[pa.Table, bool]:
    """The rows that no record settles, and whether there was any record.

    Ray's driver holds every row: as Arrow some 90 bytes each, as objects of Python ten times that.
    """
    rows: list[dict[str, Any]] = []
    tables = [SCHEMA.empty_table()]
    async with load_index(target, job) as index:
        async for entry in entries:
            if not is_in_shard(job, entry):
                continue
            summary.listed += 1
            earlier = index.find(entry.key)
            if not note_earlier(job, recipe, entry, earlier, summary):
                rows.append(asdict(entry) | {"earlier_target": earlier.target if earlier else None})
            if len(rows) == ROWS_AT_ONCE:
                tables.append(pa.Table.from_pylist(rows, schema=SCHEMA))
                rows.clear()
        tables.append(pa.Table.from_pylist(rows, schema=SCHEMA))
        return pa.concat_tables(tables), len(index) > 0


def restore_rows(
    job: BatchJob,
    source: str,
    target: str,
    recipe: str,
    rows: pa.Table,
    summary: Summary,
    on_change: Listener,
    *,
    resumed: bool,
    address: str | None = None,
    actors: int | None = None,
    gpus_per_actor: float = 0,
    opened: Opener = open_restorer,
) -> Summary:
    """Every row by an actor of the cluster at `address` (None: one on this machine), each of which restores by what `opened` opens.

    recipe: that of `list_pending`; an actor whose own differs ends the job. Raises StoreError with Ray's own words.
    """
    started = time.monotonic()
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, include_dashboard=False, ignore_reinit_error=True)
    # An actor takes a CPU for itself; Ray's own tasks need one that no actor has.
    places = actors or max(1, int(ray.cluster_resources().get("CPU", 2)) - 1)
    size = min(MOST_ROWS, max(LEAST_ROWS, len(rows) // (places * TASKS_PER_ACTOR)))
    blocks = [rows.slice(at, size).combine_chunks() for at in range(0, len(rows), size)]
    results = ray.data.from_arrow(blocks).map_batches(
        BatchActor,
        fn_constructor_args=(asdict(job) | {"parameters": job.parameters}, source, target, uuid.uuid4().hex, recipe, opened),
        fn_constructor_kwargs={"resumed": resumed},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=places),
        num_cpus=1,
        num_gpus=gpus_per_actor or None,
    )
    try:
        for row in results.iter_rows():
            summary.count(Record(**row, recipe="", tag="", finished=0.0))
            on_change(summary)
    except ray.exceptions.RayError as error:
        raise StoreError(f"the cluster gave up: {str(error).strip().splitlines()[-1][:240]}", fatal=True) from error
    finally:
        summary.seconds = time.monotonic() - started
    return summary
