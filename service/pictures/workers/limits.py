"""What a worker process may take by the kernel's limits. Imported in the worker, and light therefore.

Linux bounds address space, file sizes and core files; macOS the last two only, see `watch`; Windows memory and processes, by a Job
Object.
"""

import ctypes
import importlib.util
import sys

from service.pictures.workers import job_object


def has_resource() -> bool:
    """Whether the system has limits of processes: POSIX does."""
    return importlib.util.find_spec("resource") is not None


def bounds_memory() -> bool:
    """Whether nobody need watch its memory. Windows bounds it by the job, but that was not tried there: it is watched as well."""
    return sys.platform == "linux" and has_resource()


def confine(memory_bytes: int, file_bytes: int = 0) -> None:
    """In the worker: no more than so much memory, no core file, no file longer than file_bytes, as far as the system can."""
    if sys.platform == "win32":
        job_object.join(ctypes.WinDLL("kernel32"), memory_bytes)
        return
    if not has_resource():
        return
    import resource  # noqa: PLC0415  POSIX only

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if bounds_memory():
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
