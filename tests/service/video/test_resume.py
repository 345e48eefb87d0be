"""A run that is killed goes on at its last whole segment, and the bytes are those of a run that nothing disturbed."""

import asyncio
import hashlib
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.service.video.clips import Recipe, write_clip
from tests.service.video.fakes import IdentitySampler, in_kept_processes, restorer_of, work_on
from tests.service.video.run_clip import calmed

FRAMES = 146  # four segments


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With sound."""
    recipe = Recipe(times=range(0, FRAMES * 3750, 3750), audio=["aac"], options={"crf": "20", "bf": "2"})
    return write_clip(tmp_path_factory.mktemp("clip") / "in.mp4", recipe)


def wait_for(path: Path) -> None:
    """Until the file is there."""
    while not path.exists():
        time.sleep(0.02)


async def killed_after(source: Path, target: Path, seconds: float) -> None:
    """A run in a process of its own, which SIGKILL ends once it has made a segment and so many seconds are over."""
    command = (sys.executable, "-m", "tests.service.video.run_clip", str(source), str(target), "0.02")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    folder = work_on(source, target).folder
    await asyncio.to_thread(wait_for, folder / "00000.json")
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


@in_kept_processes
async def test_bytes_are_equal_after_sigkill_at_five_moments(clip: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    await restorer_of().restore(calmed(clip, whole))
    moments = random.Random(6)
    resumed = []
    for number in range(5):
        target = tmp_path / f"{number}.mp4"
        await killed_after(clip, target, moments.uniform(0, 0.8))
        assert not target.exists()
        result = await restorer_of().restore(calmed(clip, target))
        resumed.append(result.resumed)
        assert result.frames == FRAMES
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(whole.read_bytes()).digest()
        assert not work_on(clip, target).folder.exists()
    assert min(resumed) >= 48


async def test_what_another_clip_or_option_left_is_not_used(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"):
        await restorer_of(IdentitySampler(fails_at=60)).restore(work_on(clip, tmp_path / "a.mp4"))
    result = await restorer_of().restore(work_on(clip, tmp_path / "a.mp4", quality=30))
    assert result.resumed == 0


async def test_cancelling_ends_the_processes_and_keeps_the_segments(clip: Path, tmp_path: Path) -> None:
    work = work_on(clip, tmp_path / "a.mp4")
    seen = asyncio.Event()
    running = asyncio.create_task(
        restorer_of(IdentitySampler(0.005)).restore(work, lambda progress: seen.set() if progress.frame == 60 else None)
    )
    await seen.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not work.target.exists()
    assert (await restorer_of().restore(work)).resumed == 48


@in_kept_processes
async def test_several_frames_are_in_work_at_once_and_come_out_in_order(clip: Path, tmp_path: Path) -> None:
    sampler, frames = IdentitySampler(0.01), []
    await restorer_of(sampler, at_once=3).restore(work_on(clip, tmp_path / "a.mp4"), lambda progress: frames.append(progress.frame))
    assert frames == list(range(1, FRAMES + 1))
    assert sampler.most == 3
