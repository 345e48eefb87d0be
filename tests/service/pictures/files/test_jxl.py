"""JPEG XL files: pixels, colours and metadata."""

import imagecodecs
import numpy as np
import pytest

from service.errors import TooLarge
from service.pictures.cicp import BT709, DISPLAY_P3, Encoding
from service.pictures.files.boxes import box
from service.pictures.files.jxl import _distance, read, write
from service.pictures.formats import FORMATS, JXL_CONTAINER
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import pixels_of

BOUNDS = Bounds(512 * 512, 8191)
JXL = FORMATS["jxl"]


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_written_without_loss_is_read_again_exactly(channels: int, top: int) -> None:
    pixels = pixels_of(9, 7, channels, top)
    source = read(write(Outgoing(pixels, JXL, lossless=True)), BOUNDS)
    assert np.array_equal(source.samples.colour, pixels if channels == 1 else pixels[..., :3])
    assert source.samples.alpha is None if channels < 4 else np.array_equal(source.samples.alpha, pixels[..., 3])
    assert (source.lossless, source.orientation, source.depth) == (True, 1, 8 if top == 255 else 16)
    assert source.colours.encoding == Encoding(BT709)


@pytest.mark.parametrize("top", [255, 65535])
def test_a_lossy_file_shows_nearly_the_same(top: int) -> None:
    pixels = np.repeat(np.linspace(0, top, 32 * 32).reshape(32, 32, 1), 3, axis=2).astype(np.uint8 if top == 255 else np.uint16)
    source = read(write(Outgoing(pixels, JXL, quality=98)), BOUNDS)
    assert not source.lossless
    assert np.abs(source.samples.colour.astype(float) - pixels).mean() < 0.01 * top


@pytest.mark.parametrize("lossless", [True, False])
def test_primaries_are_said_by_the_header(lossless: bool) -> None:
    source = read(write(Outgoing(pixels_of(8, 8), JXL, chromaticities=DISPLAY_P3, lossless=lossless)), BOUNDS)
    assert source.colours.encoding is not None
    assert source.colours.encoding.chromaticities == pytest.approx(DISPLAY_P3, abs=1e-3)


def test_metadata_lies_in_boxes() -> None:
    source = read(write(Outgoing(pixels_of(8, 8), JXL, exif=b"II*\0", xmp=b"<x/>")), BOUNDS)
    assert (source.exif, source.xmp) == (b"II*\0", b"<x/>")


def test_boxes_that_brotli_packed_are_unpacked_and_damaged_ones_say_nothing() -> None:
    stream = imagecodecs.jpegxl_encode(pixels_of(8, 8), lossless=True)
    head = JXL_CONTAINER + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    packed = box(b"brob", b"xml " + imagecodecs.brotli_encode(b"<x/>")) + box(b"brob", b"Exif" + b"\xff" * 9)
    parts = box(b"jxlp", b"\0\0\0\0" + stream[:20]) + box(b"jxlp", b"\x80\0\0\1" + stream[20:])
    source = read(head + packed + parts, BOUNDS)
    assert (source.xmp, source.exif) == (b"<x/>", None)


def test_floats_of_linear_light_become_sixteen_bits_with_srgbs_curve() -> None:
    data = imagecodecs.jpegxl_encode(np.full((8, 8, 3), 0.21404, np.float32), lossless=True)
    source = read(data, BOUNDS)
    assert source.depth == 16
    assert np.abs(source.samples.colour.astype(int) - 32768).max() <= 64


def test_an_animation_and_a_large_picture_are_refused() -> None:
    frames = np.stack([pixels_of(8, 8, seed=seed) for seed in range(3)])
    with pytest.raises(TooLarge, match="an animation; 1 frame is allowed"):
        read(imagecodecs.jpegxl_encode(frames, lossless=True), BOUNDS)
    with pytest.raises(TooLarge, match="at most 16 are allowed"):
        read(imagecodecs.jpegxl_encode(pixels_of(8, 8), lossless=True), Bounds(16, 8191))


def test_quality_is_libjxls_scale_without_a_gap() -> None:
    """JxlEncoderDistanceFromQuality: 100 -> 0.1, 90 -> 1, 30 -> 6.4."""
    assert [_distance(quality) for quality in (100, 90, 30)] == pytest.approx([0.1, 1.0, 6.4])
    assert _distance(29) == pytest.approx(6.4, abs=0.2)
    assert all(_distance(quality) > _distance(quality + 1) for quality in range(1, 100))
