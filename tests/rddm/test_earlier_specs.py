"""A spec says what a network needs of its tiles; those of before December 2026 said how large tiles are, and still load."""

import json

import pytest

from rddm.spec import ModelSpec
from rddm.tiling import most_pixels, plan

FACTS = {"name": "m", "task": "denoise", "licence": "Apache-2.0", "size_multiple": 16}


def earlier(tile: int, overlap: int, whole_max: int) -> ModelSpec:
    text = json.dumps({**FACTS, "tile": tile, "overlap": overlap, "whole_max": whole_max})
    return ModelSpec.model_validate_json(text)


def test_an_earlier_spec_keeps_its_overlap_and_its_largest_call() -> None:
    spec = earlier(352, 112, 640 * 640)
    assert (spec.reach, spec.most_pixels, spec.sizes) == (112, 640 * 640, ())
    assert len(plan(spec, 640, 640).tiles) == 1
    assert max(tile.height * tile.width for tile in plan(spec, 2160, 3840).tiles) <= 640 * 640


def test_an_earlier_spec_of_one_size_keeps_that_size() -> None:
    spec = earlier(384, 144, 1)
    assert (spec.reach, spec.most_pixels, spec.sizes) == (144, None, ((384, 384),))
    assert {(tile.height, tile.width) for tile in plan(spec, 30, 500).tiles} == {(384, 384)}


def test_an_earlier_spec_is_written_as_a_present_one() -> None:
    spec = earlier(352, 112, 640 * 640)
    written = json.loads(spec.model_dump_json())
    assert not {"tile", "overlap", "whole_max"} & written.keys()
    assert ModelSpec.model_validate(written) == spec


def test_without_a_bound_of_its_own_the_service_chooses() -> None:
    assert most_pixels(ModelSpec.model_validate(FACTS)) == 1280 * 1024


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sizes": [[64, 40]]}, "must be positive multiples of 16"),
        ({"sizes": [[64, 64]], "reach": 40}, "side under 96"),
        ({"most_pixels": 64 * 64, "reach": 40}, "under 96 x 96"),
        ({"reach": -1}, "greater than or equal to 0"),
    ],
)
def test_tiles_that_cannot_be_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec.model_validate({**FACTS, **wrong})
