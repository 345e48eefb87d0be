"""What a picture will cost."""

import pytest

from rddm.tiling import plan
from service.scheduling.admission import megapixel_steps
from tests.service.serving import RESTORER


def test_a_small_picture_is_one_tile_of_its_padded_size() -> None:
    assert megapixel_steps(RESTORER, 33, 40, 2) == pytest.approx(40 * 40 * 2 / 1e6)


def test_the_measure_of_work_is_network_pixels_times_steps_and_overlaps_count() -> None:
    tiles = plan(RESTORER, 256, 256).tiles
    assert len(tiles) > 1
    assert megapixel_steps(RESTORER, 256, 256, 3) == pytest.approx(3 * sum(tile.height * tile.width for tile in tiles) / 1e6)
    assert megapixel_steps(RESTORER, 256, 256, 1) > 256 * 256 / 1e6


def test_two_passes_cost_twice() -> None:
    twice = RESTORER.model_copy(update={"order": "residual_first", "objective": "pred_res_noise", "time_input": "abar_bbar"})
    assert megapixel_steps(twice, 32, 32, 2) == 2 * megapixel_steps(RESTORER, 32, 32, 2)


def test_no_picture_has_no_cost() -> None:
    with pytest.raises(ValueError, match="0"):
        megapixel_steps(RESTORER, 0, 5, 1)
