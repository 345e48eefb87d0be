"""Folders of clips that were sent."""

import errno
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from service.errors import Malformed, StoreUnavailable
from service.video.storage import ClipStore


async def sent(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_clip_is_kept_piece_by_piece_and_only_its_result_stays(tmp_path: Path) -> None:
    folder = ClipStore(tmp_path).folder("job")
    assert await folder.receive(sent(b"ab", b"c")) == (3, sha256(b"abc").hexdigest())
    assert folder.source.read_bytes() == b"abc"
    folder.result(".mp4").write_bytes(b"result")
    await folder.keep_result_only()
    assert [path.name for path in folder.path.iterdir()] == ["result.mp4"]


async def test_no_bytes_are_no_clip(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="the clip has 0 bytes"):
        await ClipStore(tmp_path).folder("job").receive(sent())


async def test_a_full_disk_is_the_services_fault(tmp_path: Path) -> None:
    async def full() -> AsyncIterator[bytes]:
        yield b"ab"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreUnavailable, match="clips cannot be kept now: No space left on device") as refused:
        await ClipStore(tmp_path).folder("job").receive(full())
    assert refused.value.retry_after == 30


async def test_what_belongs_to_no_job_goes(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    for job in ("a", "b", "c"):
        await store.folder(job).receive(sent(b"x"))
    await store.forget("a")
    await store.sweep(["b"])
    assert [job for job in ("a", "b", "c") if store.folder(job).source.exists()] == ["b"]
    await ClipStore(tmp_path / "none").sweep([])
