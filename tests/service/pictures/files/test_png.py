"""PNG files of our own writing: read by others, the same whoever works on their strips, and hardly larger than a library's."""

import re
import struct
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TypeVar

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from zlib_ng import zlib_ng

from rddm.image import to_pixels
from service.pictures.files.png import ADLER_MODULUS, STRIP_PIXELS, Deflated, _adler, filtered, write
from tests.service.conftest import pixels_of

T = TypeVar("T")
R = TypeVar("R")
SIZES = [(1, 1), (3, 5), (700, 2), (2, STRIP_PIXELS + 1), (300, 257)]


def backwards(act: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """As threads may do it: the last part first."""
    return [act(part) for part in list(parts)[::-1]][::-1]


def chunks_of(file: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(file):
        (length,) = struct.unpack_from(">I", file, at)
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", file, at + 8 + length)[0] == zlib.crc32(kind + data)
        chunks.append((kind, data))
        at += 12 + length
    return chunks


@pytest.mark.parametrize("samples", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_no_png_can_hold_is_refused_by_name(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {samples.dtype} {samples.shape}")):
        write(samples)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_is_written_is_read_by_libpng_whoever_works_on_it(depth: type, channels: int | None, size: tuple[int, int]) -> None:
    shape = size if channels is None else (*size, channels)
    pixels = np.random.default_rng(3).integers(0, np.iinfo(depth).max + 1, shape).astype(depth)
    file = write(pixels)
    assert np.array_equal(np.asarray(imagecodecs.png_decode(file)).reshape(shape), pixels)
    assert write(pixels, (), backwards) == file


def test_pillow_reads_it_too_and_finds_the_chunks_before_the_pixels() -> None:
    pixels = pixels_of(300, 257)
    file = write(pixels, [(b"pHYs", struct.pack(">IIB", 3937, 3937, 1)), (b"tEXt", b"a\0b")])
    with Image.open(BytesIO(file)) as picture:
        assert np.array_equal(np.asarray(picture), pixels)
        assert picture.info["dpi"] == pytest.approx((100, 100), abs=0.1)
    assert [kind for kind, _ in chunks_of(file)] == [b"IHDR", b"pHYs", b"tEXt", *[b"IDAT"] * 3, b"IEND"]


def test_a_file_of_many_strips_is_one_zlib_stream_with_the_right_checksum() -> None:
    height, width = 5 * STRIP_PIXELS // 400, 401
    parts = [data for kind, data in chunks_of(write(pixels_of(height, width))) if kind == b"IDAT"]
    assert len(parts) == 6
    assert len(zlib.decompress(b"".join(parts))) == height * (1 + 3 * width)  # which looks at the checksum, too


def test_checksums_of_parts_make_that_of_the_whole() -> None:
    data = np.random.default_rng(0).integers(0, 256, 3 * ADLER_MODULUS, np.uint8).tobytes()
    parts = [data[:1], data[1:70_000], b"", data[70_000:]]
    assert _adler([Deflated(b"", zlib_ng.adler32(part), len(part)) for part in parts]) == zlib.adler32(data)


def test_each_row_has_the_filter_that_suits_it() -> None:
    """A row that goes on to the right as it begins has nothing but zeros by SUB; one that is like the row above less by AVERAGE."""
    flat = np.full((1, 30), 200, np.uint8)
    rough = np.random.default_rng(1).integers(0, 256, (1, 30), np.uint8)
    smooth = np.clip(rough.astype(int) + 1, 0, 255).astype(np.uint8)
    actual = filtered(np.concatenate([flat, rough, smooth]), np.zeros(30, np.uint8), 3)
    assert actual[0].tolist() == [1, 200, 200, 200] + [0] * 27
    assert actual[2, 0] == 3


def test_a_photograph_is_hardly_larger_than_libpngs() -> None:
    rows, columns = np.mgrid[:256, :256] / 256
    smooth = np.stack([np.sin(5 * rows + c) * np.cos(7 * columns * rows + c) for c in range(3)])[None].astype(np.float32)
    picture = to_pixels(smooth + np.random.default_rng(0).normal(0, 0.02, smooth.shape).astype(np.float32))
    settings = {"level": 4, "strategy": imagecodecs.PNG.STRATEGY.RLE, "filter": imagecodecs.PNG.FILTER.ALL}
    assert len(write(picture)) < 1.03 * len(imagecodecs.png_encode(picture, **settings))
