"""What a worker process may take: by the kernel's limits where there are such, else by a watch of the gateway.

Linux bounds address space, file sizes and core files. macOS bounds the last two only, Windows none of them: there the gateway
looks at a worker's memory twenty times a second while it works, and kills it at its limit.
"""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service import errors

LOOK_SECONDS = 0.05


def has_resource() -> bool:
    """Whether the system has limits of processes: POSIX does."""
    return importlib.util.find_spec("resource") is not None


def bounds_memory() -> bool:
    """Whether the kernel itself holds a process to its memory."""
    return sys.platform == "linux" and has_resource()


def confine(memory_bytes: int, file_bytes: int = 0) -> None:
    """In the worker: no more than so much address space, no core file, no file longer than file_bytes, as far as the system can."""
    if sys.platform == "win32" or not has_resource():
        return
    import resource  # noqa: PLC0415  POSIX only

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if bounds_memory():
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def apart() -> dict[str, Any]:
    """Arguments of a new process that Ctrl-C on the gateway's terminal does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


@asynccontextmanager
async def watched(process: asyncio.subprocess.Process, most_bytes: int) -> AsyncIterator[None]:
    """The process works for as long as the block runs. Raises TooLarge where it was killed for its memory."""
    if bounds_memory():
        yield
        return
    watch = asyncio.create_task(_kill_at(process, most_bytes))
    try:
        yield
    except (asyncio.IncompleteReadError, OSError) as ended:
        if watch.done() and watch.result():
            raise errors.TooLarge("the file needs more memory than it may have") from ended
        raise
    finally:
        watch.cancel()


async def _kill_at(process: asyncio.subprocess.Process, most_bytes: int) -> bool:
    """Whether it was killed for its memory."""
    import psutil  # noqa: PLC0415  not installed on Linux

    try:
        seen = psutil.Process(process.pid)
        while process.returncode is None:
            memory = seen.memory_info()
            if getattr(memory, "private", memory.rss) > most_bytes:  # Windows counts what is committed
                process.kill()
                return True
            await asyncio.sleep(LOOK_SECONDS)
    except psutil.NoSuchProcess:
        pass
    return False
