"""Where clips that were sent lie: a folder for each job, with the clip, its segments while it is in work, and the result."""

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from service.errors import Malformed, StoreUnavailable


@dataclass(frozen=True)
class ClipFolder:
    """The folder of one job."""

    path: Path

    @property
    def source(self) -> Path:
        """The clip as it was sent."""
        return self.path / "source"

    @property
    def work(self) -> Path:
        """Segments."""
        return self.path / "work"

    def result(self, suffix: str) -> Path:
        """The finished clip."""
        return self.path / f"result{suffix}"

    async def receive(self, pieces: AsyncIterator[bytes]) -> tuple[int, str]:
        """Writes what is sent; its bytes, and their SHA-256. Raises Malformed for none, StoreUnavailable where the disk is full."""
        digest, size = hashlib.sha256(), 0
        try:
            await asyncio.to_thread(self.path.mkdir, parents=True, exist_ok=True)
            with await asyncio.to_thread(self.source.open, "wb") as file:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    await asyncio.to_thread(file.write, piece)
        except OSError as full:
            raise StoreUnavailable(f"clips cannot be kept now: {full.strerror}", retry_after=30) from full
        if not size:
            raise Malformed("the clip has 0 bytes")
        return size, digest.hexdigest()

    async def keep_result_only(self) -> None:
        """Once the clip is whole."""
        await asyncio.to_thread(self.source.unlink, missing_ok=True)

    async def remove(self) -> None:
        """All of it."""
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)


class ClipStore:
    """All such folders."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def folder(self, job: str) -> ClipFolder:
        """Of a job."""
        return ClipFolder(self._path / job)

    async def forget(self, job: str) -> None:
        """A job's files."""
        await self.folder(job).remove()

    async def sweep(self, jobs: Iterable[str]) -> None:
        """Removes what belongs to none of these jobs: what was being sent when the gateway was killed."""
        known = set(jobs)
        with contextlib.suppress(OSError):
            for path in await asyncio.to_thread(lambda: list(self._path.iterdir())):
                if path.name not in known:
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
