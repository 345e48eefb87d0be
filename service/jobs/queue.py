"""Work in the service's own time: bounded, cancellable, kept over a restart, forgotten after a while."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from service.errors import Conflict, EngineUnavailable, NotFound, QueueFull, ServiceError
from service.jobs.store import ACTIVE, Job, JobStore, Status
from service.restoration.uploads import Uploads
from service.results.stored import StoredResponse
from service.sampling.pipeline import Listener, Step

log = logging.getLogger("rddm.jobs")
LEAST_PAUSE, LONGEST_PAUSE = 0.2, 30.0


class JobFunction(Protocol):
    """Runs a job. Its result has `model`, `steps` and `seed` in the headers."""

    async def __call__(self, job: Job, sources: Uploads | None, on_step: Listener, /) -> StoredResponse: ...


@dataclass(frozen=True)
class JobLimits:
    """How many jobs there may be unfinished, in all and of one caller; their bytes; seconds that a job is kept and may wait."""

    jobs: int
    of_one_caller: int
    bytes: int
    kept_seconds: float
    patience_seconds: float
    at_once: int = 2
    clips_at_once: int = 1


@dataclass(eq=False)
class JobProgress:
    """What is known of a job only while this process lives: its events so far, and who waits for the next."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    begun: float = 0.0

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Add an event and wake who waits."""
        self.events.append((name, data))
        self.changed.set()
        self.changed = asyncio.Event()

    def forget_previews(self) -> None:
        """Of the events so far: a clip has too many frames to keep a picture of each."""
        for _, data in self.events[-1:]:
            for name in ("preview", "before"):
                data.pop(name, None)


def job_document(job: Job) -> dict[str, Any]:
    """A job as callers see it."""
    base = f"/jobs/{job.id}"
    told: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "kind": job.kind,
        "step": job.step,
        "steps": job.steps,
        "created_at": _iso(job.created),
        "expires_at": _iso(job.expires),
        "model": job.model,
        "seed": job.seed,
        "links": {"self": base, "events": f"{base}/events", "result": f"{base}/result"},
    }
    told |= {} if job.clip is None else {"clip": job.clip}
    return told if job.problem is None else {**told, "problem": job.problem}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def fingerprint(parameters: str, accept: str, sources: Uploads | None) -> str:
    """What makes two requests the same one."""
    digest = hashlib.sha256(f"{parameters}\0{accept}".encode())
    for part in (sources.image, sources.mask) if sources else ():
        digest.update(hashlib.sha256(part or b"").digest())
    return digest.hexdigest()


class JobQueue:
    """Runs jobs in the order in which they came, a few at once. preview: what an event tells of a step."""

    def __init__(
        self,
        store: JobStore,
        run_job: JobFunction,
        limits: JobLimits,
        preview: Callable[[Step, float], dict[str, Any]],
        on_end: Callable[[Job], Coroutine[Any, Any, None]],
        on_forget: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._store, self._run_job, self._limits, self._preview, self._on_end = store, run_job, limits, preview, on_end
        self._on_forget = on_forget
        self._jobs: dict[str, Job] = {}
        self._progress: dict[str, JobProgress] = {}
        self._free = asyncio.Semaphore(limits.at_once)
        self._free_for_clips = asyncio.Semaphore(limits.clips_at_once)  # so that clips of an hour hold up no picture
        self._entering = asyncio.Lock()
        self._ends: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what an earlier process left undone."""
        for job in await self._store.jobs():
            self._jobs[job.id] = job
            self._progress[job.id] = JobProgress()
            if job.status in ACTIVE:
                self._launch(replace(job, status="queued", step=0))
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop; what is not finished stays in the store."""
        tasks = [task for task in (self._sweeper, *(progress.task for progress in self._progress.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ends, return_exceptions=True)
        await self._store.close()

    def count(self, status: Status) -> int:
        """Jobs that are kept with that status."""
        return sum(job.status == status for job in self._jobs.values())

    async def submit(self, job: Job, sources: Uploads | None) -> Job:
        """The job, or the one that the same Idempotency-Key made before. Raises Conflict, QueueFull, StoreUnavailable.

        One at a time, so that a key that comes twice at once makes one job, and no limit is passed in between.
        """
        async with self._entering:
            if (other := self._made_before(job)) is not None:
                return other
            self._check_room(job)
            job = replace(job, expires=job.created + self._limits.kept_seconds)  # not before; counted again from its end
            try:
                await self._store.add(job, sources.image if sources else None, sources.mask if sources else None)
            except BaseException:  # a cancelled write is done all the same
                await self._forget(job.id)
                raise
            self._progress[job.id] = JobProgress()
            self._launch(job)
            await self._forget_oldest()
        return job

    def _made_before(self, job: Job) -> Job | None:
        """The job of the same caller and key. Raises Conflict where it was another request."""
        for other in self._jobs.values():
            if job.key is not None and (other.caller, other.key) == (job.caller, job.key):
                if other.fingerprint != job.fingerprint:
                    raise Conflict("this Idempotency-Key came with another request before")
                return other
        return None

    def _check_room(self, job: Job) -> None:
        active = [other for other in self._jobs.values() if other.status in ACTIVE]
        own = sum(other.caller == job.caller for other in active)
        if own >= self._limits.of_one_caller or len(active) >= self._limits.jobs:
            most = self._limits.of_one_caller if own >= self._limits.of_one_caller else self._limits.jobs
            raise QueueFull(f"{most} jobs are waiting or running, which is all there may be", retry_after=10)
        if sum(other.bytes for other in active) + job.bytes > self._limits.bytes:
            raise QueueFull(f"the pictures of waiting jobs would be over {self._limits.bytes} bytes", retry_after=10)

    async def _forget_oldest(self) -> None:
        """Finished jobs beyond twice as many as may be unfinished."""
        finished = [job for job in self._jobs.values() if job.status not in ACTIVE]
        for job in finished[: max(0, len(self._jobs) - 2 * self._limits.jobs)]:
            await self._forget(job.id)

    def find(self, job: str, caller: str) -> Job:
        """Raises NotFound for a job that is not there, or another caller's."""
        found = self._jobs.get(job)
        if found is None or found.caller != caller:
            raise NotFound("there is no such job; jobs are kept for a while, for the key that they were made with")
        return found

    def of(self, caller: str) -> list[Job]:
        """A caller's jobs, the newest first."""
        return sorted((job for job in self._jobs.values() if job.caller == caller), key=lambda job: -job.created)

    async def result(self, job: str, caller: str) -> StoredResponse:
        """Raises NotFound, and Conflict while there is none."""
        found = self.find(job, caller)
        finished = await self._store.answer(job) if found.status == "succeeded" else None
        if finished is None:
            raise Conflict(f"the job is {found.status} and has no result")
        return finished

    async def cancel(self, job: str, caller: str) -> Job:
        """Stop and forget a job; what it was last, cancelled unless it was finished before."""
        found = self.find(job, caller)
        if found.status in ACTIVE:
            found = replace(found, status="cancelled")
            self._jobs[job] = found
        progress = self._progress[job]
        if progress.task is not None:
            progress.task.cancel()
            await asyncio.gather(progress.task, return_exceptions=True)
        progress.tell("result", job_document(found))
        await self._forget(job)
        return found

    async def events(self, job: str, caller: str, after: int) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        """(number, name, data) of every event after that number, to the last; None when none came for a while."""
        found = self.find(job, caller)
        progress = self._progress[job]
        if found.status not in ACTIVE and not progress.events:
            progress.tell(*_ending(found))
        seen = min(after, len(progress.events) - (found.status not in ACTIVE))
        while True:
            changed = progress.changed
            for name, data in progress.events[seen:]:
                seen += 1
                yield seen, name, data
                if name != "step":
                    return
            try:
                await asyncio.wait_for(changed.wait(), 10)
            except TimeoutError:
                yield None

    def _launch(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._progress[job.id].task = asyncio.create_task(self._run(job.id))

    async def _run(self, job: str) -> None:
        """However this ends, so does the job, unless the task was cancelled; a CancelledError that came by itself is a failure."""
        try:
            finished = await self._run_with_retries(job, self._progress[job])
            facts = finished.headers
            told = {"model": facts["X-Model"], "steps": int(facts["X-Steps"]), "seed": int(facts["X-Seed"])}
            if "X-Frames" in facts:
                told |= {"step": int(facts["X-Frames"]), "steps": int(facts["X-Frames"])}
            await self._end(job, finished, status="succeeded", **told)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._end(job, None, status="failed", problem=_problem(error, job))

    async def _run_with_retries(self, job: str, progress: JobProgress) -> StoredResponse:
        """Again and again while the queue is full, the quota spent or no engine there, within the job's patience.

        Between two attempts it leaves its place to others; its status stays running.
        """
        while True:
            try:
                async with self._free_for_clips if self._jobs[job].kind == "video" else self._free:
                    return await self._attempt(job, progress)
            except (QueueFull, EngineUnavailable) as error:
                pause = min(max(error.retry_after or 1.0, LEAST_PAUSE), LONGEST_PAUSE)
                if time.monotonic() - progress.begun + pause > self._limits.patience_seconds:
                    raise
            await asyncio.sleep(pause)

    async def _attempt(self, job: str, progress: JobProgress) -> StoredResponse:
        """The pictures are read each time, so that a job which waits keeps none in memory."""
        if self._jobs[job].status == "queued":
            progress.begun = time.monotonic()
            await self._change(job, status="running")
        image, mask = await self._store.sources(job)
        sources = None if image is None else Uploads(image, mask)
        return await self._run_job(self._jobs[job], sources, lambda step: self._stepped(job, progress, step))

    def _stepped(self, job: str, progress: JobProgress, step: Step) -> None:
        self._jobs[job] = replace(self._jobs[job], step=step.step, steps=step.steps)
        if step.before is not None:
            progress.forget_previews()
        progress.tell("step", self._preview(step, progress.begun))

    async def _change(self, job: str, **facts: Any) -> Job:
        self._jobs[job] = replace(self._jobs[job], **facts)
        await self._store.update(self._jobs[job])
        return self._jobs[job]

    async def _end(self, job: str, finished: StoredResponse | None, **facts: Any) -> None:
        now = time.time()
        ended = replace(self._jobs[job], expires=now + self._limits.kept_seconds, **facts)
        try:
            await self._store.finish(ended, finished)
        except Exception as error:  # whatever the store does, nobody shall wait for ever
            ended = replace(ended, status="failed", problem=_problem(error, job))
        self._jobs[job] = ended
        self._progress[job].tell(*_ending(ended))
        task = asyncio.create_task(self._on_end(ended))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _forget(self, job: str) -> None:
        self._jobs.pop(job, None)
        self._progress.pop(job, None)
        with contextlib.suppress(ServiceError):
            await self._store.remove(job)
        if self._on_forget is not None:
            await self._on_forget(job)

    async def _sweep(self) -> None:
        """Forget what has expired."""
        while True:
            now = time.time()
            for job in [job for job in self._jobs.values() if job.status not in ACTIVE and job.expires < now]:
                await self._forget(job.id)
            await asyncio.sleep(min(60.0, self._limits.kept_seconds))


def _ending(job: Job) -> tuple[str, dict[str, Any]]:
    return ("error", job.problem) if job.problem is not None else ("result", job_document(job))


def _problem(error: BaseException, job: str) -> dict[str, Any]:
    """The problem document of an error; what was not foreseen goes to the log."""
    if isinstance(error, ServiceError):
        return error.to_problem(job)
    log.error("job failed: %s", type(error).__name__, exc_info=error)
    return ServiceError("the error is in the log").to_problem(job)


def new_job(**facts: Any) -> Job:
    """A job that has just come; ids cannot be guessed."""
    now = time.time()
    return Job(id=secrets.token_hex(16), created=now, **{"expires": now, **facts})
