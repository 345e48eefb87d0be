"""Worker processes of clips that serve one test after another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio

from service.video.process import ClipProcess, ProcessLimits, open_process


async def opened(limits: ProcessLimits) -> tuple[ClipProcess, AsyncExitStack]:
    """A process, and what ends it."""
    end = AsyncExitStack()
    return await end.enter_async_context(open_process(limits)), end


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept_processes() -> AsyncIterator[None]:
    """In the module's event loop a clip's processes are used again by the next clip, unless an error has ended them.

    Each costs a third of a CPU second until it is ready. See `fakes.in_kept_processes`.
    """
    loop, idle = asyncio.get_running_loop(), list[tuple[ClipProcess, AsyncExitStack]]()

    @asynccontextmanager
    async def open_kept(limits: ProcessLimits) -> AsyncIterator[ClipProcess]:
        if asyncio.get_running_loop() is not loop:  # a test with a loop and processes of its own
            async with open_process(limits) as process:
                yield process
            return
        process, end = idle.pop() if idle else await opened(limits)
        async with end:
            yield process
            idle.append((process, end.pop_all()))

    @asynccontextmanager
    async def open_several(*limits: ProcessLimits) -> AsyncIterator[tuple[ClipProcess, ...]]:
        async with AsyncExitStack() as stack:
            yield tuple([await stack.enter_async_context(open_kept(one)) for one in limits])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("service.video.restoration.open_process", open_kept)
        patched.setattr("service.video.restoration.open_processes", open_several)
        yield
    for _, end in idle:
        await end.aclose()
