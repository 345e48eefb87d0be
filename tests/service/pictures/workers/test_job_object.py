"""A worker's limits on Windows: the structures as the Windows API lays them out, and the calls, seen by a kernel32 of the test."""

import ctypes
from typing import Any

import pytest

from service.pictures.workers import job_object
from service.pictures.workers.job_object import BasicLimits, ExtendedLimits, limits_of


class Kernel32:
    """Notes its calls; the one named `failing` fails."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self.limits: ExtendedLimits | None = None

        def function(name: str, value: int) -> Any:
            def call(*arguments: Any) -> int:
                self.calls.append(name)
                if name == "SetInformationJobObject":
                    job, kind, limits, size = arguments
                    assert (job.value, kind, size) == (0x123400005678, 9, 144)
                    self.limits = limits._obj
                return 0 if name == failing else value

            return call

        self.CreateJobObjectW = function("CreateJobObjectW", 0x123400005678)
        self.GetCurrentProcess = function("GetCurrentProcess", -1)
        self.SetInformationJobObject = function("SetInformationJobObject", 1)
        self.AssignProcessToJobObject = function("AssignProcessToJobObject", 1)
        self.GetLastError = lambda: 5


def test_structures_are_laid_out_as_64_bit_windows_lays_them_out() -> None:
    assert (ctypes.sizeof(BasicLimits), ctypes.sizeof(ExtendedLimits)) == (64, 144)
    places = {name: getattr(BasicLimits, name).offset for name in ("flags", "minimum_working_set", "active_processes", "affinity")}
    assert places == {"flags": 16, "minimum_working_set": 24, "active_processes": 40, "affinity": 48}
    assert (ExtendedLimits.counters.offset, ExtendedLimits.process_memory.offset) == (64, 112)


def test_a_worker_has_its_memory_and_no_other_process() -> None:
    limits = limits_of(3 << 30)
    assert (limits.process_memory, limits.basic.active_processes) == (3 << 30, 1)
    assert limits.basic.flags == 0x100 | 0x8 | 0x400


def test_the_process_joins_a_job_that_has_its_limits_already() -> None:
    kernel = Kernel32()
    job_object.join(kernel, 1 << 31)
    assert kernel.calls == ["CreateJobObjectW", "SetInformationJobObject", "GetCurrentProcess", "AssignProcessToJobObject"]
    assert kernel.limits is not None
    assert kernel.limits.process_memory == 1 << 31


@pytest.mark.parametrize("failing", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject"])
def test_a_worker_that_cannot_be_bounded_does_not_begin(failing: str) -> None:
    with pytest.raises(OSError, match="limits cannot be set: Windows error 5"):
        job_object.join(Kernel32(failing), 1 << 31)
