"""Work in the service's own time: bounded, cancellable, kept over a restart, forgotten after a while.

The store decides: each gateway claims jobs from it, holds them by a lease that it renews, and gives them back when it stops. One
that dies renews nothing, and another gateway takes its jobs up.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from service.errors import Conflict, EngineUnavailable, NotFound, QueueFull, ServiceError, StoreUnavailable
from service.jobs.deliveries import Delivery
from service.jobs.documents import job_document
from service.jobs.links import ResultLinks
from service.jobs.store import ACTIVE, Claim, Job, JobLimits, JobStore, Status
from service.jobs.webhooks import Event, message
from service.results.stored import StoredResponse
from service.sampling.work import Listener, Step

log = logging.getLogger("rddm.jobs")
LEAST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
POLL_SECONDS = 0.5  # between two looks for jobs that other gateways took in, or gave back
LEASE_SECONDS = 15.0
RENEW_SECONDS = 1.0  # progress is written as often
PING_SECONDS = 10.0
SWEEP_SECONDS = 60.0
MOST_LOSSES = 3  # gateways that may die with a job before it is given up
LINKS = "links"  # the secret that they are signed with
ENDINGS = 5  # attempts to write the end of a job


class JobFunction(Protocol):
    """Runs a job on its files, None of one that generates. Its result has `model`, `steps` and `seed` in the headers."""

    async def __call__(self, job: Job, image: bytes | None, mask: bytes | None, on_step: Listener, /) -> StoredResponse: ...


@dataclass(frozen=True)
class Estimate:
    """remaining: megapixel-steps of a job that are still to do; seconds: until they are done, None if nothing tells."""

    remaining: float
    seconds: float | None


@dataclass(frozen=True)
class JobHooks:
    """What the queue asks its surroundings.

    preview: what an event says of a step. estimate: None where nothing is known of a job. closing: whether no job shall be started.
    deliver: called when there are new webhook messages. sweep: called about once a minute. public_url: what links begin with.
    has_source: whether this gateway can read a clip's file. forget: called for each job that is no longer kept.
    """

    preview: Callable[[Step, float], dict[str, Any]]
    estimate: Callable[[Job], Estimate | None] = lambda _: None
    closing: Callable[[], bool] = lambda: False
    deliver: Callable[[], None] = lambda: None
    sweep: Callable[[], Awaitable[None]] | None = None
    public_url: str = ""
    has_source: Callable[[Job], bool] = lambda _: True
    forget: Callable[[str], Awaitable[None]] | None = None


@dataclass(eq=False)
class LocalJob:
    """A job that this gateway runs or ran: its events so far, and what waits for the next. work: the most that it had to do."""

    job: Job
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    began: float = field(default_factory=time.monotonic)
    work: float = 0.0
    ending: bool = False

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Add an event and wake what waits."""
        self.events.append((name, data))
        self.changed.set()
        self.changed = asyncio.Event()

    def forget_previews(self) -> None:
        """Of the events so far: a clip has too many frames to keep a picture of each."""
        for _, data in self.events[-1:]:
            for name in ("preview", "before"):
                data.pop(name, None)

    @property
    def last_step(self) -> dict[str, Any] | None:
        """The latest step that an event named."""
        return next((data for name, data in reversed(self.events) if name == "step"), None)


class JobQueue:
    """Runs jobs in the order in which they came, a few at once, beside other gateways that do the same."""

    def __init__(self, store: JobStore, run_job: JobFunction, limits: JobLimits, hooks: JobHooks) -> None:
        self._store, self._run_job, self._limits, self._hooks = store, run_job, limits, hooks
        self._owner = secrets.token_hex(16)
        self._running: dict[str, LocalJob] = {}
        self._ended: dict[str, LocalJob] = {}
        self._wakes: list[asyncio.Event] = []
        self._loops: list[asyncio.Task[None]] = []
        self._counts: dict[str, int] = {}

    async def start(self) -> None:
        """Take up what an earlier process, or another gateway, left undone."""
        await self._store.open()
        works = (self._serve(self._limits.at_once, clips=False), self._serve(self._limits.clips_at_once, clips=True))
        self._loops = [asyncio.create_task(loop) for loop in (*works, self._renew(), self._sweep())]

    async def close(self) -> None:
        """Stop; what is not finished is given back."""
        locals_ = list(self._running.values())
        tasks = [*self._loops, *(local.task for local in locals_ if local.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for local in locals_:
            with contextlib.suppress(ServiceError):
                await self._return(local.job)

    def document(self, job: Job) -> dict[str, Any]:
        """A job as callers see it."""
        return job_document(job, self._hooks.public_url)

    def count(self, status: Status) -> int:
        """Jobs of the store with that status, as of a moment ago."""
        return self._counts.get(status, 0)

    async def submit(self, job: Job, image: bytes | None = None, mask: bytes | None = None) -> Job:
        """The job, or the one that the same Idempotency-Key made before. Raises Conflict, QueueFull, StoreUnavailable."""
        job = replace(job, expires=job.created + self._limits.kept_seconds)  # not before; counted again from its end
        try:
            job, forgotten = await self._store.submit(job, image, mask, self._limits)
        except asyncio.CancelledError:  # a cancelled write is done all the same
            with contextlib.suppress(ServiceError):
                await self._store.remove(job.id)
            raise
        for wake in self._wakes:
            wake.set()
        await self._forget(forgotten)
        return job

    async def find(self, identity: str, caller: str) -> Job:
        """Raises NotFound for a job that is not there, or another caller's."""
        local = self._running.get(identity)
        job = self._estimate(local) if local is not None else await self._store.job(identity)
        if job is None or job.caller != caller:
            raise NotFound("there is no such job; jobs are kept for a while, for the key that they were made with")
        return job

    async def of(self, caller: str) -> list[Job]:
        """A caller's jobs, the newest first."""
        jobs = await self._store.of(caller)
        return [self._estimate(self._running[job.id]) if job.id in self._running else job for job in jobs]

    async def result(self, identity: str, caller: str) -> StoredResponse:
        """Raises NotFound, and Conflict while there is none."""
        job = await self.find(identity, caller)
        finished = await self._store.answer(identity) if job.status == "succeeded" else None
        if finished is None:
            raise Conflict(f"the job is {job.status} and has no result")
        if finished.file is not None and not await asyncio.to_thread(Path(finished.file).exists):
            raise NotFound("the clip lies with another gateway; gateways that share jobs need a folder for clips that they share")
        return finished

    async def link(self, identity: str, caller: str) -> dict[str, Any]:
        """The address of a result, without a key for a while. Raises NotFound, and Conflict while there is none."""
        await self.result(identity, caller)
        query, until = ResultLinks(await self._store.secret(LINKS)).query(identity)
        address = f"{self._hooks.public_url}/jobs/{identity}/result?{query}"
        return {"links": {"result": address}, "expires_at": datetime.fromtimestamp(until, UTC).isoformat()}

    async def linked_result(self, identity: str, until: int, signature: str) -> StoredResponse:
        """What such an address gives. Raises Unauthorised, NotFound."""
        ResultLinks(await self._store.secret(LINKS)).check(identity, until, signature)
        job = await self._store.job(identity)
        if job is None:
            raise NotFound("there is no such job; jobs are kept for a while")
        return await self.result(identity, job.caller)

    async def cancel(self, identity: str, caller: str) -> Job:
        """Stop and forget a job; what it was last, cancelled unless it was finished before."""
        job = await self.find(identity, caller)
        if job.status in ACTIVE:
            job = replace(job, status="cancelled")
        await self._store.remove(identity)
        await self._drop(identity, job)
        await self._forget([identity])
        return job

    async def events(self, identity: str, caller: str, after: int) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        """(number, name, data) of every event after that number, to the last; None when none came for a while.

        Of a job that another gateway runs, the latest step at each look; the number of a step's event is the step's.
        """
        job = await self.find(identity, caller)
        number, shown_at = after, time.monotonic()
        while (local := self._local(identity)) is None:
            if job.status not in ACTIVE:
                yield max(number, (job.steps or 0)) + 1, *self._ending(job)
                return
            step = await self._store.last_event(identity)
            if step is not None and step["step"] > number:
                number, shown_at = step["step"], time.monotonic()
                yield number, "step", step
            elif time.monotonic() - shown_at > PING_SECONDS:
                shown_at = time.monotonic()
                yield None
            await asyncio.sleep(POLL_SECONDS / 2)
            job = await self._store.job(identity) or replace(job, status="cancelled")
        async for event in self._local_events(local, number):
            yield event

    def _local(self, identity: str) -> LocalJob | None:
        return self._running.get(identity) or self._ended.get(identity)

    @staticmethod
    async def _local_events(local: LocalJob, after: int) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        has_ended = bool(local.events) and local.events[-1][0] != "step"
        seen = min(after, len(local.events) - has_ended)
        while True:
            changed = local.changed
            for name, data in local.events[seen:]:
                seen += 1
                yield seen, name, data
                if name != "step":
                    return
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await changed.wait()
            except TimeoutError:
                yield None

    async def _serve(self, at_once: int, *, clips: bool) -> None:
        """Claim jobs while there is room for them."""
        free, wake = asyncio.Semaphore(at_once), asyncio.Event()
        self._wakes.append(wake)
        while True:
            await free.acquire()
            claim = await self._next(wake, clips)
            local = self._running[claim.job.id] = LocalJob(claim.job)
            local.task = asyncio.create_task(self._run(claim, local))
            local.task.add_done_callback(lambda _: free.release())

    async def _next(self, wake: asyncio.Event, clips: bool) -> Claim:
        while True:
            wake.clear()
            try:
                claim = None if self._hooks.closing() else await self._claim(clips)
            except Exception as error:  # whatever the store does, jobs go on when it is back
                log.warning("jobs cannot be taken up now: %s", error)
                claim = None
            if claim is not None:
                self._hooks.deliver()
                return claim
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):  # wait_for can lose a cancellation (Python 3.11)
                    await wake.wait()

    async def _claim(self, clips: bool) -> Claim | None:
        can_do: Callable[[Job], bool] = self._hooks.has_source if clips else lambda _: True
        claiming = asyncio.ensure_future(
            self._store.claim(self._owner, LEASE_SECONDS, self._announcement, clips=clips, can_do=can_do)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:  # what is claimed all the same would wait for the end of its lease
            with contextlib.suppress(ServiceError):
                if (claim := await claiming) is not None:
                    await self._return(claim.job)
            raise

    async def _return(self, job: Job) -> None:
        """Give a job back that this gateway leaves."""
        await self._store.release(self._owner, replace(job, status="queued", step=0), 0.0)

    async def _run(self, claim: Claim, local: LocalJob) -> None:
        """However this ends, so does the job, unless the task was cancelled; a CancelledError that came by itself is a failure."""
        try:
            if claim.losses > MOST_LOSSES:
                raise EngineUnavailable(f"{claim.losses} gateways ended while they worked on this job; it is given up")
            finished = await self._attempt(local)
            facts = finished.headers
            made = {
                "model": facts.get("X-Model", ""),  # a picture that task auto left as it was has none
                "steps": sum(int(steps) for steps in facts.get("X-Steps", "0").split(",")),
                "seed": int(facts["X-Seed"]),
            }
            if "X-Frames" in facts:
                clip = {**(local.job.clip or {}), "plan": json.loads(facts["X-Plan"])}
                made |= {"step": int(facts["X-Frames"]), "steps": int(facts["X-Frames"]), "clip": clip}
            await self._end(local, finished, status="succeeded", **made)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if (pause := self._pause(error, local.job)) is not None and claim.losses <= MOST_LOSSES:
                await self._give_back(local, pause)
            else:
                await self._end(local, None, status="failed", problem=_problem(error, local.job.id))

    def _announcement(self, job: Job) -> list[Delivery]:
        return self._messages(job, "started")

    def _messages(self, job: Job, event: Event) -> list[Delivery]:
        return [] if job.webhook is None else [message(job.id, job.webhook, event, self.document(job))]

    def _pause(self, error: BaseException, job: Job) -> float | None:
        """Seconds after which to try again: while the queue is full, the quota spent or no engine there, within its patience."""
        if not isinstance(error, QueueFull | EngineUnavailable | StoreUnavailable):
            return None
        pause = min(max(error.retry_after or 1.0, LEAST_PAUSE), LONGEST_PAUSE)
        return pause if time.time() - (job.started or 0) + pause <= self._limits.patience_seconds else None

    async def _attempt(self, local: LocalJob) -> StoredResponse:
        """The pictures are read each time, so that a job which waits keeps none in memory."""
        image, mask = await self._store.sources(local.job.id)
        return await self._run_job(local.job, image, mask, lambda step: self._stepped(local, step))

    def _stepped(self, local: LocalJob, step: Step) -> None:
        local.job = replace(local.job, step=step.step, steps=step.steps)
        if step.before is not None:
            local.forget_previews()
        local.tell("step", self._hooks.preview(step, local.began))

    async def _give_back(self, local: LocalJob, pause: float) -> None:
        """Between two attempts a job leaves its place to others; its status stays running."""
        self._running.pop(local.job.id, None)
        with contextlib.suppress(StoreUnavailable):  # its lease ends all the same
            await self._store.release(self._owner, local.job, pause)

    async def _end(self, local: LocalJob, finished: StoredResponse | None, **facts: Any) -> None:
        ended = replace(local.job, expires=time.time() + self._limits.kept_seconds, eta=None, **facts)
        messages = self._messages(ended, "succeeded" if ended.status == "succeeded" else "failed")
        local.ending = True
        for attempt in range(1, ENDINGS + 1):
            try:
                mine = await self._store.finish(self._owner, ended, finished, messages)
                break
            except Exception as error:
                if attempt == ENDINGS:  # it stays claimed until the lease is over, and is then done once more
                    log.error("the end of a job could not be kept: %s", error)
                    self._running.pop(ended.id, None)
                    return
                await asyncio.sleep(LEAST_PAUSE * attempt)
        self._running.pop(ended.id, None)
        if not mine:  # cancelled, or taken up by another gateway
            local.tell("result", self.document(replace(ended, status="cancelled")))
            return
        local.job = ended
        self._ended[ended.id] = local
        local.tell(*self._ending(ended))
        self._hooks.deliver()

    def _ending(self, job: Job) -> tuple[str, dict[str, Any]]:
        return ("error", job.problem) if job.problem is not None else ("result", self.document(job))

    async def _renew(self) -> None:
        """Hold what this gateway works on, and tell the others how it stands; drop what is no longer its own."""
        heard = time.monotonic()
        while True:
            try:
                await self._renew_once()
                heard = time.monotonic()
            except Exception as error:
                log.warning("jobs cannot be held now: %s", error)
                if time.monotonic() - heard > LEASE_SECONDS:
                    await self._lose_all()
            await asyncio.sleep(RENEW_SECONDS)

    async def _lose_all(self) -> None:
        """The leases are over: others may have taken the jobs up, and so may this gateway again, under a new name."""
        self._owner = secrets.token_hex(16)
        for identity, local in list(self._running.items()):
            await self._drop(identity, local.job)

    async def _renew_once(self) -> None:
        held = dict(self._running)
        reports = {
            identity: (self._estimate(local), local.last_step if self._store.shared else None) for identity, local in held.items()
        }
        kept = await self._store.renew(self._owner, LEASE_SECONDS, reports)
        for identity in held.keys() - kept:
            if self._running.get(identity) is held[identity] and not held[identity].ending:
                await self._drop(identity, replace(held[identity].job, status="cancelled"))
        self._counts = await self._store.counts()

    def _estimate(self, local: LocalJob) -> Job:
        """The job as it stands now."""
        estimate = self._hooks.estimate(local.job)
        if estimate is None:
            return local.job
        local.work = max(local.work, estimate.remaining)
        eta = None if estimate.seconds is None else time.time() + estimate.seconds
        progress = round(1 - estimate.remaining / local.work, 4) if local.work else None
        local.job = replace(local.job, progress=progress, eta=eta)
        return local.job

    async def _drop(self, identity: str, last: Job) -> None:
        """Stop work on a job that is no longer here."""
        local = self._running.pop(identity, None)
        if local is None:
            return
        if local.task is not None:
            local.task.cancel()
            await asyncio.gather(local.task, return_exceptions=True)
        local.tell("result", self.document(last))

    async def _forget(self, jobs: list[str]) -> None:
        for identity in jobs:
            self._ended.pop(identity, None)
            if self._hooks.forget is not None:
                await self._hooks.forget(identity)

    async def _sweep(self) -> None:
        """Forget what has expired."""
        while True:
            with contextlib.suppress(ServiceError):
                await self._forget(await self._store.remove_expired())
                if self._hooks.sweep is not None:
                    await self._hooks.sweep()
            now = time.time()
            kept = [(identity, local) for identity, local in self._ended.items() if local.job.expires >= now]
            self._ended = dict(kept[-2 * self._limits.jobs :])
            await asyncio.sleep(min(SWEEP_SECONDS, self._limits.kept_seconds))


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
