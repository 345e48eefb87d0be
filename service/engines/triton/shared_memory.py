"""System shared memory between a gateway and a Triton server on the same host.

A region has a name of its own, whatever gateways share the server; its memory is allocated when it is made (a full /dev/shm is an
error, not a crash later); its owner holds a lock on it as long as it lives, so that what a killed gateway left behind is known.
"""

import contextlib
import mmap
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.errors import OutOfMemory

FOLDER = Path("/dev/shm")  # noqa: S108  where POSIX shared memory lies on Linux
PREFIX = "rddm-"
ALIGNMENT = 64
SMALLEST = 1 << 20


def has_shared_memory() -> bool:
    """Whether this system has memory that two processes open by name: Linux does."""
    return sys.platform == "linux" and FOLDER.is_dir()


def _reserve(file: int, size: int) -> None:
    """Lock the file and allocate it. Raises OSError where there is no room, or another process has the lock."""
    if sys.platform != "linux":
        raise OSError("shared memory with a server is for Linux")
    _lock(file)
    os.posix_fallocate(file, 0, size)


def _lock(file: int) -> None:
    """Raises BlockingIOError where another process has it."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  POSIX only

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Region(Protocol):
    """Memory that a server reads and writes from another process."""

    name: str
    size: int

    def write(self, offset: int, array: Any) -> None:
        """Put an array at the offset, in bytes."""
        ...

    def read(self, offset: int, shape: tuple[int, ...]) -> Any:
        """A copy of the float32 array at the offset."""
        ...

    def settle(self) -> None:
        """Return once everything that was written is there for another process to read."""
        ...

    async def register(self, client: Any) -> None:
        """Tell a server of it."""
        ...

    async def unregister(self, client: Any) -> None:
        """Make a server forget it."""
        ...

    def free(self) -> None:
        """Give the memory back; a server that still knows the region keeps its own hold of it."""
        ...


class SystemRegion:
    """A region in /dev/shm for NumPy arrays. Raises OutOfMemory where there is no room."""

    def __init__(self, size: int, folder: Path = FOLDER) -> None:
        self.name = f"{PREFIX}{uuid.uuid4().hex}"
        self.size = size
        self.path = folder / self.name
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            _reserve(self._file, size)
            self.memory: mmap.mmap = mmap.mmap(self._file, size)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            raise OutOfMemory("there is no shared memory left") from error

    def write(self, offset: int, array: Any) -> None:
        """Put a float32 array at the offset, in bytes."""
        np.copyto(self._view(offset, array.shape), array)

    def read(self, offset: int, shape: tuple[int, ...]) -> Any:
        """A copy of the float32 array at the offset."""
        return self._view(offset, shape).copy()

    def settle(self) -> None:
        """Nothing to wait for: the processor wrote it."""

    async def register(self, client: Any) -> None:
        """Tell a server of it."""
        await client.register_system_shared_memory(self.name, f"/{self.name}", self.size)

    async def unregister(self, client: Any) -> None:
        """Make a server forget it."""
        await client.unregister_system_shared_memory(self.name)

    def free(self) -> None:
        """Remove the file and the mapping; more than once is allowed."""
        self.path.unlink(missing_ok=True)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            with contextlib.suppress(BufferError):  # an array still looks at it; then it goes when that array does
                self.memory.close()

    def _view(self, offset: int, shape: tuple[int, ...]) -> Any:
        return np.ndarray(shape, np.float32, self.memory, offset)


class RegionPool:
    """Regions that are free for the next call, up to limit_bytes in all; sizes are powers of two so that they fit again."""

    def __init__(self, make: Any = SystemRegion, limit_bytes: int = 1 << 30) -> None:
        self._make = make
        self._limit = limit_bytes
        self._free: list[Region] = []
        self._all: dict[str, Region] = {}

    def take(self, size: int) -> Region | None:
        """A region of at least `size` bytes; None where that would go beyond the limit or there is no memory."""
        fitting = [region for region in self._free if region.size >= size]
        if fitting:
            region = min(fitting, key=lambda one: one.size)
            self._free.remove(region)
            return region
        rounded = max(SMALLEST, 1 << (size - 1).bit_length())
        if sum(region.size for region in self._all.values()) + rounded > self._limit:
            return None
        with contextlib.suppress(OutOfMemory):
            made: Region = self._make(rounded)
            self._all[made.name] = made
            return made
        return None

    def give_back(self, region: Region) -> None:
        """The next call may have it."""
        self._free.append(region)

    def retire(self, region: Region) -> None:
        """Never use it again: a server may yet write to it."""
        self._all.pop(region.name, None)  # gone already if the pool was closed meanwhile
        region.free()

    def close(self) -> None:
        """Free every region, used or not."""
        for region in self._all.values():
            region.free()
        self._all.clear()
        self._free.clear()


def layout(shapes: list[tuple[int, ...]]) -> tuple[list[int], int]:
    """Offsets of float32 arrays of these shapes, one after the other, and the size of all, in bytes."""
    offsets, end = [], 0
    for shape in shapes:
        offsets.append(end)
        end += -(-4 * int(np.prod(shape)) // ALIGNMENT) * ALIGNMENT
    return offsets, end


def abandoned(folder: Path = FOLDER) -> Iterator[Path]:
    """Regions whose owner is gone: nobody holds their lock."""
    for path in folder.glob(f"{PREFIX}*"):
        try:
            file = os.open(path, os.O_RDWR)
        except OSError:  # of another user, or gone by now
            continue
        try:
            _lock(file)
            yield path
        except BlockingIOError:
            continue
        finally:
            os.close(file)


def sweep(folder: Path = FOLDER) -> int:
    """Free what killed gateways left behind; returns how many regions that were."""
    regions = list(abandoned(folder))
    for path in regions:
        path.unlink(missing_ok=True)
    return len(regions)
