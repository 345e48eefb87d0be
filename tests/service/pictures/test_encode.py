"""Pixels become a file like the one that came, as far as its format can hold it."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from service.errors import TooLarge
from service.pictures.encode import encode, exif_for, is_lossless, left_out, outgoing_of
from service.pictures.exif import PREFIX
from service.pictures.formats import FORMATS, FileOptions, sniff
from service.pictures.picture import Picture
from tests.service.conftest import pixels_of

PIXELS = pixels_of(8, 12)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    return exif.tobytes().removeprefix(PREFIX)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_has_the_format_that_is_asked_for(name: str) -> None:
    assert sniff(encode(Picture(PIXELS), FORMATS[name])).name == name


@pytest.mark.parametrize(("name", "depth"), [("png", 16), ("tiff", 16), ("avif", 16), ("jxl", 16), ("jpeg", 8), ("webp", 8)])
def test_sixteen_bits_stay_where_the_format_has_more_than_eight(name: str, depth: int) -> None:
    outgoing = outgoing_of(Picture(pixels_of(8, 12, 3, 65535), depth=16), FORMATS[name])
    assert outgoing.samples.dtype == (np.uint16 if depth == 16 else np.uint8)


def test_bits_are_added_and_cut_by_rounding() -> None:
    wide = outgoing_of(Picture(PIXELS, depth=16), FORMATS["png"]).samples
    assert np.array_equal(wide, PIXELS * np.uint16(257))
    cut = outgoing_of(Picture(wide + np.uint16(128)), FORMATS["png"]).samples
    assert np.array_equal(cut, PIXELS)


def test_a_grey_picture_is_one_channel_by_bt601() -> None:
    colour = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert outgoing_of(Picture(colour, grey=True), FORMATS["png"]).samples.tolist() == [[76, 150, 29]]


def test_alpha_is_a_channel_or_laid_on_white() -> None:
    black = Picture(np.zeros_like(PIXELS), alpha=np.full((8, 12), 64, np.uint8))
    assert outgoing_of(black, FORMATS["png"]).samples.shape == (8, 12, 4)
    assert (outgoing_of(black, FORMATS["jpeg"]).samples == 191).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_laid_on_white_keeps_sides_of_one_pixel(size: tuple[int, int], grey: bool) -> None:
    black = Picture(np.zeros((*size, 3), np.uint8), grey=grey, alpha=np.full(size, 64, np.uint8))
    assert outgoing_of(black, FORMATS["jpeg"]).samples.shape == (size if grey else (*size, 3))
    assert Image.open(io.BytesIO(encode(black, FORMATS["jpeg"]))).size == size[::-1]


def test_a_picture_that_the_format_cannot_hold_is_refused_with_its_bound() -> None:
    with pytest.raises(TooLarge, match="the result is 16384 x 1 pixels; a side of a WebP file has at most 16383"):
        encode(Picture(np.zeros((1, 16_384, 3), np.uint8)), FORMATS["webp"])
    for name in ("jpeg", "avif"):
        most = FORMATS[name].most_side
        assert encode(Picture(np.zeros((1, most, 3), np.uint8)), FORMATS[name])
        with pytest.raises(TooLarge, match="expected another format"):
            encode(Picture(np.zeros((most + 1, 1, 3), np.uint8)), FORMATS[name])


@pytest.mark.parametrize(("name", "policy", "orientation"), [("png", "keep", 6), ("png", "none", 1), ("jxl", "keep", 1)])
def test_an_orientation_is_stored_again_where_metadata_may_say_it(name: str, policy: str, orientation: int) -> None:
    outgoing = outgoing_of(Picture(PIXELS, orientation=6), FORMATS[name], FileOptions(policy))  # type: ignore[arg-type]
    assert outgoing.orientation == orientation
    assert outgoing.samples.shape[:2] == ((12, 8) if orientation == 6 else (8, 12))


@pytest.mark.parametrize(("policy", "make", "place"), [("keep", True, False), ("all", True, True), ("none", False, False)])
def test_exif_follows_the_policy(policy: str, make: bool, place: bool) -> None:
    block = exif_for(Picture(PIXELS, exif=exif_block()), FORMATS["png"], policy, 1, (12, 8))  # type: ignore[arg-type]
    assert (block is not None) == make
    exif = Image.Exif()
    exif.load(block or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    assert (Base.Make in exif, bool(exif.get_ifd(IFD.GPSInfo))) == (make, place)


def test_what_came_without_loss_in_the_same_format_goes_without_loss() -> None:
    picture = Picture(PIXELS, "webp", lossless=True)
    assert is_lossless(picture, FORMATS["webp"])
    assert not is_lossless(picture, FORMATS["jxl"])
    assert not is_lossless(picture, FORMATS["webp"], FileOptions(file_quality=80))
    assert is_lossless(Picture(PIXELS), FORMATS["webp"], FileOptions(lossless=True))


def test_a_gain_map_goes_with_a_jpeg_alone() -> None:
    picture = Picture(PIXELS, "jpeg", gain_map=b"map", further=("motion-video",))
    assert left_out(picture, FORMATS["jpeg"]) == ("motion-video",)
    assert (
        left_out(picture, FORMATS["png"]) == left_out(picture, FORMATS["jpeg"], FileOptions("none")) == ("gain-map", "motion-video")
    )
    assert outgoing_of(picture, FORMATS["jpeg"]).gain_map == b"map"
    assert outgoing_of(picture, FORMATS["webp"]).gain_map is None
