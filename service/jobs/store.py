"""Where jobs are kept so that they survive a restart: one SQLite file, written from one thread."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from service.errors import StoreUnavailable
from service.results.stored import StoredResponse

P = ParamSpec("P")
T = TypeVar("T")
Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ACTIVE = frozenset({"queued", "running"})
SCHEMA = """
create table if not exists jobs (id text primary key, facts text not null, image blob, mask blob, answer text, body blob)
"""


@dataclass(frozen=True)
class Job:
    """The facts of a job; its pictures lie beside them. Times are seconds of the epoch; parameters: of the request, as JSON.

    accept: the picture kind that was asked for, and whether the answer is JSON. clip: of a video job, what is known of the clip;
    its file, its segments and its result lie in a folder of the job's name.
    """

    id: str
    caller: str
    kind: Literal["restore", "generate", "video"]
    parameters: str
    accept: str | None
    as_json: bool
    created: float
    expires: float
    fingerprint: str
    bytes: int
    key: str | None = None
    status: Status = "queued"
    step: int = 0
    steps: int | None = None
    model: str | None = None
    seed: int | None = None
    webhook: str | None = None
    problem: dict[str, Any] | None = None
    clip: dict[str, Any] | None = None


class JobStore:
    """Every method raises StoreUnavailable when the disk is full or gone."""

    def __init__(self, path: Path | None) -> None:
        """path None keeps everything in memory. Raises OSError and sqlite3.Error where the file cannot be used."""
        self._thread = ThreadPoolExecutor(1, "job-store")
        self._base = self._thread.submit(_open, path).result()

    async def _call(self, act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: act(*arguments, **named))
        except sqlite3.Error as error:
            raise StoreUnavailable(f"jobs cannot be kept now: {type(error).__name__}", retry_after=30) from error

    async def close(self) -> None:
        """Close the file."""
        await self._call(self._base.close)
        self._thread.shutdown()

    async def jobs(self) -> list[Job]:
        """Every job, the oldest first."""
        rows = await self._call(lambda: self._base.execute("select facts from jobs").fetchall())
        return sorted((_job(facts) for (facts,) in rows), key=lambda job: job.created)

    async def add(self, job: Job, image: bytes | None, mask: bytes | None) -> None:
        """A new job and its pictures."""
        await self._write("insert into jobs (id, facts, image, mask) values (?, ?, ?, ?)", job.id, _facts(job), image, mask)

    async def update(self, job: Job) -> None:
        """Newer facts of a job."""
        await self._write("update jobs set facts = ? where id = ?", _facts(job), job.id)

    async def finish(self, job: Job, finished: StoredResponse | None) -> None:
        """The last facts, and the answer where there is one; what was sent is let go of."""
        answer = (
            None
            if finished is None
            else json.dumps({"media_type": finished.media_type, "headers": dict(finished.headers), "file": finished.file})
        )
        body = None if finished is None else finished.body
        statement = "update jobs set facts = ?, image = null, mask = null, answer = ?, body = ? where id = ?"
        await self._write(statement, _facts(job), answer, body, job.id)

    async def remove(self, job: str) -> None:
        """Forget a job."""
        await self._write("delete from jobs where id = ?", job)

    async def sources(self, job: str) -> tuple[bytes | None, bytes | None]:
        """The pictures that a job was given."""
        found = await self._call(lambda: self._base.execute("select image, mask from jobs where id = ?", (job,)).fetchone())
        return found or (None, None)

    async def answer(self, job: str) -> StoredResponse | None:
        """A finished job's answer."""
        found = await self._call(lambda: self._base.execute("select answer, body from jobs where id = ?", (job,)).fetchone())
        return StoredResponse(body=found[1], **json.loads(found[0])) if found and found[0] else None

    async def _write(self, statement: str, *values: object) -> None:
        def write() -> None:
            with self._base:
                self._base.execute(statement, values)

        await self._call(write)


def _facts(job: Job) -> str:
    return json.dumps(asdict(job))


def _job(facts: str) -> Job:
    return Job(**json.loads(facts))


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    base = sqlite3.connect(path or ":memory:", timeout=1)
    base.execute("pragma locking_mode = exclusive")  # a second gateway on the same file must not run the same jobs
    base.execute("pragma journal_mode = wal")
    base.execute("pragma auto_vacuum = incremental")
    with base:
        base.execute(SCHEMA)
    return base
