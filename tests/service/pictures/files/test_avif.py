"""AVIF files of 8, 10 and 12 bits."""

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

from service.errors import TooLarge
from service.pictures.colour import CodePoints
from service.pictures.exif import Exif
from service.pictures.files.avif import read, sixteen, write
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import animated

BOUNDS = Bounds(512 * 512, 8191)
AVIF = FORMATS["avif"]


@pytest.mark.parametrize(("bits", "top"), [(10, 1023), (12, 4095), (16, 65535)])
def test_further_bits_are_stretched_to_sixteen(bits: int, top: int) -> None:
    samples = sixteen(np.array([[0, top // 2 + 1, top]], np.uint16), bits)
    assert samples.colour[0].tolist() == pytest.approx([0, 32768, 65535], abs=65535 / top)
    assert samples.space == "gray"


@pytest.mark.parametrize(
    ("channels", "space", "alpha"), [(1, "gray", False), (2, "gray", True), (3, "rgb", False), (4, "rgb", True)]
)
def test_channels_are_colours_and_alpha(channels: int, space: str, alpha: bool) -> None:
    samples = sixteen(np.zeros((2, 3, channels), np.uint16), 16)
    assert (samples.space, samples.alpha is not None) == (space, alpha)


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_written_is_nearly_what_is_read(channels: int, top: int) -> None:
    pixels = pixels_of(24, 40, channels, top)
    source = read(write(Outgoing(pixels, AVIF, quality=100)), BOUNDS)
    assert source.depth == (8 if top == 255 else 16)
    assert source.samples.space == ("gray" if channels == 1 else "rgb")
    assert (source.samples.alpha is not None) == (channels == 4)
    colour = pixels if channels == 1 else pixels[..., :3]
    assert np.abs(source.samples.colour.astype(float) - colour).max() < 0.02 * top


@pytest.mark.parametrize("top", [255, 65535])
def test_metadata_is_read_again_at_both_depths(top: int) -> None:
    exif = Image.Exif()
    exif[Base.Artist], exif[Base.Orientation] = "somebody", 6
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    outgoing = Outgoing(pixels_of(8, 12, 3, top), AVIF, profile=profile, orientation=6, exif=exif.tobytes()[6:], xmp=b"<x/>")
    source = read(write(outgoing), BOUNDS)
    assert (source.colours.profile, source.xmp) == (profile, b"<x/>")
    actual = Exif.of(source.exif or b"")
    assert actual is not None
    assert (actual.orientation, actual.root.entries[Base.Artist].data) == (6, b"somebody\0")
    assert source.samples.colour.shape == (8, 12, 3)


def test_code_points_are_read() -> None:
    data = imagecodecs.avif_encode(pixels_of(8, 8), level=90, primaries=12, transfer=13, matrix=6)
    assert read(data, BOUNDS).colours.code_points == CodePoints(12, 13)


def test_an_animation_and_a_large_picture_are_refused() -> None:
    with pytest.raises(TooLarge, match="the picture has 3 frames"):
        read(animated("AVIF", 3), BOUNDS)
    with pytest.raises(TooLarge, match="at most 16 are allowed"):
        read(file_of(pixels_of(8, 8), "AVIF"), Bounds(16, 8191))


def test_pillow_reads_what_is_written() -> None:
    with Image.open(BytesIO(write(Outgoing(pixels_of(8, 12), AVIF)))) as file:
        assert (file.format, file.size, file.mode) == ("AVIF", (12, 8), "RGB")
