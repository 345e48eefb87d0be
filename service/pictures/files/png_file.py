"""PNG files (ISO/IEC 15948:2025): read by their chunks, written by service.pictures.files.png."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from zlib_ng import zlib_ng

from service.errors import Malformed, TooLarge
from service.pictures.colour import LARGEST_PROFILE, CodePoints, ColourTags
from service.pictures.eight_bits import resolution, samples_of
from service.pictures.files import png
from service.pictures.files.png import SIGNATURE
from service.pictures.picture import Bounds, Outgoing, Samples, Source

PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
CRITICAL = 0x20  # the bit of a chunk's first letter that is not set where no picture can be without it
XMP_KEYWORD = b"XML:com.adobe.xmp"
MOST_TEXT = 4 * 1024 * 1024
INCHES = 0.0254
FULL_RANGE = 1
IDENTITY = 0  # matrix coefficients of RGB
Chunk = tuple[bytes, bytes]


def read(data: bytes, bounds: Bounds) -> Source:
    """Raises Malformed where a chunk that the pixels need is damaged; what is wrong in others costs no more than them."""
    pixel_chunks, others = _parted(_chunks(data))
    width, height, bits = _header(pixel_chunks)
    bounds.check(width, height)
    _check_frames(others)
    clean = SIGNATURE + b"".join(pixel_chunks)
    points, full_range = _code_points(others.get(b"cICP"))
    samples = _sixteen(clean) if bits == 16 else _eight(clean)
    return Source(
        samples if full_range else _from_narrow_range(samples),
        16 if bits == 16 else 8,
        ColourTags(
            profile=_profile(others.get(b"iCCP")),
            code_points=points,
            code_points_first=True,
            is_srgb=b"sRGB" in others,
            gamma=_number(others.get(b"gAMA")),
            chromaticities=_chromaticities(others.get(b"cHRM")),
        ),
        exif=others.get(b"eXIf"),
        xmp=others.get(b"XMP "),
        dpi=_dpi(others.get(b"pHYs")),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes, bool]]:
    """Type, data, the whole chunk, and whether its checksum is right. Raises Malformed where the file ends within one."""
    at = len(SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name, body, whole = data[at + 4 : at + 8], data[at + 8 : at + 8 + length], data[at : at + 12 + length]
        if len(whole) != 12 + length:
            raise Malformed("the PNG picture is damaged or cut short")
        yield name, body, whole, zlib.crc32(body, zlib.crc32(name)) == int.from_bytes(whole[-4:], "big")
        if name == b"IEND":
            return
        at += 12 + length


def _parted(chunks: Iterator[tuple[bytes, bytes, bytes, bool]]) -> tuple[list[bytes], Mapping[bytes, bytes]]:
    """The chunks that pixels are read from, and the first of each other kind: the XMP packet as `XMP `."""
    pixel_chunks, others = [], dict[bytes, bytes]()
    for name, body, whole, is_right in chunks:
        if not name[0] & CRITICAL and not is_right:
            raise Malformed("the PNG picture is damaged: a checksum does not fit the pixels")
        if not name[0] & CRITICAL or (name in PIXEL_CHUNKS and is_right):
            pixel_chunks.append(whole)
        elif is_right and name == b"iTXt":
            if (packet := _packet(body)) is not None:
                others.setdefault(b"XMP ", packet)
        elif is_right:
            others.setdefault(name, body)
    return pixel_chunks, others


def _header(chunks: list[bytes]) -> tuple[int, int, int]:
    """Width, height, and bits of a sample."""
    if not chunks or chunks[0][4:8] != b"IHDR" or len(chunks[0]) != 25:
        raise Malformed("the PNG picture is damaged or cut short")
    width, height, bits = struct.unpack(">IIB", chunks[0][8:17])
    return width, height, bits


def _check_frames(others: Mapping[bytes, bytes]) -> None:
    frames = int.from_bytes(others.get(b"acTL", b"")[:4], "big")
    if frames > 1:
        raise TooLarge(f"the picture has {frames} frames; 1 is allowed")


def _eight(clean: bytes) -> Samples:
    with Image.open(BytesIO(clean), formats=["PNG"]) as file:
        return samples_of(file)


def _sixteen(clean: bytes) -> Samples:
    array = np.asarray(imagecodecs.png_decode(clean))
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels < 3:
        array = array[..., None] if array.ndim == 2 else array
        return Samples(array[..., 0], array[..., 1] if channels == 2 else None, "gray")
    return Samples(array[..., :3], array[..., 3] if channels == 4 else None, "rgb")


def _from_narrow_range(samples: Samples) -> Samples:
    """Colours from 16 .. 235 (of 8 bits, or the same share of 16), as video has them, in the full range."""
    top = int(np.iinfo(samples.colour.dtype).max)
    step = (top + 1) / 256
    levels = (np.arange(top + 1) - 16 * step) * (top / (219 * step))
    table = np.rint(levels.clip(0, top)).astype(samples.colour.dtype)
    return Samples(table[samples.colour], samples.alpha, samples.space)


def _code_points(body: bytes | None) -> tuple[CodePoints | None, bool]:
    """cICP's code points, and whether numbers use their full range; a matrix that PNG does not allow makes the chunk nothing."""
    if body is None or len(body) != 4 or body[2] != IDENTITY:
        return None, True
    return CodePoints(body[0], body[1]), body[3] == FULL_RANGE


def _inflated(body: bytes, most: int) -> bytes | None:
    """None where it is damaged, or larger than anything of use."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(body, most)
    except zlib.error:
        return None
    return inflated if inflater.eof else None


def _profile(body: bytes | None) -> bytes | None:
    _, _, rest = (body or b"").partition(b"\0")
    return _inflated(rest[1:], LARGEST_PROFILE) if rest else None


def _packet(body: bytes) -> bytes | None:
    """The XMP of an iTXt chunk; None where it holds another text."""
    keyword, _, rest = body.partition(b"\0")
    if keyword != XMP_KEYWORD or len(rest) < 2:
        return None
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _inflated(text, MOST_TEXT) if rest[0] else text


def _number(body: bytes | None) -> float | None:
    return int.from_bytes(body, "big") / 100_000 if body is not None and len(body) == 4 else None


def _chromaticities(body: bytes | None) -> Any:
    return tuple(value / 100_000 for value in struct.unpack(">8I", body)) if body is not None and len(body) == 32 else None


def _dpi(body: bytes | None) -> tuple[float, float] | None:
    if body is None or len(body) != 9 or body[8] != 1:
        return None
    across, down = struct.unpack(">II", body[:8])
    return resolution(across * INCHES, down * INCHES)


def write(outgoing: Outgoing) -> bytes:
    """PNG, with profile, resolution and metadata before the pixels."""
    return png.write(outgoing.samples, chunks_of(outgoing))


def chunks_of(outgoing: Outgoing) -> list[Chunk]:
    """What is written before the pixels: profile, resolution and metadata."""
    chunks: list[Chunk] = []
    if outgoing.profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib_ng.compress(outgoing.profile)))
    if outgoing.dpi is not None:
        across, down = (round(value / INCHES) for value in outgoing.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if outgoing.exif is not None:
        chunks.append((b"eXIf", outgoing.exif))
    if outgoing.xmp is not None:
        chunks.append((b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + outgoing.xmp))
    return chunks
