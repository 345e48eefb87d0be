"""What a worker process may take on Windows: a Job Object that it makes and joins, which the kernel holds it to.

See "Job Objects" and JOBOBJECT_EXTENDED_LIMIT_INFORMATION in the Windows API's reference.
"""

import ctypes
from ctypes import c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

EXTENDED_LIMITS = 9  # of JOBOBJECTINFOCLASS
ACTIVE_PROCESS, PROCESS_MEMORY, DIE_ON_UNHANDLED_EXCEPTION = 0x8, 0x100, 0x400  # of LimitFlags


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time", c_int64),
        ("per_job_user_time", c_int64),
        ("flags", c_uint32),
        ("minimum_working_set", c_size_t),
        ("maximum_working_set", c_size_t),
        ("active_processes", c_uint32),
        ("affinity", c_size_t),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; its six counters of input and output are not set."""

    _fields_ = (
        ("basic", BasicLimits),
        ("counters", c_uint64 * 6),
        ("process_memory", c_size_t),
        ("job_memory", c_size_t),
        ("peak_process_memory", c_size_t),
        ("peak_job_memory", c_size_t),
    )


def limits_of(memory_bytes: int) -> ExtendedLimits:
    """So much committed memory, no process beside this one, and no dialog where it crashes."""
    limits = ExtendedLimits()
    limits.basic.flags = PROCESS_MEMORY | ACTIVE_PROCESS | DIE_ON_UNHANDLED_EXCEPTION
    limits.basic.active_processes = 1
    limits.process_memory = memory_bytes
    return limits


def join(kernel32: Any, memory_bytes: int) -> None:
    """This process joins a job of those limits, to its end. kernel32: the DLL. Raises OSError where Windows does not let it."""
    kernel32.CreateJobObjectW.restype = kernel32.GetCurrentProcess.restype = c_void_p
    job, limits = c_void_p(kernel32.CreateJobObjectW(None, None)), limits_of(memory_bytes)
    if not (
        job
        and kernel32.SetInformationJobObject(job, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        and kernel32.AssignProcessToJobObject(job, c_void_p(kernel32.GetCurrentProcess()))
    ):
        raise OSError(f"a worker's limits cannot be set: Windows error {kernel32.GetLastError()}")
