"""JPEG XL files (ISO/IEC 18181): pixels by imagecodecs, colours by the header, metadata by the container's boxes.

A file whose colours are an ICC profile needs the extra `jxl` to be read (pillow-jxl-plugin, which hands the profile out).
"""

from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels
from service.errors import TooLarge, UnsupportedMedia
from service.pictures import cicp
from service.pictures.cicp import Encoding
from service.pictures.colour import CodePoints, ColourTags
from service.pictures.files import jxl_header
from service.pictures.files.avif import sixteen
from service.pictures.files.boxes import box, boxes
from service.pictures.files.jxl_header import Colours, Header
from service.pictures.files.tiff import divided
from service.pictures.formats import JXL_CODESTREAM, JXL_CONTAINER
from service.pictures.picture import Bounds, Outgoing, Samples, Source

MOST_METADATA = 4 * 1024 * 1024
MISSING = "a JPEG XL picture whose colours are an ICC profile needs the extra `jxl` to be read: pip install 'rddm-serve[jxl]'"


def read(data: bytes, bounds: Bounds) -> Source:
    """imagecodecs turns the picture upright, as its header says. Raises TooLarge for an animation."""
    codestream, exif, xmp, from_jpeg = _parts(data)
    header = jxl_header.read(codestream)
    bounds.check(header.width, header.height)
    if header.animated:
        raise TooLarge("the picture is an animation; 1 frame is allowed")
    array = np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))
    if array.dtype.kind == "f":
        array, header = _from_floats(array, header)
    samples = sixteen(array, 16)
    if header.alpha_multiplied and samples.alpha is not None:
        straight = divided(samples.colour if samples.colour.ndim == 3 else samples.colour[..., None], samples.alpha)
        samples = Samples(straight if samples.space == "rgb" else straight[..., 0], samples.alpha, samples.space)
    return Source(
        samples,
        8 if array.dtype == np.uint8 else 16,
        _tags(header, data),
        orientation=1,
        exif=exif,
        xmp=xmp,
        lossless=not header.xyb and not from_jpeg,
    )


def _parts(data: bytes) -> tuple[bytes, bytes | None, bytes | None, bool]:
    """The codestream, the EXIF block, the XMP packet, and whether the file is a JPEG that was packed anew."""
    if data.startswith(JXL_CODESTREAM):
        return data, None, None, False
    stream, named = bytearray(), dict[bytes, bytes]()
    for one in boxes(data):
        content = one.content(data)
        if one.name == b"jxlc":
            stream += content
        elif one.name == b"jxlp":
            stream += content[4:]
        elif one.name == b"brob":
            named.setdefault(content[:4], _unpacked(content[4:]))
        else:
            named.setdefault(one.name, content)
    exif = named.get(b"Exif", b"")
    block = exif[4 + int.from_bytes(exif[:4], "big") :]
    return bytes(stream), block or None, named.get(b"xml ") or None, b"jbrd" in named


def _unpacked(content: bytes) -> bytes:
    """What Brotli packed; nothing where it is damaged or larger than anything of use."""
    try:
        unpacked = imagecodecs.brotli_decode(content, out=MOST_METADATA)
    except (imagecodecs.BrotliError, ValueError):
        return b""
    return bytes(unpacked)


def _from_floats(array: NDArray[Any], header: Header) -> tuple[Pixels, Header]:
    """Floating-point samples as 16 bits; linear light gets sRGB's curve first, so that the dark keeps its levels."""
    values = np.nan_to_num(array.astype(np.float32), posinf=1.0, neginf=0.0)
    colours = header.colours
    if colours.curve == jxl_header.LINEAR and not colours.has_profile:
        channels = 1 if values.ndim == 2 else values.shape[2] - (values.shape[2] in {2, 4})
        light = values if values.ndim == 2 else values[..., :channels]
        light[...] = cicp.linear_to_srgb(light)
        colours = Colours(colours.space, False, colours.chromaticities, jxl_header.SRGB)
    rounded = np.rint(values.clip(0, 1) * 65535).astype(np.uint16)
    return rounded, replace(header, colours=colours)


def _tags(header: Header, data: bytes) -> ColourTags:
    colours = header.colours
    if colours.has_profile:
        return ColourTags(profile=_profile(data))
    if colours.space not in {jxl_header.RGB, jxl_header.GREY}:
        raise UnsupportedMedia(f"a JPEG XL picture of colour space {colours.space} is not read here; expected RGB or grey")
    if isinstance(colours.curve, int) and colours.curve not in cicp.CURVES:
        return ColourTags(code_points=CodePoints(1, colours.curve))
    return ColourTags(encoding=Encoding(colours.chromaticities, colours.curve))


def _profile(data: bytes) -> bytes | None:
    """That in which the pixels are. Raises UnsupportedMedia where what reads it is not installed."""
    try:
        from pillow_jxl import Decoder  # noqa: PLC0415  (an extra)
    except ImportError as missing:
        raise UnsupportedMedia(MISSING) from missing
    profile: bytes | None = Decoder(num_threads=0)(data)[3]
    return profile


def write(outgoing: Outgoing) -> bytes:
    """Samples with sRGB's curve, upright, without a profile: the header says their primaries."""
    space = jxl_header.GREY if outgoing.is_grey else jxl_header.RGB
    colours = Colours(space, False, outgoing.chromaticities, jxl_header.SRGB)
    bits = 8 * outgoing.samples.dtype.itemsize
    stream = _without_loss(outgoing) if outgoing.lossless else _with_loss(outgoing)
    return _contained(jxl_header.rewritten(_stream_in(stream), colours, bits), outgoing)


def _without_loss(outgoing: Outgoing) -> bytes:
    effort = outgoing.record.options["effort"]
    return bytes(imagecodecs.jpegxl_encode(outgoing.samples, lossless=True, effort=effort, numthreads=1))


def _with_loss(outgoing: Outgoing) -> bytes:
    """By way of linear light of sRGB's primaries, beyond 0 and 1 where others reach further: what imagecodecs calls floats."""
    top = np.float32(np.iinfo(outgoing.samples.dtype).max)
    samples = outgoing.samples[..., None] if outgoing.samples.ndim == 2 else outgoing.samples
    light = samples.astype(np.float32) / top
    count = 1 if outgoing.is_grey else 3
    light[..., :count] = cicp.srgb_to_linear(light[..., :count])
    if count == 3 and outgoing.chromaticities != cicp.BT709:
        light[..., :3] = light[..., :3] @ cicp.to_bt709(outgoing.chromaticities).T.astype(np.float32)
    options = outgoing.record.options
    distance = options["distance"] if outgoing.quality is None else _distance(outgoing.quality)
    light = light[..., 0] if light.shape[2] == 1 else light
    return bytes(imagecodecs.jpegxl_encode(light, distance=distance, effort=options["effort"], numthreads=1))


def _distance(quality: int) -> float:
    """libjxl's own scale: 90 is 1, about where the eye begins to see a difference."""
    return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _stream_in(data: bytes) -> bytes:
    return _parts(data)[0]


def _contained(stream: bytes, outgoing: Outgoing) -> bytes:
    if outgoing.exif is None and outgoing.xmp is None:
        return stream
    parts = [JXL_CONTAINER, box(b"ftyp", b"jxl \0\0\0\0jxl ")]
    if outgoing.exif is not None:
        parts.append(box(b"Exif", b"\0\0\0\0" + outgoing.exif))
    if outgoing.xmp is not None:
        parts.append(box(b"xml ", outgoing.xmp))
    return b"".join((*parts, box(b"jxlc", stream)))
