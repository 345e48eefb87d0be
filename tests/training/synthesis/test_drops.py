"""Maps of drops on a window."""

import numpy as np
import pytest

from training.synthesis.drops import CHANNELS, render

SIDE = 128  # smaller windows may have no drop at all


@pytest.fixture(scope="module")
def maps() -> list[np.ndarray]:
    return [render(seed, SIDE) for seed in range(6)]


def test_a_map_has_its_channels_and_is_the_same_again(maps: list[np.ndarray]) -> None:
    assert (maps[2].shape, maps[2].dtype) == ((SIDE, SIDE, len(CHANNELS)), np.uint8)
    assert np.array_equal(maps[2], render(2, SIDE))


def test_every_seed_is_another_window(maps: list[np.ndarray]) -> None:
    assert len({each.tobytes() for each in maps}) == len(maps)


def test_where_there_is_no_drop_nothing_bends_and_nothing_is_shaded(maps: list[np.ndarray]) -> None:
    for each in maps:
        cover, *planes = np.moveaxis(each.astype(int), -1, 0)
        dry = cover == 0
        assert 0 < dry.mean() < 1
        for plane in planes:
            assert np.abs(plane[dry] - 128).mean() < 1
            assert np.abs(plane[cover > 90] - 128).mean() > 1


def test_a_drop_shows_the_scene_upside_down(maps: list[np.ndarray]) -> None:
    """Light bends against the place in the drop: in all drops the displacement falls, downwards and to the right."""
    for each in maps:
        for axis, channel in ((0, 1), (1, 2)):
            inside = np.minimum(each[..., 0], np.roll(each[..., 0], -1, axis)) > 90
            falls = (np.roll(each[..., channel], -1, axis).astype(int) - each[..., channel])[inside]
            assert falls.mean() < 0
