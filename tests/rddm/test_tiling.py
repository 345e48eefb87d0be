"""Tiles cover every pixel, and their windows sum to one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddm.spec import ModelSpec
from rddm.tiling import Plan, blend, most_pixels, plan, usual_size

SPEC = ModelSpec(name="m", task="m", licence="Apache-2.0", reach=14, most_pixels=96 * 96, size_multiple=8)
sides = st.integers(1, 700)


def total_weight(layout: Plan) -> np.ndarray:
    field = np.zeros((1, 1, layout.height, layout.width), np.float32)
    for tile, window in zip(layout.tiles, layout.windows, strict=True):
        blend(field, tile, np.ones((1, 1, tile.height, tile.width), np.float32), window)
    return field


@given(sides, sides)
@settings(max_examples=60, deadline=None)
def test_windows_sum_to_one_over_every_pixel(height: int, width: int) -> None:
    assert np.abs(total_weight(plan(SPEC, height, width)) - 1).max() < 1e-6


@given(sides, sides, st.sampled_from([0, 8, 20, 32]), st.sampled_from([(), ((64, 64),), ((64, 96), (128, 64))]))
@settings(max_examples=100, deadline=None)
def test_tiles_are_one_size_lie_on_the_grid_inside_the_picture_and_overlap_enough(
    height: int, width: int, reach: int, sizes: tuple[tuple[int, int], ...]
) -> None:
    spec = SPEC.model_copy(update={"reach": reach, "sizes": sizes})
    layout = plan(spec, height, width)
    tops, lefts = sorted({tile.top for tile in layout.tiles}), sorted({tile.left for tile in layout.tiles})
    assert len({(tile.height, tile.width) for tile in layout.tiles}) == 1
    for starts, length, tile in ((tops, layout.height, layout.tiles[0].height), (lefts, layout.width, layout.tiles[0].width)):
        assert starts[0] == 0
        assert starts[-1] + tile == length
        assert all(start % SPEC.size_multiple == 0 for start in starts)
        assert all(after <= before + tile - spec.overlap >= before + tile - reach - 8 for before, after in pairwise(starts))
        assert length in {tile, -(-length // 8) * 8}
    shape = (layout.tiles[0].height, layout.tiles[0].width)
    assert shape in sizes if sizes else shape[0] * shape[1] <= 96 * 96
    assert all(tile.left + tile.width <= layout.width for tile in layout.tiles)


@given(sides, sides)
@settings(max_examples=60, deadline=None)
def test_size_alone_decides_and_small_pictures_are_one_call(height: int, width: int) -> None:
    layout = plan(SPEC, height, width)
    rows, columns = -(-height // 8) * 8, -(-width // 8) * 8
    if rows * columns <= 96 * 96:
        assert [(t.top, t.left, t.height, t.width) for t in layout.tiles] == [(0, 0, rows, columns)]
    else:
        assert len(layout.tiles) > 1


@pytest.mark.parametrize("reach", [112, 128, 144])
def test_what_is_computed_of_eight_megapixels_is_at_most_a_fifth_more_and_four_cores_share_it_evenly(reach: int) -> None:
    spec = ModelSpec(name="shipped", task="m", licence="Apache-2.0", reach=reach, size_multiple=16)
    for height, width in ((2160, 3840), (3840, 2160)):
        tiles = plan(spec, height, width).tiles
        assert sum(tile.height * tile.width for tile in tiles) <= 1.2 * height * width
        assert len(tiles) % 4 == 0
        assert max(tile.height * tile.width for tile in tiles) <= most_pixels(spec)


def test_of_the_sizes_that_a_file_takes_the_cheapest_is_chosen() -> None:
    spec = SPEC.model_copy(update={"sizes": ((64, 64), (160, 160))})
    assert [plan(spec, *size).tiles[0].height for size in ((40, 64), (65, 64), (300, 300))] == [64, 64, 160]
    assert (plan(spec, 10, 10).height, plan(spec, 10, 10).width) == (64, 64)
    assert (usual_size(spec), most_pixels(spec)) == ((64, 64), 160 * 160)


def test_windows_fall_smoothly_to_nothing_at_inner_borders() -> None:
    layout = plan(SPEC.model_copy(update={"most_pixels": 64 * 64}), 64, 400)
    inner = layout.windows[1].across[0]
    assert inner[0] < 0.02
    assert inner[-1] < 0.02
    assert np.abs(np.diff(inner)).max() < 0.12


def test_one_field_cut_into_tiles_and_blended_is_the_field_again() -> None:
    field = np.random.default_rng(0).normal(size=(1, 3, 200, 264)).astype(np.float32)
    layout = plan(SPEC, 200, 264)
    total = np.zeros_like(field)
    for tile, window in zip(layout.tiles, layout.windows, strict=True):
        blend(total, tile, tile.cut(field), window)
    assert np.abs(total - field).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_a_picture_without_pixels_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="has no content"):
        plan(SPEC, height, width)


def test_specs_of_one_name_have_plans_of_their_own() -> None:
    """They are looked up by name first."""
    coarse, fine = (SPEC.model_copy(update={"sizes": ((tile, tile),)}) for tile in (64, 128))
    assert hash(coarse) == hash(fine)
    assert [plan(spec, 200, 200).tiles[0].width for spec in (coarse, fine)] == [64, 128]
