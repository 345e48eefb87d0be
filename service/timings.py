"""Where the time of a start goes: parts are noted for a verb that was asked for `--timings`, and by nobody else."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """wall, cpu: seconds. cpu is None where several threads worked for it."""

    name: str
    wall: float | None
    cpu: float | None


PARTS: ContextVar[list[Part] | None] = ContextVar("parts", default=None)


def record() -> list[Part]:
    """From here on parts are noted, also in tasks and in threads that asyncio starts. The first is what came before."""
    parts = [Part("interpreter and imports", process_age(), time.process_time())]
    PARTS.set(parts)
    return parts


def note(name: str, wall: float | None, cpu: float | None) -> None:
    """A part that was measured elsewhere."""
    if (parts := PARTS.get()) is not None:
        parts.append(Part(name, wall, cpu))


@contextmanager
def part(name: str, *, awaits: bool = False) -> Iterator[None]:
    """The block is a part; awaits: it waits for other threads."""
    wall, cpu = time.perf_counter(), time.thread_time()
    yield
    note(name, time.perf_counter() - wall, None if awaits else time.thread_time() - cpu)


def process_age() -> float | None:
    """Seconds since this process began, to a hundredth; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        ticks = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def table(parts: list[Part], end: str) -> str:
    """One line a part, and what this process took until now. end: the name of that moment."""
    rows = [*parts, Part(end, process_age(), time.process_time())]
    width = max(len(row.name) for row in rows)
    lines = [f"{'part':<{width}}  {'wall ms':>8}  {'CPU ms':>8}"]
    return "\n".join(lines + [f"{row.name:<{width}}  {_milliseconds(row.wall)}  {_milliseconds(row.cpu)}" for row in rows])


def _milliseconds(seconds: float | None) -> str:
    return f"{'-' if seconds is None else format(1000 * seconds, '.0f'):>8}"
