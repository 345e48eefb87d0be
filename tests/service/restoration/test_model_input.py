"""What a model is given of a picture: for models that enlarge, the picture at the answer's size."""

from dataclasses import replace

import numpy as np

from rddm.image import enlarged, to_image
from service.restoration import RestoreParameters, open_restorer
from service.restoration.model_input import to_model_input
from service.settings import Settings
from tests.service.conftest import pixels_of
from tests.service.serving import KEEPER, MASKED, FakeServingEngine, model

LARGER = KEEPER.model_copy(update={"name": "larger", "task": "upscale", "scale": 2})


def test_x_in_is_the_enlargement_and_a_mask_keeps_to_its_pixels() -> None:
    pixels, mask = pixels_of(24, 40), np.zeros((24, 40, 3), np.uint8)
    mask[4, 6] = 255
    x_in, large, digest = to_model_input(pixels, mask, MASKED.model_copy(update={"scale": 2}))
    assert np.array_equal(x_in, to_image(enlarged(pixels, 2)))
    assert large is not None
    assert large.shape == x_in.shape == (1, 3, 48, 80)
    assert np.argwhere(large[0, 0] == 1).tolist() == [[8, 12], [8, 13], [9, 12], [9, 13]]
    assert digest == to_model_input(pixels, mask, MASKED)[2]


def test_an_optional_mask_that_is_missing_marks_nothing_and_a_needed_one_is_missed() -> None:
    optional = MASKED.model_copy(update={"mask_optional": True})
    x_in, mask, _ = to_model_input(pixels_of(24, 40), None, optional)
    assert mask is not None
    assert (mask.shape, mask.any()) == (x_in.shape, False)
    assert to_model_input(pixels_of(24, 40), None, MASKED)[1] is None


def test_a_model_with_an_optional_mask_restores_without_one() -> None:
    engine = FakeServingEngine()
    engine.loaded["unshadow"] = model(MASKED.model_copy(update={"mask_optional": True}))
    with open_restorer(Settings(codec_workers=1), None, engine) as restorer:
        assert restorer.restore_pixels(pixels_of(24, 40), RestoreParameters(task="unshadow")).shape == (24, 40, 3)


def test_an_answer_is_as_large_as_the_scale_says() -> None:
    engine = FakeServingEngine()
    engine.loaded["larger"] = replace(model(LARGER))
    with open_restorer(Settings(codec_workers=1), None, engine) as restorer:
        pixels = pixels_of(24, 40)
        answer = restorer.restore_pixels(pixels, RestoreParameters(task="upscale"))
    assert np.array_equal(answer, enlarged(pixels, 2))
