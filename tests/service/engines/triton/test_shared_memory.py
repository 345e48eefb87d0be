"""Shared memory: taken, used again, never used while somebody may write to it, and freed whatever happens to its owner."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from service.engines.triton.shared_memory import PREFIX, SMALLEST, RegionPool, SystemRegion, abandoned, layout, sweep
from service.errors import OutOfMemory


@pytest.fixture
def made(tmp_path: Path):
    return lambda size: SystemRegion(size, tmp_path)


def test_what_is_written_is_read(made) -> None:
    region = made(SMALLEST)
    array = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    region.write(128, array)
    copy = region.read(128, (2, 3, 4, 5))
    region.write(128, array * 0)
    np.testing.assert_array_equal(copy, array)  # a copy: the next call may have the region
    region.free()


def test_arrays_lie_side_by_side_at_aligned_offsets() -> None:
    assert layout([(1, 3, 4, 4), (1, 2), (1, 3, 4, 4)]) == ([0, 192, 256], 448)


def test_a_freed_region_is_used_again_and_a_retired_one_never(made, tmp_path: Path) -> None:
    pool = RegionPool(made)
    first = pool.take(1000)
    assert first is not None
    pool.give_back(first)
    assert pool.take(SMALLEST) is first
    pool.retire(first)
    second = pool.take(1000)
    assert second is not first
    assert [path.name for path in tmp_path.iterdir()] == [second.name]  # type: ignore[union-attr]
    pool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_larger_call_gets_a_larger_region_and_the_limit_holds(made) -> None:
    pool = RegionPool(made, limit_bytes=5 * SMALLEST)
    small, large = pool.take(1), pool.take(3 * SMALLEST)
    assert small is not None
    assert large is not None
    assert (small.size, large.size) == (SMALLEST, 4 * SMALLEST)
    assert pool.take(1) is None, "at the limit the caller must do without"
    pool.give_back(large)
    pool.give_back(small)
    assert pool.take(1) is small, "the smallest that fits"
    pool.close()


def test_no_room_is_an_error_and_not_a_crash_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutOfMemory, match="no shared memory left"):
        SystemRegion(SMALLEST, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert RegionPool(lambda size: SystemRegion(size, tmp_path)).take(1) is None


def hold(folder: Path, ready) -> None:
    region = SystemRegion(SMALLEST, folder)
    ready.set()
    signal.pause()
    region.free()


def test_what_a_killed_process_left_is_freed_and_what_a_living_one_has_is_not(made, tmp_path: Path) -> None:
    mine = made(SMALLEST)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(30)
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 2
    assert sweep(tmp_path) == 0
    process.kill()
    process.join()
    assert len(list(abandoned(tmp_path))) == 1
    assert sweep(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    mine.free()
