"""PNG files (ISO/IEC 15948) written in strips of rows, which several threads may deflate at once: the bytes do not depend on it.

Strips are filtered one after the other. Each is deflated by itself and ends with a whole byte, so that one after the other they
are one zlib stream, and has a chunk of its own, as readers distrust large ones. Deflate goes without its search for
repetitions, as good filters leave few in a photograph: a third of the time, and the size within a few hundredths. Of the five
filters each row has the better one of the two that serve photographs best.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

T = TypeVar("T")
R = TypeVar("R")
Bytes = NDArray[np.uint8]

STRIP_PIXELS = 32 * 1024  # two strips of 256x256, and what one is filtered with stays in the cache of a core
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ZLIB_HEADER = b"\x78\x01"  # deflate, a window of 32 KiB, fast
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, colour, colour and alpha
SUB, AVERAGE = 1, 3  # the filters
LEVEL = 4  # of no consequence beside Z_RLE
ADLER_MODULUS = 65521


class Spread(Protocol):
    """What does the same with several things, in order, in whatever threads: `map`, or a pool's."""

    def __call__(self, act: Callable[[T], R], parts: Iterable[T], /) -> Iterable[R]: ...


@dataclass(frozen=True, eq=False)
class Filtered:
    """Some rows, filtered, and whether they are the last."""

    rows: Bytes
    is_last: bool


@dataclass(frozen=True)
class Deflated:
    """Some rows, deflated, and the Adler-32 checksum and number of the bytes that they were deflated from."""

    data: bytes
    adler: int
    length: int


def write(samples: NDArray[Any], chunks: Sequence[tuple[bytes, bytes]] = (), spread: Spread = map) -> bytes:
    """A PNG file of samples h w or h w c, uint8 or uint16, with 1 to 4 channels: grey, alpha behind it, RGB, alpha behind it.

    chunks: type and data of further ones, which come before the pixels. spread: what deflates the strips. Raises ValueError for
    another shape or type.
    """
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    if samples.dtype.kind != "u" or samples.itemsize > 2 or not samples.size or channels not in COLOUR_TYPES or samples.ndim > 3:
        raise ValueError(f"expected uint8 or uint16 samples h w or h w 1..4, got {samples.dtype} {samples.shape}")
    height, width = samples.shape[:2]
    rows = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    strips = list(spread(_deflated, _strips(rows, channels * samples.itemsize, max(1, STRIP_PIXELS // width))))
    file = BytesIO()
    file.write(SIGNATURE)
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
    _put_chunk(file, b"IHDR", header)
    for kind, data in chunks:
        _put_chunk(file, kind, data)
    for index, strip in enumerate(strips):
        begin = ZLIB_HEADER if index == 0 else b""
        end = struct.pack(">I", _adler(strips)) if index == len(strips) - 1 else b""
        _put_chunk(file, b"IDAT", begin, strip.data, end)
    _put_chunk(file, b"IEND")
    return file.getvalue()


def _put_chunk(file: BytesIO, kind: bytes, *data: bytes) -> None:
    """Writes length, kind, data and checksum (PNG 5.3), without joining the data."""
    file.write(struct.pack(">I", sum(map(len, data))) + kind)
    checksum = zlib_ng.crc32(kind)
    for part in data:
        file.write(part)
        checksum = zlib_ng.crc32(part, checksum)
    file.write(struct.pack(">I", checksum))


def _strips(rows: Bytes, pixel_bytes: int, each: int) -> Iterator[Filtered]:
    """One after the other, by whoever asks: the steps of a filter are too short to be shared out among threads."""
    above = np.zeros_like(rows[0])
    for top in range(0, len(rows), each):
        strip = rows[top : top + each]
        yield Filtered(filtered(strip, above, pixel_bytes), top + each >= len(rows))
        above = strip[-1]


def _deflated(strip: Filtered) -> Deflated:
    """A strip's part of the stream; the last one ends it."""
    packer = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS, zlib_ng.DEF_MEM_LEVEL + 1, zlib_ng.Z_RLE)
    data = packer.compress(strip.rows.data) + packer.flush(zlib_ng.Z_FINISH if strip.is_last else zlib_ng.Z_SYNC_FLUSH)
    return Deflated(data, zlib_ng.adler32(strip.rows.data), strip.rows.nbytes)


def filtered(rows: Bytes, above: Bytes, pixel_bytes: int) -> Bytes:
    """Rows (h, n) of bytes beneath the row `above` (n) as (h, 1 + n): each by the filter whose bytes, as signed, sum up to less."""
    up = np.concatenate([above[None], rows[:-1]])
    left = np.zeros_like(rows)
    left[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    sub = rows - left
    average = rows - ((left & up) + ((left ^ up) >> 1))  # half of the sum, which has nine bits
    better = _weight(average) < _weight(sub)
    result = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    result[:, 0] = np.where(better, AVERAGE, SUB)
    result[:, 1:] = np.where(better[:, None], average, sub)
    return result


def _weight(differences: Bytes) -> NDArray[np.uint32]:
    weight: NDArray[np.uint32] = np.minimum(differences, -differences).sum(axis=1, dtype=np.uint32)
    return weight


def _adler(strips: Sequence[Deflated]) -> int:
    """The checksum of all bytes, from those of the strips (RFC 1950, section 8.2: two sums, the second one of the first)."""
    low, high = 1, 0
    for strip in strips:
        high = (high + (strip.adler >> 16) + strip.length * (low - 1)) % ADLER_MODULUS
        low = (low + (strip.adler & 0xFFFF) - 1) % ADLER_MODULUS
    return high << 16 | low
