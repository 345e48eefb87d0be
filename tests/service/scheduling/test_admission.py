"""What a picture will cost."""

import pytest

from service.scheduling.admission import Load, load_of
from tests.service.serving import RESTORER


def test_the_measure_of_work_is_network_pixels_times_steps() -> None:
    load = Load(500, 1000, tiles=4, steps=3)
    assert load.megapixel_steps == 6.0


def test_a_small_picture_is_one_tile_of_its_padded_size() -> None:
    assert load_of(RESTORER, 33, 40, 2) == Load(40, 40, 1, 2)
    assert load_of(RESTORER, 33, 40, 2).megapixel_steps == pytest.approx(40 * 40 * 2 / 1e6)


def test_a_large_picture_is_many_tiles_and_overlaps_count() -> None:
    load = load_of(RESTORER, 256, 256, 1)
    assert load.tiles > 1
    assert load.height * load.width <= RESTORER.most_pixels
    assert load.megapixel_steps > 256 * 256 / 1e6


def test_two_passes_cost_twice() -> None:
    twice = RESTORER.model_copy(update={"order": "residual_first", "objective": "pred_res_noise", "time_input": "abar_bbar"})
    assert load_of(twice, 32, 32, 2).steps == 4


def test_no_picture_has_no_load() -> None:
    with pytest.raises(ValueError, match="0"):
        load_of(RESTORER, 0, 5, 1)
