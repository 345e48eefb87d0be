"""Bounds, orientations, and what a picture keeps beside its pixels."""

import re

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from service.errors import Malformed, ServiceError, TooLarge
from service.pictures.formats import FORMATS
from service.pictures.picture import UPRIGHT, Bounds, Outgoing, Picture, as_stored, upright
from tests.service.conftest import pixels_of


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_undoes_the_orientation_as_pillow_does(orientation: int) -> None:
    pixels = pixels_of(5, 7)
    picture = Image.fromarray(pixels)
    picture.getexif()[Base.Orientation] = orientation
    assert np.array_equal(upright(pixels, orientation), np.asarray(ImageOps.exif_transpose(picture)))
    assert np.array_equal(as_stored(upright(pixels, orientation), orientation), pixels)
    assert set(UPRIGHT) == set(range(1, 9))


@pytest.mark.parametrize(
    ("size", "fault", "words"),
    [
        ((0, 5), Malformed, "a picture of 0 x 5 pixels has no content"),
        ((5, 101), TooLarge, "the picture is 5 x 101 pixels; a side may have at most 100"),
        ((60, 100), TooLarge, "the picture has 60 x 100 = 6000 pixels; at most 5000 are allowed"),
    ],
)
def test_a_picture_out_of_bounds_is_refused_with_the_bound(size: tuple[int, int], fault: type[ServiceError], words: str) -> None:
    with pytest.raises(fault, match=re.escape(words)):
        Bounds(5000, 100).check(*size)
    Bounds(5000, 100).check(50, 100)


@pytest.mark.parametrize(("shape", "channels", "grey"), [((2, 2), 1, True), ((2, 2, 2), 2, True), ((2, 2, 3), 3, False)])
def test_outgoing_samples_say_how_many_channels_they_have(shape: tuple[int, ...], channels: int, grey: bool) -> None:
    outgoing = Outgoing(np.zeros(shape, np.uint8), FORMATS["png"])
    assert (outgoing.channels, outgoing.is_grey) == (channels, grey)


PIXELS = pixels_of(1, 2)


def test_a_picture_is_plain_only_where_nothing_is_parsed_again() -> None:
    assert Picture(PIXELS).is_plain
    assert not Picture(PIXELS, orientation=6).is_plain
    assert not Picture(PIXELS, exif=b"II*\0").is_plain
    assert not Picture(PIXELS, alpha=np.zeros((1, 2), np.uint8)).is_plain


def test_facts_make_the_same_picture_again() -> None:
    picture = Picture(PIXELS, "tiff", 16, grey=True, dpi=(300.0, 300.0), further=("hdr",), mask=PIXELS)
    assert Picture(**picture.facts()).facts() == picture.facts()
    assert not {"alpha", "mask"} & picture.facts().keys()


def test_alpha_and_mask_grow_with_an_enlarged_result_by_repetition() -> None:
    picture = Picture(PIXELS, alpha=np.array([[1, 2]], np.uint8), mask=PIXELS)
    grown = picture.with_result(pixels_of(2, 4))
    assert grown.alpha.tolist() == [[1, 1, 2, 2]] * 2  # type: ignore[union-attr]
    assert np.array_equal(grown.mask[1, 2:], PIXELS[0, [1, 1]])  # type: ignore[index]
    assert picture.with_result(pixels_of(1, 2)).alpha is picture.alpha
    assert Picture(PIXELS).with_result(pixels_of(9, 18)).alpha is None


def test_a_picture_about_this_one_keeps_the_resolution_alone() -> None:
    derived = Picture(pixels_of(1, 2, 3, 65535), "tiff", 16, orientation=6, exif=b"II*\0", dpi=(72.0, 72.0)).with_derived(PIXELS)
    assert derived.facts() == Picture(PIXELS, "tiff", dpi=(72.0, 72.0)).facts()


def test_a_gain_map_that_goes_is_named() -> None:
    gone = Picture(PIXELS, "jpeg", gain_map=b"map", further=("motion-video",)).without_gain_map()
    assert (gone.gain_map, gone.further) == (None, ("gain-map", "motion-video"))
    plain = Picture(PIXELS)
    assert plain.without_gain_map() is plain
