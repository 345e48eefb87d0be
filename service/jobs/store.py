"""Jobs in the database: handed in once, claimed by one gateway at a time, finished once, by whichever gateway."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from service.errors import Conflict, QueueFull
from service.jobs.deliveries import Delivery, add_deliveries
from service.results.stored import StoredResponse
from service.storage import Database, Transaction

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["restore", "generate", "video"]
ACTIVE = ("queued", "running")
LOOKED_AT = 1000  # jobs, for one that this gateway can do
SCHEMA = (
    """
    create table if not exists rddm_jobs (
        id text primary key, kind text not null, caller text not null, idempotency_key text, fingerprint text not null,
        status text not null, created {real} not null, expires {real} not null, bytes bigint not null, facts text not null,
        image {blob}, mask {blob}, answer text, body {blob}, event text, owner text, lease {real} not null, due {real} not null,
        losses integer not null)
    """,
    "create table if not exists rddm_secrets (name text primary key, secret text not null)",
    "create index if not exists rddm_jobs_by_status on rddm_jobs (status, due)",
    "create index if not exists rddm_jobs_by_caller on rddm_jobs (caller)",
    "create unique index if not exists rddm_jobs_by_key on rddm_jobs (caller, idempotency_key) where idempotency_key is not null",
)


@dataclass(frozen=True)
class Job:
    """The facts of a job; its pictures lie beside them. Times are seconds of the epoch; parameters: of the request, as JSON.

    accept: the picture kind that was asked for, and whether the answer is JSON. progress: 0..1, the share of its network calls that
    is done; eta: when it should be done. Both are None while nothing is known of them. clip: of a video job, what is known of the
    clip; its file, its segments and its result lie in a folder of the job's name.
    """

    id: str
    caller: str
    kind: Kind
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
    started: float | None = None
    progress: float | None = None
    eta: float | None = None


@dataclass(frozen=True)
class JobLimits:
    """How many jobs there may be unfinished, in all and of one caller; their bytes; seconds that a job is kept and may wait.

    at_once, clips_at_once: jobs that one gateway runs side by side; clips apart, so that one of an hour holds up no picture.
    """

    jobs: int
    of_one_caller: int
    bytes: int
    kept_seconds: float
    patience_seconds: float
    at_once: int = 2
    clips_at_once: int = 1


@dataclass(frozen=True)
class Claim:
    """A job that a gateway has for itself. losses: gateways that died with it."""

    job: Job
    losses: int


class JobStore:
    """Every method raises StoreUnavailable when the database is full or gone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def shared(self) -> bool:
        """Whether other gateways use it too."""
        return self._database.shared

    async def open(self) -> None:
        """Make the tables. Where no other gateway can be at work, what an earlier process held is free again."""

        def act(tx: Transaction) -> None:
            for statement in SCHEMA:
                tx.execute(statement)
            if not self.shared:
                tx.execute("update rddm_jobs set owner = null, due = 0 where owner is not null")

        await self._database.run(act, exclusive=True)

    async def secret(self, name: str) -> bytes:
        """A random secret that all gateways of the database share, made when first asked for."""

        def act(tx: Transaction) -> str:
            insertion = "insert into rddm_secrets (name, secret) values (?, ?) on conflict (name) do nothing"
            tx.execute(insertion, name, secrets.token_hex(32))
            [(secret,)] = tx.execute("select secret from rddm_secrets where name = ?", name)
            return str(secret)

        return bytes.fromhex(await self._database.run(act))

    async def submit(self, job: Job, image: bytes | None, mask: bytes | None, limits: JobLimits) -> tuple[Job, list[str]]:
        """The job, or the one that the same Idempotency-Key made before, and old jobs that were forgotten for it.

        Raises Conflict and QueueFull.

        One at a time, so that a key that comes twice at once makes one job, and no limit is passed in between.
        """

        def act(tx: Transaction) -> tuple[Job, list[str]]:
            if (other := _made_before(tx, job)) is not None:
                return other, []
            _check_room(tx, job, limits)
            tx.execute(
                "insert into rddm_jobs (id, kind, caller, idempotency_key, fingerprint, status, created, expires, bytes, facts, "
                "image, mask, lease, due, losses) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
                *(job.id, job.kind, job.caller, job.key, job.fingerprint, job.status, job.created, job.expires, job.bytes),
                *(_facts(job), image, mask),
            )
            return job, _forget_oldest(tx, 2 * limits.jobs)

        return await self._database.run(act, exclusive=True)

    async def claim(
        self,
        owner: str,
        lease_seconds: float,
        announce: Callable[[Job], Sequence[Delivery]] = lambda _: (),
        *,
        clips: bool = False,
        can_do: Callable[[Job], bool] = lambda _: True,
    ) -> Claim | None:
        """The oldest job that nobody works on and that need not wait, for that gateway, until its lease ends.

        announce: the webhook messages of a job that never ran before. clips: clips only, or pictures only. can_do: whether
        this gateway can do it at all.
        """

        def act(tx: Transaction) -> Claim | None:
            rows = tx.execute(
                "select facts, owner, losses from rddm_jobs where status in ('queued', 'running') and due <= ? "
                "and (owner is null or (lease < ? and owner <> ?)) and (kind = 'video') = ? order by created limit ?",
                *(tx.now, tx.now, owner, clips, LOOKED_AT),
            )
            chosen = next(((job, *rest) for facts, *rest in rows if can_do(job := _job(facts))), None)
            if chosen is None:
                return None
            job, losses = chosen[0], chosen[2] + (chosen[1] is not None)
            running = replace(job, status="running", step=0, progress=None, eta=None, started=job.started or tx.now)
            tx.execute(
                "update rddm_jobs set owner = ?, lease = ?, losses = ?, event = null where id = ?",
                *(owner, tx.now + lease_seconds, losses, job.id),
            )
            _write(tx, running)
            if job.started is None:
                add_deliveries(tx, announce(running))
            return Claim(running, losses)

        return await self._database.run(act, exclusive=True)

    async def renew(self, owner: str, lease_seconds: float, jobs: Mapping[str, tuple[Job, dict[str, Any] | None]]) -> set[str]:
        """Keep jobs for longer, and write how they stand, with their last event; those that are still the gateway's own."""

        def act(tx: Transaction) -> set[str]:
            kept = set()
            for job, event in jobs.values():
                kept |= {
                    identity
                    for (identity,) in tx.execute(
                        "update rddm_jobs set lease = ?, facts = ?, event = ? where id = ? and owner = ? returning id",
                        *(tx.now + lease_seconds, _facts(job), None if event is None else json.dumps(event), job.id, owner),
                    )
                }
            return kept

        return await self._database.run(act) if jobs else set()

    async def release(self, owner: str, job: Job, pause: float) -> None:
        """Give a job back; whichever gateway has time takes it up again after so many seconds."""

        def act(tx: Transaction) -> None:
            tx.execute(
                "update rddm_jobs set owner = null, due = ?, facts = ? where id = ? and owner = ?",
                *(tx.now + pause, _facts(job), job.id, owner),
            )

        await self._database.run(act)

    async def finish(self, owner: str, job: Job, finished: StoredResponse | None, deliveries: Sequence[Delivery] = ()) -> bool:
        """The last facts, the answer where there is one, and its webhook messages; what was sent is let go of.

        False, and nothing is written, where the job is no longer that gateway's.
        """
        answer = None if finished is None else json.dumps(_head(finished))
        body = None if finished is None else finished.body

        def act(tx: Transaction) -> bool:
            mine = tx.execute(
                "update rddm_jobs set image = null, mask = null, event = null, owner = null, answer = ?, body = ? "
                "where id = ? and owner = ? returning id",
                *(answer, body, job.id, owner),
            )
            if mine:
                _write(tx, job)
                add_deliveries(tx, deliveries)
            return bool(mine)

        return await self._database.run(act)

    async def remove(self, job: str) -> None:
        """Forget a job; whoever works on it learns of it when it renews."""
        await self._database.run(lambda tx: tx.execute("delete from rddm_jobs where id = ?", job))

    async def remove_expired(self) -> list[str]:
        """Forget what has been finished for long enough; their ids."""
        statement = "delete from rddm_jobs where status not in ('queued', 'running') and expires < ? returning id"
        return [identity for (identity,) in await self._database.run(lambda tx: tx.execute(statement, tx.now))]

    async def ids(self) -> list[str]:
        """Of every job."""
        return [identity for (identity,) in await self._database.run(lambda tx: tx.execute("select id from rddm_jobs"))]

    async def job(self, identity: str) -> Job | None:
        """How a job stands."""
        rows = await self._database.run(lambda tx: tx.execute("select facts from rddm_jobs where id = ?", identity))
        return _job(rows[0][0]) if rows else None

    async def last_event(self, identity: str) -> dict[str, Any] | None:
        """The last step of a job, as the gateway that runs it recorded it."""
        rows = await self._database.run(lambda tx: tx.execute("select event from rddm_jobs where id = ?", identity))
        return json.loads(rows[0][0]) if rows and rows[0][0] else None

    async def of(self, caller: str) -> list[Job]:
        """A caller's jobs, the newest first."""
        statement = "select facts from rddm_jobs where caller = ? order by created desc"
        return [_job(facts) for (facts,) in await self._database.run(lambda tx: tx.execute(statement, caller))]

    async def counts(self) -> dict[str, int]:
        """Jobs by status."""
        return dict(await self._database.run(lambda tx: tx.execute("select status, count(*) from rddm_jobs group by status")))

    async def sources(self, job: str) -> tuple[bytes | None, bytes | None]:
        """The pictures that a job was given."""
        rows = await self._database.run(lambda tx: tx.execute("select image, mask from rddm_jobs where id = ?", job))
        return (rows[0][0], rows[0][1]) if rows else (None, None)

    async def answer(self, job: str) -> StoredResponse | None:
        """A finished job's answer."""
        rows = await self._database.run(lambda tx: tx.execute("select answer, body from rddm_jobs where id = ?", job))
        return StoredResponse(body=rows[0][1], **json.loads(rows[0][0])) if rows and rows[0][0] else None


def _made_before(tx: Transaction, job: Job) -> Job | None:
    """The job of the same caller and key. Raises Conflict where it was another request."""
    if job.key is None:
        return None
    statement = "select facts from rddm_jobs where caller = ? and idempotency_key = ?"
    for (facts,) in tx.execute(statement, job.caller, job.key):
        other = _job(facts)
        if other.fingerprint != job.fingerprint:
            raise Conflict("this Idempotency-Key came with another request before")
        return other
    return None


def _check_room(tx: Transaction, job: Job, limits: JobLimits) -> None:
    statement = "select caller, count(*), sum(bytes) from rddm_jobs where status in ('queued', 'running') group by caller"
    active = {caller: (number, size) for caller, number, size in tx.execute(statement)}
    own, everybody = active.get(job.caller, (0, 0))[0], sum(number for number, _ in active.values())
    if own >= limits.of_one_caller or everybody >= limits.jobs:
        most = limits.of_one_caller if own >= limits.of_one_caller else limits.jobs
        raise QueueFull(f"{most} jobs are waiting or running, which is all there may be", retry_after=10)
    if sum(size for _, size in active.values()) + job.bytes > limits.bytes:
        raise QueueFull(f"the pictures of waiting jobs would be over {limits.bytes} bytes", retry_after=10)


def _forget_oldest(tx: Transaction, most: int) -> list[str]:
    """Finished jobs, where there are more jobs than that; their ids."""
    [(number,)] = tx.execute("select count(*) from rddm_jobs")
    forgotten = tx.execute(
        "delete from rddm_jobs where id in (select id from rddm_jobs where status not in ('queued', 'running') "
        "order by created limit ?) returning id",
        max(0, number - most),
    )
    return [identity for (identity,) in forgotten]


def _head(answer: StoredResponse) -> dict[str, Any]:
    return {"media_type": answer.media_type, "headers": dict(answer.headers), "file": answer.file}


def _write(tx: Transaction, job: Job) -> None:
    tx.execute("update rddm_jobs set facts = ?, status = ?, expires = ? where id = ?", _facts(job), job.status, job.expires, job.id)


def _facts(job: Job) -> str:
    return json.dumps(asdict(job))


def _job(facts: str) -> Job:
    return Job(**json.loads(facts))
