"""What numbers mean, and the way to sRGB and back."""

import struct

import imagecodecs
import numpy as np
import pytest

from service.errors import UnsupportedMedia
from service.pictures import colour
from service.pictures.cicp import BT709, BT2020, DISPLAY_P3, PQ, Chromaticities, Encoding
from service.pictures.colour import CodePoints, ColourTags, meaning
from tests.service.conftest import pixels_of

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
P3 = CodePoints(12, 13)


def test_code_points_are_an_encoding_or_say_nothing() -> None:
    assert CodePoints(2, 2).encoding is None
    assert P3.encoding == Encoding(DISPLAY_P3, 13)
    assert CodePoints(9, 2).encoding == Encoding(BT2020, 13)
    with pytest.raises(UnsupportedMedia, match="colours of primaries 3 and transfer characteristics 13"):
        _ = CodePoints(3, 13).encoding


@pytest.mark.parametrize(
    ("tags", "means"),
    [
        (ColourTags(), colour.Meaning()),
        (ColourTags(profile=ADOBE), colour.Meaning(ADOBE)),
        (ColourTags(profile=ADOBE, code_points=P3), colour.Meaning(ADOBE)),
        (ColourTags(profile=ADOBE, code_points=P3, code_points_first=True), colour.Meaning(encoding=Encoding(DISPLAY_P3, 13))),
        (ColourTags(profile=b"garbage", code_points=P3), colour.Meaning(encoding=Encoding(DISPLAY_P3, 13))),
        (ColourTags(gamma=1.0), colour.Meaning(encoding=Encoding(BT709, 1.0))),
        (ColourTags(gamma=0.45455, chromaticities=DISPLAY_P3), colour.Meaning(encoding=Encoding(DISPLAY_P3, 13))),
        (ColourTags(gamma=1.0, is_srgb=True), colour.Meaning()),
        (ColourTags(gamma=0.0), colour.Meaning()),
        (ColourTags(gamma=1.0, chromaticities=(0.3, 0.0, *BT709[2:])), colour.Meaning(encoding=Encoding(BT709, 1.0))),
    ],
)
def test_what_a_file_says_of_its_colours_has_one_meaning(tags: ColourTags, means: colour.Meaning) -> None:
    assert meaning(tags, "rgb") == means


def test_srgb_is_not_touched() -> None:
    working = colour.to_working(pixels_of(8, 8), "rgb", ColourTags())
    assert np.array_equal(working.pixels, pixels_of(8, 8))
    assert (working.profile, working.converted) == (None, False)


@pytest.mark.parametrize("top", [255, 65535])
def test_a_profiles_numbers_come_back(top: int) -> None:
    numbers = pixels_of(16, 16, 3, top)
    working = colour.to_working(numbers, "rgb", ColourTags(profile=ADOBE))
    back = colour.from_srgb(working.pixels, ADOBE, "rgb")
    back = back if working.beyond is None else colour.put_back(back, working.beyond)
    assert np.abs(back.astype(int) - numbers.astype(int) * (65535 // top)).max() <= 300


def test_colours_beyond_srgb_are_kept_beside_the_pixels() -> None:
    green = np.full((2, 2, 3), (0, 255, 0), np.uint8)
    working = colour.to_working(green, "rgb", ColourTags(profile=ADOBE))
    assert working.beyond is not None
    back = colour.put_back(colour.from_srgb(working.pixels, ADOBE, "rgb"), working.beyond)
    assert np.abs(back.astype(int) - (0, 65535, 0)).max() <= 2


def test_inks_take_their_share_of_what_black_leaves() -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 0, 51]]], np.uint8)
    assert colour.to_working(inks, "cmyk", ColourTags()).pixels.tolist() == [
        [[255, 255, 255], [0, 255, 255], [0, 0, 0], [204, 0, 204]]
    ]


def test_high_dynamic_range_is_mapped_and_said_to_be() -> None:
    working = colour.to_working(pixels_of(8, 8, 3, 65535), "rgb", ColourTags(code_points=CodePoints(9, PQ)))
    assert (working.tone_mapped, working.converted, working.profile) == (True, True, None)


@pytest.mark.parametrize("chromaticities", [DISPLAY_P3, BT2020])
def test_a_wide_profile_has_the_primaries_that_it_was_made_of(chromaticities: Chromaticities) -> None:
    profile = colour.wide_profile(chromaticities)
    assert profile is not None
    assert colour.chromaticities_of(profile) == pytest.approx(chromaticities, abs=1e-3)
    assert colour.readable(profile, "rgb")
    assert colour.returnable(profile, "rgb")
    assert colour.wide_profile(BT709) is None


@pytest.mark.parametrize(
    "profile", [b"", b"garbage" * 100, b"x" * (colour.LARGEST_PROFILE + 1), bytes(imagecodecs.cms_profile("gray", gamma=1.8))]
)
def test_a_profile_that_does_not_fit_cannot_be_read(profile: bytes) -> None:
    assert not colour.readable(profile, "rgb")
    assert colour.chromaticities_of(profile) == BT709


def test_code_points_inside_a_profile_are_found() -> None:
    tag = b"cicp" + b"\0" * 4 + bytes([9, 16, 0, 1])
    profile = b"\0" * 128 + struct.pack(">I4sII", 1, b"cicp", 144, len(tag)) + tag
    assert colour.code_points_in(profile) == CodePoints(9, 16)
    assert colour.code_points_in(ADOBE) is None
    assert colour.code_points_in(profile[:150]) is None
