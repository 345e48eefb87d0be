"""A pool is rendered once, and named by what is in it."""

from pathlib import Path

import pytest
import torch

from tests.training.synthesis.test_photographs import collection
from training.synthesis.pool import load_pool


def test_a_pool_takes_the_folders_photographs_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    photographs = collection(tmp_path)
    pool = load_pool("photographic", 4, 64, tmp_path / "cache", 1, photographs)
    assert [int(picture[0, 0, 0]) for picture in pool[:3]] == [30, 90, 150]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"photographic-{photographs.digest}-4x64.npy"]


def test_a_pool_is_rendered_once_and_a_larger_one_begins_the_same(tmp_path: Path) -> None:
    cache = tmp_path
    three = load_pool("streaks", 3, 48, cache, workers=1)
    written = (cache / "streaks-3x48.npy").stat().st_mtime_ns
    assert torch.equal(load_pool("streaks", 3, 48, cache), three)
    assert (cache / "streaks-3x48.npy").stat().st_mtime_ns == written
    assert torch.equal(load_pool("streaks", 4, 48, cache, workers=1)[:3], three)
    with pytest.raises(ValueError, match="unknown pool 'snow'"):
        load_pool("snow", 1, 48, cache)
