"""Metadata added to an AVIF file: libavif, by way of Pillow, must find it, and the same pixels as before."""

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from service.pictures.files.boxes import box, colours_of, full_box, item_types, primary_properties
from service.pictures.files.heif_items import with_metadata
from service.pictures.picture import upright
from tests.service.conftest import pixels_of


def plain(channels: int = 3) -> bytes:
    pixels = pixels_of(24, 40, channels, 65535) >> 4
    return bytes(imagecodecs.avif_encode(pixels, level=100, bitspersample=12, speed=10, pixelformat="444", numthreads=1))


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    return exif.tobytes()[6:]


@pytest.mark.parametrize("channels", [3, 4])
def test_exif_xmp_and_profile_are_found_and_the_pixels_are_the_same(channels: int) -> None:
    before, profile = plain(channels), bytes(imagecodecs.cms_profile("adobergb"))
    after = with_metadata(before, exif_block(), b"<x/>", profile, 1)
    with Image.open(BytesIO(after)) as file:
        assert file.getexif()[Base.Artist] == "somebody"
        assert file.info["xmp"] == b"<x/>"
        assert file.info["icc_profile"] == profile
    assert np.array_equal(imagecodecs.avif_decode(after), imagecodecs.avif_decode(before))
    assert item_types(after)[-2:] == [b"Exif", b"mime"]
    assert colours_of(primary_properties(after))[0] == profile


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [3, 4])
def test_an_orientation_turns_colours_and_alpha(orientation: int, channels: int) -> None:
    before = plain(channels)
    with Image.open(BytesIO(before)) as file:
        stored = np.asarray(file)
    with Image.open(BytesIO(with_metadata(before, None, None, None, orientation))) as file:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(file)), upright(stored, orientation))


def test_nothing_to_add_leaves_the_bytes() -> None:
    assert with_metadata(b"whatever", None, None, None, 1) == b"whatever"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (full_box(b"meta", 0, 0, box(b"pitm", b"")), "without the boxes that are expected"),
        (
            full_box(
                b"meta",
                0,
                0,
                b"".join([box(b"pitm", b"\0" * 6), box(b"iloc", b"\2" + b"\0" * 9), box(b"iinf", b"\0" * 6), box(b"iprp", b"")]),
            ),
            "located in another way",
        ),
    ],
)
def test_a_file_of_another_layout_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        with_metadata(data, b"II*\0", None, None, 1)
