"""A clip's worker process as the gateway sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from service import errors
from service.pictures.workers.pool import Worker

SHARED_BYTES = 32 << 20  # a frame of 3840 x 2160 in 8 bits; the pages of a smaller one are all that is used
START_SECONDS = 60.0
TOLD = {
    kind.__name__: kind
    for kind in (errors.Malformed, errors.TooLarge, errors.UnsupportedMedia, errors.InvalidValue, errors.StoreUnavailable)
}


@dataclass(frozen=True)
class ProcessLimits:
    """Of a worker process: its memory, the largest file it writes, and the seconds that one message may take."""

    memory_bytes: int
    file_bytes: int
    seconds: float


class ClipProcess:
    """One process, asked one thing at a time. Raises what the worker's answers name, and Malformed where the clip broke it."""

    def __init__(self, worker: Worker, limits: ProcessLimits) -> None:
        self._worker = worker
        self._limits = limits

    async def ask(self, task: str, seconds: float | None = None, **facts: Any) -> dict[str, Any]:
        """The worker's answer. After an error the process answers nothing more."""
        try:
            async with asyncio.timeout(seconds or self._limits.seconds):
                answer = await self._worker.ask({"task": task, **facts})
        except TimeoutError as late:
            raise errors.TooLarge(f"a part of the clip took longer than {self._limits.seconds:g} s to read or write") from late
        except (asyncio.IncompleteReadError, OSError, ValueError) as broken:
            raise errors.Malformed("the clip broke the process that read or wrote it") from broken
        if "error" in answer:
            raise TOLD.get(answer["error"], errors.Malformed)(str(answer["detail"]))
        return answer


@asynccontextmanager
async def open_process(limits: ProcessLimits) -> AsyncIterator[ClipProcess]:
    """A process that ends with the block, whatever it does then."""
    async with open_processes(limits) as (process,):
        yield process


@asynccontextmanager
async def open_processes(*limits: ProcessLimits) -> AsyncIterator[tuple[ClipProcess, ...]]:
    """One for each of `limits`, which start side by side and end with the block, whatever they do then."""
    async with AsyncExitStack() as stack:
        processes = tuple([await _begun(one, stack) for one in limits])
        for process in processes:
            await process.ask("ready", START_SECONDS)
        yield processes


async def _begun(limits: ProcessLimits, stack: AsyncExitStack) -> ClipProcess:
    """A process that may not answer yet, and ends with the stack."""
    try:
        worker = await Worker.start(limits.memory_bytes, "service.video.worker", SHARED_BYTES, SHARED_BYTES, limits.file_bytes)
    except OSError as error:
        raise errors.EngineUnavailable("no process can be started to read clips", retry_after=5) from error

    async def end() -> None:
        await asyncio.shield(worker.end())

    stack.push_async_callback(end)
    return ClipProcess(worker, limits)
