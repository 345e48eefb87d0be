"""The two clients: the same methods, one blocking, one awaiting."""

from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from .drivers import AwaitingDriver, BlockingDriver, drive, drive_async
from .models import (
    Analysed,
    Generated,
    GenerateOptions,
    Job,
    Loading,
    ModelInfo,
    Restored,
    RestoreOptions,
    to_job,
    to_loading,
    to_model,
)
from .operations import (
    OnStep,
    OnStepAsync,
    Operation,
    Operations,
    Picture,
    admin_path,
    job_path,
    to_address,
    to_body,
    to_headers,
)

T = TypeVar("T")


def _operations(base_url: str, api_key: str | None, timeout: float, retries: int, max_wait: float) -> Operations:
    waits = httpx2.Timeout(timeout, connect=min(timeout, 10))
    return Operations(to_address(base_url), to_headers(api_key), waits, retries, max_wait)


class Client:
    """Blocks. Safe to share between threads, as httpx2.Client is.

    base_url: where the gateway is, with its prefix if it has one. timeout: seconds without any byte until a
    request counts as unreachable (an event stream sends signs of life). retries, max_wait: how often what is busy or unreachable
    is asked again, and the longest Retry-After, in seconds, that is waited for. transport: httpx2's, for tests and proxies.

    Every method raises ClientError's kinds; OSError where a picture's path cannot be read. An address or a key that cannot be one
    is a ValueError at once.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 300.0,
        retries: int = 4,
        max_wait: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._operations = _operations(base_url, api_key, timeout, retries, max_wait)
        self._http = httpx2.Client(transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _run(self, operation: Operation[T]) -> T:
        return drive(operation, BlockingDriver(self._http))

    def restore(
        self, image: Picture, *, mask: Picture | None = None, on_step: OnStep | None = None, **options: Unpack[RestoreOptions]
    ) -> Restored:
        """Restore a picture, given as bytes or a path; on_step is called after every step."""
        return self._run(self._operations.restore(image, mask, options, on_step))

    def analyse(self, image: Picture) -> Analysed:
        """What is wrong with a picture, and what the task `auto` would do about it; nothing is restored."""
        return self._run(self._operations.analyse(image))

    def generate(self, *, on_step: OnStep | None = None, **options: Unpack[GenerateOptions]) -> Generated:
        """Generate pictures; a seed not given is chosen by the server, and given in the result."""
        return self._run(self._operations.generate(options, on_step))

    def submit_restore(
        self, image: Picture, *, mask: Picture | None = None, idempotency_key: str | None = None, **options: Unpack[RestoreOptions]
    ) -> Job:
        """Hand a picture in and do not wait for it."""
        return self._run(self._operations.submit("/restore", options, to_body(image, mask), idempotency_key))

    def submit_generate(self, *, idempotency_key: str | None = None, **options: Unpack[GenerateOptions]) -> Job:
        """Ask for pictures and do not wait for them."""
        return self._run(self._operations.submit("/generate", options, {}, idempotency_key))

    def wait(self, job: Job, on_step: OnStep | None = None) -> Restored | Generated:
        """The job's result, once it is there. Raises the job's Problem if it failed."""
        return self._run(self._operations.wait(job, on_step))

    def result(self, job: Job) -> Restored | Generated:
        """The result of a job that has succeeded; Refused (409) before."""
        return self._run(self._operations.result(job))

    def job(self, job_id: str) -> Job:
        """How a job stands."""
        return self._run(self._operations.read(job_path(job_id), to_job))

    def jobs(self) -> list[Job]:
        """The caller's own jobs."""
        return self._run(self._operations.read("/jobs", lambda body: [to_job(job) for job in body["jobs"]]))

    def cancel(self, job: Job) -> Job:
        """Stop a job and forget it."""
        return self._run(self._operations.read(job_path(job.id), to_job, method="DELETE"))

    def models(self) -> list[ModelInfo]:
        """What the server can do."""
        return self._run(self._operations.read("/models", lambda body: [to_model(model) for model in body["models"]]))

    def load(self, name: str) -> Loading:
        """Load a model's newest version; the old one serves until the new one has given its golden answer. For administrators."""
        return self._run(self._operations.read(admin_path(name, "load"), to_loading, method="POST"))

    def unload(self, name: str) -> Loading:
        """Take no new work for a model. For administrators."""
        return self._run(self._operations.read(admin_path(name, "unload"), to_loading, method="POST"))


class AsyncClient:
    """Awaits; otherwise as Client. on_step may be a function or a coroutine function; cancelling the task cancels the work."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 300.0,
        retries: int = 4,
        max_wait: float = 60.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._operations = _operations(base_url, api_key, timeout, retries, max_wait)
        self._http = httpx2.AsyncClient(transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _run(self, operation: Operation[T]) -> T:
        return await drive_async(operation, AwaitingDriver(self._http))

    async def restore(
        self, image: Picture, *, mask: Picture | None = None, on_step: OnStepAsync | None = None, **options: Unpack[RestoreOptions]
    ) -> Restored:
        """Restore a picture, given as bytes or a path; on_step is called after every step."""
        return await self._run(self._operations.restore(image, mask, options, on_step))

    async def analyse(self, image: Picture) -> Analysed:
        """What is wrong with a picture, and what the task `auto` would do about it; nothing is restored."""
        return await self._run(self._operations.analyse(image))

    async def generate(self, *, on_step: OnStepAsync | None = None, **options: Unpack[GenerateOptions]) -> Generated:
        """Generate pictures; a seed not given is chosen by the server, and given in the result."""
        return await self._run(self._operations.generate(options, on_step))

    async def submit_restore(
        self, image: Picture, *, mask: Picture | None = None, idempotency_key: str | None = None, **options: Unpack[RestoreOptions]
    ) -> Job:
        """Hand a picture in and do not wait for it."""
        return await self._run(self._operations.submit("/restore", options, to_body(image, mask), idempotency_key))

    async def submit_generate(self, *, idempotency_key: str | None = None, **options: Unpack[GenerateOptions]) -> Job:
        """Ask for pictures and do not wait for them."""
        return await self._run(self._operations.submit("/generate", options, {}, idempotency_key))

    async def wait(self, job: Job, on_step: OnStepAsync | None = None) -> Restored | Generated:
        """The job's result, once it is there. Raises the job's Problem if it failed."""
        return await self._run(self._operations.wait(job, on_step))

    async def result(self, job: Job) -> Restored | Generated:
        """The result of a job that has succeeded; Refused (409) before."""
        return await self._run(self._operations.result(job))

    async def job(self, job_id: str) -> Job:
        """How a job stands."""
        return await self._run(self._operations.read(job_path(job_id), to_job))

    async def jobs(self) -> list[Job]:
        """The caller's own jobs."""
        return await self._run(self._operations.read("/jobs", lambda body: [to_job(job) for job in body["jobs"]]))

    async def cancel(self, job: Job) -> Job:
        """Stop a job and forget it."""
        return await self._run(self._operations.read(job_path(job.id), to_job, method="DELETE"))

    async def models(self) -> list[ModelInfo]:
        """What the server can do."""
        return await self._run(self._operations.read("/models", lambda body: [to_model(model) for model in body["models"]]))

    async def load(self, name: str) -> Loading:
        """Load a model's newest version; the old one serves until the new one has given its golden answer. For administrators."""
        return await self._run(self._operations.read(admin_path(name, "load"), to_loading, method="POST"))

    async def unload(self, name: str) -> Loading:
        """Take no new work for a model. For administrators."""
        return await self._run(self._operations.read(admin_path(name, "unload"), to_loading, method="POST"))
