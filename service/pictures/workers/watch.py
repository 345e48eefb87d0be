"""The gateway's side of a worker's limits: where the kernel does not bound memory, the gateway looks at it while the worker works.

It looks twenty times a second, and kills the worker at its limit. How long a worker may take, the pool bounds on every system.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service import errors
from service.pictures.workers.limits import bounds_memory

LOOK_SECONDS = 0.05


def apart() -> dict[str, Any]:
    """Arguments of a new process that Ctrl-C on the gateway's terminal does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def interpreter() -> tuple[str, dict[str, str]]:
    """The Python of a new process, and what its environment needs.

    On Windows the Python of a virtual environment is a launcher with the real one as its child: the launcher would be watched and
    killed. So the real one is started, and finds the virtual environment by a variable, as multiprocessing does it.
    """
    real = getattr(sys, "_base_executable", sys.executable)
    if sys.platform != "win32" or real == sys.executable:
        return sys.executable, {}
    return real, {"__PYVENV_LAUNCHER__": sys.executable}


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
