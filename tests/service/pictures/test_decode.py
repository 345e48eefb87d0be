"""Bytes become upright sRGB pixels, or a refusal in words."""

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import IFDRational

from service.errors import Malformed, ServiceError, TooLarge
from service.pictures.decode import decode
from service.pictures.files import webp
from service.pictures.picture import Bounds
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import turned

BOUNDS = Bounds(512 * 512, 8191)


def test_plain_pixels_are_as_they_were() -> None:
    picture = decode(file_of(pixels_of(8, 12)), BOUNDS)
    assert np.array_equal(picture.pixels, pixels_of(8, 12))
    assert (picture.format, picture.depth, picture.is_plain) == ("png", 8, True)


def test_grey_has_three_equal_channels_and_is_said_to_be_grey() -> None:
    picture = decode(file_of(pixels_of(8, 12, 1)), BOUNDS)
    assert picture.pixels.shape == (8, 12, 3)
    assert (picture.pixels == pixels_of(8, 12, 1)[..., None]).all()
    assert picture.grey


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_and_alpha_are_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    picture = decode(file_of(pixels_of(8, 12, 4), exif=exif), BOUNDS)
    size = (8, 12) if orientation < 5 else (12, 8)
    assert picture.pixels.shape[:2] == size
    assert picture.alpha is not None
    assert picture.alpha.shape == size
    assert picture.orientation == orientation
    assert decode(turned(orientation), BOUNDS).orientation == orientation


def test_a_profile_is_kept_and_the_pixels_are_srgb() -> None:
    icc = bytes(imagecodecs.cms_profile("adobergb"))
    picture = decode(file_of(pixels_of(8, 12), icc_profile=icc), BOUNDS)
    assert picture.profile == icc
    assert picture.pixels.dtype == np.uint16
    with Image.open(BytesIO(file_of(pixels_of(8, 12)))) as plain:
        assert not np.array_equal(picture.pixels // 257, np.asarray(plain))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_half_a_file_is_damaged(kind: str) -> None:
    data = file_of(pixels_of(64, 64), kind)
    with pytest.raises(Malformed, match="damaged"):
        decode(data[: len(data) // 2], BOUNDS)


@pytest.mark.parametrize(
    ("raised", "fault", "words"),
    [
        (Image.DecompressionBombError(), TooLarge, "far more pixels than are allowed"),
        (MemoryError(), TooLarge, "more memory than a picture may"),
        (KeyError("x"), Malformed, "the WebP picture is damaged or cut short"),
        (TooLarge("as it was"), TooLarge, "as it was"),
    ],
)
def test_what_a_reader_raises_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, fault: type[ServiceError], words: str
) -> None:
    def broken(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(webp, "read", broken)
    with pytest.raises(fault, match=words):
        decode(file_of(pixels_of(8, 8), "WEBP"), BOUNDS)


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 95])
def test_the_tables_of_a_jpeg_tell_its_quality(quality: int) -> None:
    compression = decode(file_of(pixels_of(16, 16), "JPEG", quality=quality), Bounds(1000, 100)).compression
    assert compression is not None
    assert abs(compression - quality) <= 1


def test_exif_tells_the_light_for_which_the_camera_was_set() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({33434: IFDRational(1, 60), 33437: IFDRational(28, 10), 34855: 400})  # 1/60 s at f/2.8, ISO 400
    picture = decode(file_of(pixels_of(16, 16), "JPEG", exif=exif), Bounds(1000, 100))
    assert picture.exposure == pytest.approx(6.88, abs=0.01)
    assert not picture.places
    assert decode(file_of(pixels_of(16, 16), "JPEG"), Bounds(1000, 100)).exposure is None
