"""What is read of a PNG's chunks, and which are written."""

import struct
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.errors import Malformed, ServiceError, TooLarge
from service.pictures.colour import CodePoints
from service.pictures.files.png_file import read, write
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import apng, chunk, spoiled

BOUNDS = Bounds(512 * 512, 8191)
PNG = file_of(pixels_of(8, 12))


def with_chunks(*chunks: bytes, png: bytes = PNG) -> bytes:
    return png[:33] + b"".join(chunks) + png[33:]


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_depth_and_number_of_channels_is_read(channels: int, top: int) -> None:
    pixels = pixels_of(8, 12, channels, top)
    source = read(imagecodecs.png_encode(pixels), BOUNDS)
    planes = pixels[..., None] if channels == 1 else pixels
    assert np.array_equal(source.samples.colour, planes[..., 0] if channels < 3 else planes[..., :3])
    assert (source.samples.alpha is not None) == (channels in {2, 4})
    assert source.depth == (8 if top == 255 else 16)


def test_what_chunks_say_of_colours_is_read() -> None:
    chrm = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chunks = [
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"cHRM", chrm),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(b"p" * 99)),
    ]
    tags = read(with_chunks(chunk(b"cICP", b"\x0c\x0d\0\1"), *chunks), BOUNDS).colours
    assert (tags.code_points, tags.profile, tags.gamma, tags.is_srgb) == (CodePoints(12, 13), b"p" * 99, 0.45455, False)
    assert tags.chromaticities == (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    assert read(with_chunks(chunk(b"sRGB", b"\0")), BOUNDS).colours.is_srgb


def test_a_narrow_range_is_stretched() -> None:
    grey = np.array([[0, 16, 126, 235, 255]], np.uint8)
    narrow = with_chunks(chunk(b"cICP", b"\1\x0d\0\0"), png=imagecodecs.png_encode(grey))
    assert read(narrow, BOUNDS).samples.colour.tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("body", [b"\x0c\x0d\1\1", b"\x0c\x0d\0"])
def test_code_points_with_a_matrix_or_of_another_length_say_nothing(body: bytes) -> None:
    assert read(with_chunks(chunk(b"cICP", body)), BOUNDS).colours.code_points is None


@pytest.mark.parametrize(
    "text",
    [b"XML:com.adobe.xmp\0\0\0\0\0<x/>", b"XML:com.adobe.xmp\0\1\0en\0k\0" + zlib.compress(b"<x/>")],
)
def test_xmp_resolution_and_exif_are_read(text: bytes) -> None:
    chunks = [chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)), chunk(b"eXIf", b"II*\0"), chunk(b"iTXt", b"Title\0\0\0\0\0no")]
    source = read(with_chunks(*chunks, chunk(b"iTXt", text)), BOUNDS)
    assert (source.xmp, source.exif) == (b"<x/>", b"II*\0")
    assert source.dpi == pytest.approx((300, 150), abs=0.1)


@pytest.mark.parametrize("body", [struct.pack(">IIB", 3, 4, 0), b"\0\0"])
def test_a_resolution_without_a_unit_is_none(body: bytes) -> None:
    assert read(with_chunks(chunk(b"pHYs", body)), BOUNDS).dpi is None


@pytest.mark.parametrize(
    ("data", "fault", "words"),
    [
        (PNG[:60], Malformed, "damaged or cut short"),
        (spoiled(PNG, b"IDAT"), Malformed, "a checksum does not fit the pixels"),
        (apng(9), TooLarge, "the picture has 9 frames; 1 is allowed"),
        (file_of(np.zeros((600, 600), np.uint8)), TooLarge, "at most 262144 are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(data: bytes, fault: type[ServiceError], words: str) -> None:
    with pytest.raises(fault, match=words):
        read(data, BOUNDS)


def test_a_damaged_further_chunk_costs_no_more_than_itself() -> None:
    data = with_chunks(chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0"))
    source = read(spoiled(data, b"gAMA"), BOUNDS)
    assert (source.colours.gamma, source.colours.is_srgb) == (None, True)


def test_what_is_written_is_read_again_here_and_by_pillow() -> None:
    facts = {"profile": b"p" * 200, "dpi": (300.0, 150.0), "exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp": b"<x/>"}
    data = write(Outgoing(pixels_of(8, 12), FORMATS["png"], **facts))  # type: ignore[arg-type]
    source = read(data, BOUNDS)
    assert np.array_equal(source.samples.colour, pixels_of(8, 12))
    assert (source.colours.profile, source.exif, source.xmp) == (facts["profile"], facts["exif"], facts["xmp"])
    assert source.dpi == pytest.approx((300, 150), abs=0.1)
    with Image.open(BytesIO(data)) as file:
        assert file.info["icc_profile"] == facts["profile"]
        assert file.info["xmp"] == b"<x/>"
