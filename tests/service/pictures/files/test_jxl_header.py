"""The header of a JPEG XL codestream: as libjxl writes it, and as it is written anew."""

import imagecodecs
import numpy as np
import pytest

from service.pictures.cicp import BT709, BT2020, DISPLAY_P3
from service.pictures.files.boxes import boxes
from service.pictures.files.jxl_header import (
    CUSTOM_XY,
    ENUMERATION,
    GREY,
    LINEAR,
    RGB,
    SIZE,
    SRGB,
    Bits,
    Colours,
    UnreadableHeader,
    Writer,
    read,
    rewritten,
)
from service.pictures.formats import JXL_CODESTREAM
from tests.service.conftest import pixels_of


def stream(pixels: np.ndarray, **options: object) -> bytes:
    """16 bits without loss come in a container, as only level 10 of the standard has them."""
    data = bytes(imagecodecs.jpegxl_encode(pixels, numthreads=1, effort=1, **options))
    return data if data.startswith(JXL_CODESTREAM) else b"".join(one.content(data) for one in boxes(data) if one.name == b"jxlc")


@pytest.mark.parametrize("size", [(1, 1), (24, 40), (64, 64), (48, 64), (9, 300), (256, 8)])
def test_the_size_is_read_however_it_is_packed(size: tuple[int, int]) -> None:
    header = read(stream(pixels_of(*size), lossless=True))
    assert (header.height, header.width) == size


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (65535, 16)])
def test_depth_and_way_of_coding_are_read(top: int, bits: int) -> None:
    header = read(stream(pixels_of(8, 8, 3, top), lossless=True))
    assert (header.bits, header.is_float, header.xyb, header.animated) == (bits, False, False, False)
    assert read(stream(pixels_of(8, 8), level=90)).xyb


def test_floats_are_linear_light() -> None:
    header = read(stream(np.full((8, 8, 3), 0.5, np.float32), distance=1.0))
    assert (header.is_float, header.bits, header.colours.curve) == (True, 32, LINEAR)


@pytest.mark.parametrize("chromaticities", [BT709, DISPLAY_P3, BT2020, (0.31, 0.32, 0.65, 0.33, 0.3, 0.61, 0.149, 0.061)])
@pytest.mark.parametrize("options", [{"lossless": True}, {"level": 90}])
def test_colours_are_written_anew_and_the_pixels_stay(options: dict, chromaticities: tuple[float, ...]) -> None:
    before = stream(pixels_of(24, 40), **options)
    colours = Colours(RGB, False, chromaticities, SRGB)  # type: ignore[arg-type]
    after = rewritten(before, colours, 8)
    assert read(after).colours.chromaticities == pytest.approx(chromaticities, abs=1e-6)
    assert (read(after).colours.curve, read(after).bits) == (SRGB, 8)
    if "lossless" in options:
        assert np.array_equal(imagecodecs.jpegxl_decode(after), pixels_of(24, 40))


def test_grey_has_no_primaries() -> None:
    after = rewritten(stream(pixels_of(8, 8, 1, 65535), lossless=True), Colours(GREY, curve=SRGB), 16)
    assert (read(after).colours.space, read(after).bits) == (GREY, 16)
    assert np.array_equal(imagecodecs.jpegxl_decode(after), pixels_of(8, 8, 1, 65535))


@pytest.mark.parametrize(
    ("data", "words"), [(b"\xff\xd8\xff\xe0" * 4, "no JPEG XL"), (b"\xff\x0a", "ends in its header"), (b"", "ends")]
)
def test_what_is_no_header_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableHeader, match=words):
        read(data)


@pytest.mark.parametrize(("distribution", "values"), [(SIZE, (1, 512, 513, 70_000)), (ENUMERATION, (0, 1, 17, 18, 81))])
def test_numbers_are_read_as_they_were_written(distribution: tuple[tuple[int, int], ...], values: tuple[int, ...]) -> None:
    writer = Writer()
    for value in values:
        writer.one_of(distribution, value)
    bits = Bits(writer.data())
    assert tuple(bits.one_of(distribution) for _ in values) == values
    assert bits.at == writer.length


def test_a_number_that_no_distribution_holds_is_an_error() -> None:
    with pytest.raises(UnreadableHeader, match="4194304 cannot be written"):
        Writer().one_of(CUSTOM_XY, 1 << 22)


def test_bits_are_taken_from_the_least_significant_one() -> None:
    bits = Bits(bytes([0b1010_0110, 0b0000_0001]))
    assert [bits.read(3), bits.flag(), bits.read(5)] == [0b110, False, 0b11010]
    assert bits.between(1, 4) == 0b011
