"""Pixels that were worked on -> a file like the one that came: profile, alpha, grey, depth, orientation, metadata."""

import re
import struct
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base
from zlib_ng import zlib_ng

from rddm.image import Pixels
from service.pictures import colour, png
from service.pictures.kinds import Kind
from service.pictures.picture import Policy, SourceMetadata, as_stored
from service.pictures.png import Spread

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
# Tags that describe how the source file was laid out; the answer has a layout of its own.
LAYOUT_TAGS = {
    *range(254, 267),
    273,
    277,
    278,
    279,
    284,
    292,
    293,
    301,
    *range(317, 342),
    347,
    *range(512, 533),
    700,
    33723,
    34377,
    34675,
}
LARGEST_JPEG_EXIF = 65_000
XMP_KEYWORD = b"XML:com.adobe.xmp"
SETTINGS: dict[str, dict[str, Any]] = {
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95, "method": 3, "exact": True},
    "avif": {"quality": 90, "speed": 8, "subsampling": "4:4:4", "max_threads": 1},
    "tiff": {"compression": "tiff_adobe_deflate"},
}


def encode(pixels: Pixels, metadata: SourceMetadata, kind: Kind, policy: Policy = "keep", spread: Spread = map) -> bytes:
    """Upright sRGB pixels h w 3 as a file of that kind, with the metadata of the source as far as the kind can hold it.

    Alpha in a kind without it is laid on white; 16 bits become 8 in a kind without them. `keep` is all metadata but places,
    `none` no metadata at all, and then the picture is upright in the file; the colour profile always stays. spread: what works on
    the strips of a PNG.
    """
    depth = 16 if metadata.depth == 16 and kind.sixteen else 8
    samples = _with_alpha(_at_depth(_colours(pixels, metadata), depth), metadata, kind, depth)
    orientation = 1 if policy == "none" else metadata.orientation
    samples = as_stored(samples, orientation)
    exif, xmp = exif_for(metadata, kind, policy), xmp_for(metadata, policy)
    if kind.name == "png":
        return _png(samples, metadata, exif, xmp, spread)
    return _eight(samples, metadata, kind, exif, xmp) if depth == 8 else _tiff(samples, metadata, orientation, policy)


def _colours(pixels: Pixels, metadata: SourceMetadata) -> Pixels:
    """sRGB -> the source's profile, or plain grey: h w 3, or h w."""
    if metadata.profile is not None:
        return colour.from_srgb(pixels, metadata.profile, "gray" if metadata.grey else "rgb")
    if metadata.grey:
        return np.asarray(np.rint(np.einsum("hwc,c->hw", pixels, LUMA)), pixels.dtype)
    return pixels


def _at_depth(samples: Pixels, depth: int) -> Pixels:
    if depth == 16:
        return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)
    return samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _with_alpha(samples: Pixels, metadata: SourceMetadata, kind: Kind, depth: int) -> Pixels:
    if metadata.alpha is None:
        return samples
    alpha = _at_depth(metadata.alpha, depth)
    channels = samples[..., None] if samples.ndim == 2 else samples
    if kind.alpha:
        return np.concatenate([channels, alpha[..., None]], axis=2)
    share = alpha[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(channels * share + 255 * (1 - share)), np.uint8).squeeze()


def exif_for(metadata: SourceMetadata, kind: Kind, policy: Policy) -> bytes | None:
    """The EXIF to write: without the source's file layout and thumbnail, without places unless all is asked for."""
    if policy == "none":
        return None
    raw = _exif_bytes(metadata, policy)
    if raw is None or (kind.name == "jpeg" and len(raw) > LARGEST_JPEG_EXIF):
        raw = _orientation_only(metadata.orientation) if metadata.orientation != 1 else None
    return raw


def _exif_bytes(metadata: SourceMetadata, policy: Policy) -> bytes | None:
    """None where there was none, or where it cannot be written again."""
    if metadata.exif is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(metadata.exif)
        for tag in LAYOUT_TAGS & set(exif):
            del exif[tag]
        if policy != "all" and IFD.GPSInfo in exif:
            del exif[IFD.GPSInfo]
        exif[Base.Orientation] = metadata.orientation
        return exif.tobytes()
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, OSError, struct.error):
        return None


def _orientation_only(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    return exif.tobytes()


def xmp_for(metadata: SourceMetadata, policy: Policy) -> bytes | None:
    """The XMP packet to write; one that speaks of places only when all is asked for."""
    if metadata.xmp is None or policy == "none":
        return None
    return metadata.xmp if policy == "all" or not re.search(rb"GPS|Location|photoshop:City", metadata.xmp) else None


def _eight(samples: NDArray[Any], metadata: SourceMetadata, kind: Kind, exif: bytes | None, xmp: bytes | None) -> bytes:
    options = dict(SETTINGS[kind.name])
    if metadata.profile is not None:
        options["icc_profile"] = metadata.profile
    if exif is not None:
        options["exif"] = exif
    if metadata.dpi is not None and kind.name in {"jpeg", "tiff"}:
        options["dpi"] = metadata.dpi
    if xmp is not None:
        options |= _xmp_option(xmp, kind)
    file = BytesIO()
    Image.fromarray(samples).save(file, kind.readers[0], **options)
    return file.getvalue()


def _xmp_option(xmp: bytes, kind: Kind) -> dict[str, Any]:
    if kind.name == "tiff":
        return {"tiffinfo": {700: xmp}}
    return {"xmp": xmp} if kind.name != "jpeg" or len(xmp) < LARGEST_JPEG_EXIF else {}


def _png(samples: NDArray[Any], metadata: SourceMetadata, exif: bytes | None, xmp: bytes | None, spread: Spread) -> bytes:
    """PNG, with profile, resolution and metadata before the pixels."""
    chunks: list[tuple[bytes, bytes]] = []
    if metadata.profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib_ng.compress(metadata.profile)))
    if metadata.dpi is not None:
        across, down = (round(value / 0.0254) for value in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if exif is not None:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp is not None:
        chunks.append((b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp.decode("utf-8", "replace").encode()))
    return png.write(samples, chunks, spread)


def _tiff(samples: NDArray[np.uint16], metadata: SourceMetadata, orientation: int, policy: Policy) -> bytes:
    """16-bit TIFF, deflated, with the text tags of the source."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    tags: list[tuple[int, str, int, Any, bool]] = [(int(Base.Orientation), "H", 1, orientation, True)]
    file = BytesIO()
    tifffile.imwrite(
        file,
        samples,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in {2, 4} else None,
        compression="zlib",
        predictor=True,
        iccprofile=metadata.profile,
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
        metadata=None,
        software=False,
        extratags=tags + (_text_tags(metadata) if policy != "none" else []),
    )
    return file.getvalue()


def _text_tags(metadata: SourceMetadata) -> list[tuple[int, str, int, Any, bool]]:
    """ImageDescription, Make, Model, DateTime, Artist and Copyright, as far as they are plain ASCII."""
    exif = Image.Exif()
    exif.load(metadata.exif or b"")
    names = (Base.ImageDescription, Base.Make, Base.Model, Base.DateTime, Base.Artist, Base.Copyright)
    values = ((int(tag), str(exif.get(tag, ""))) for tag in names)
    return [(tag, "s", 0, value, True) for tag, value in values if value and value.isascii()]
