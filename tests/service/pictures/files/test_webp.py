"""WebP files: with and without loss, with alpha and metadata."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

from service.errors import TooLarge
from service.pictures.exif import Exif
from service.pictures.files.webp import read, write
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import animated

BOUNDS = Bounds(512 * 512, 8191)
WEBP = FORMATS["webp"]


@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_without_loss_is_read_again_exactly(channels: int) -> None:
    pixels = pixels_of(9, 7, channels)
    pixels[0, 0, -1] = 0
    source = read(write(Outgoing(pixels, WEBP, lossless=True)), BOUNDS)
    assert source.lossless
    assert np.array_equal(source.samples.colour, pixels[..., :3])
    assert source.samples.alpha is None if channels == 3 else np.array_equal(source.samples.alpha, pixels[..., 3])


def test_a_lossy_file_says_so_and_is_smaller_at_a_lower_quality() -> None:
    pixels = pixels_of(64, 64)
    usual, low = (write(Outgoing(pixels, WEBP, quality=quality)) for quality in (None, 20))
    assert not read(usual, BOUNDS).lossless
    assert len(low) < len(usual)


def test_metadata_and_profile_are_read_again() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    outgoing = Outgoing(pixels_of(8, 8), WEBP, profile=b"p" * 200, exif=exif.tobytes()[6:], xmp=b"<x/>")
    source = read(write(outgoing), BOUNDS)
    assert (source.colours.profile, source.xmp) == (b"p" * 200, b"<x/>")
    assert source.exif is not None
    actual = Exif.of(source.exif)
    assert actual is not None
    assert actual.root.entries[Base.Artist].data == b"somebody\0"


def test_an_animation_and_a_large_picture_are_refused() -> None:
    with pytest.raises(TooLarge, match="the picture has 3 frames"):
        read(animated("WEBP", 3), BOUNDS)
    with pytest.raises(TooLarge, match="at most 16 are allowed"):
        read(file_of(pixels_of(8, 8), "WEBP"), Bounds(16, 8191))


def test_pillow_reads_the_same_pixels() -> None:
    data = write(Outgoing(pixels_of(16, 16), WEBP))
    assert np.array_equal(np.asarray(Image.open(BytesIO(data))), read(data, BOUNDS).samples.colour)
