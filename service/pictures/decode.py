"""Hostile bytes -> a Picture. Runs in a worker process that is killed when it takes too long or too much memory."""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base

from rddm.image import Depth, Pixels
from service.errors import Malformed, ServiceError, TooLarge, UnsupportedMedia
from service.pictures import colour
from service.pictures.colour import Space
from service.pictures.kinds import Kind, sniff
from service.pictures.picture import Picture, SourceMetadata, upright
from service.pictures.tiff import TiffImage

MOST_SCANS = 200  # a progressive JPEG has about ten; each one costs a pass over the whole picture
MOST_METADATA = 1024 * 1024
BASELINE_TO_PROGRESSIVE = {0xC0, 0xC1, 0xC2}
HIGH_BITDEPTH, TWELVE_BIT = 0x40, 0x20  # of an AV1 configuration box
OTHER_TIFF = (
    "a TIFF of this layout is not read here; expected 1 to 8 bits, or 16 unsigned bits grey, RGB or CMYK, with or without alpha"
)
GREY_MODES = {"1", "L", "LA", "La"}
COLOUR_MODES = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr"}


@dataclass(frozen=True)
class Bounds:
    """What a picture may be: pixels in all, and along a side."""

    max_pixels: int
    max_side: int


@dataclass(frozen=True, eq=False)
class Samples:
    """Upright samples: colour h w (gray) or h w c (rgb, cmyk), and alpha h w, uint8 or uint16."""

    colour: Pixels
    alpha: Pixels | None
    space: Space


def decode(data: bytes, bounds: Bounds) -> Picture:
    """The picture in data, whatever its name says. Raises UnsupportedMedia, TooLarge (before decoding) and Malformed."""
    kind = sniff(data)
    if kind.name == "jpeg":
        _check_jpeg(data)
    with _translated(kind):
        tiff = TiffImage.opened(data) if kind.name == "tiff" else None
        samples, metadata = _by_pillow(kind, data, bounds) if tiff is None else _by_tifffile(kind, tiff, bounds)
    return _in_srgb(samples, metadata)


def _by_pillow(kind: Kind, data: bytes, bounds: Bounds) -> tuple[Samples, SourceMetadata]:
    with Image.open(BytesIO(data), formats=kind.readers) as file:
        _check_size(file.size, bounds)
        _check_frames(file)
        bits = _bits(kind, data, file)
        metadata = _source_metadata(kind, 16 if bits > 8 else 8, file.getexif, file.info)
        samples = _eight(file, metadata.orientation) if bits <= 8 else _sixteen(kind, data, bits, metadata.orientation)
    return samples, metadata


def _by_tifffile(kind: Kind, tiff: TiffImage, bounds: Bounds) -> tuple[Samples, SourceMetadata]:
    _check_size(tiff.size, bounds)
    if not tiff.alone:
        raise TooLarge("the TIFF has more than one page; 1 is allowed")
    metadata = _source_metadata(kind, tiff.depth, lambda: tiff.exif, tiff.info)
    colour, alpha = tiff.samples()
    turned = upright(colour, metadata.orientation)
    return Samples(turned, None if alpha is None else upright(alpha, metadata.orientation), tiff.space), metadata


@contextmanager
def _translated(kind: Kind) -> Iterator[None]:
    """Whatever a reader raises for a damaged file, as Malformed."""
    try:
        yield
    except ServiceError:
        raise
    except Image.DecompressionBombError as bomb:
        raise TooLarge("the picture has far more pixels than are allowed") from bomb
    except UnidentifiedImageError as unknown:
        if kind.name == "tiff":
            raise UnsupportedMedia(OTHER_TIFF) from unknown
        raise Malformed(f"the {kind.name} picture is damaged or cut short") from unknown
    except MemoryError as full:
        raise TooLarge("the picture needs more memory than a picture may") from full
    except Exception as broken:
        raise Malformed(f"the {kind.name} picture is damaged or cut short") from broken


def _check_jpeg(data: bytes) -> None:
    """Raises UnsupportedMedia for what only medicine and printing write, and TooLarge for a bomb of scans."""
    coding, bits = _frame_header(data)
    if coding not in BASELINE_TO_PROGRESSIVE or bits != 8:
        raise UnsupportedMedia(
            f"a JPEG of coding process {coding & 15} with {bits} bits is not read here; expected process 0, 1 or 2 with 8 bits"
        )
    scans = data.count(b"\xff\xda")
    if scans > MOST_SCANS:
        raise TooLarge(f"the JPEG has {scans} scans; at most {MOST_SCANS} are allowed")


def _frame_header(data: bytes) -> tuple[int, int]:
    """The marker of a JPEG's frame, and its bits; of a usual one where none is found, which the reader then complains of."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return marker, data[at + 4]
        at += 1 if marker == 0xFF else 2 + max(length, 2)
    return 0xC0, 8


def _check_size(size: tuple[int, int], bounds: Bounds) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise Malformed(f"a picture of {width} x {height} pixels has no content")
    if max(width, height) > bounds.max_side:
        raise TooLarge(f"the picture is {width} x {height} pixels; a side may have at most {bounds.max_side}")
    if width * height > bounds.max_pixels:
        raise TooLarge(f"the picture has {width} x {height} = {width * height} pixels; at most {bounds.max_pixels} are allowed")


def _check_frames(file: Image.Image) -> None:
    """One picture is restored at a time. A JPEG's further pictures (depth or gain maps of telephones) are no animation."""
    if file.format in {"JPEG", "MPO"}:
        return
    if file.format == "TIFF":
        try:
            file.seek(1)
        except EOFError:
            return
        raise TooLarge("the TIFF has more than one page; 1 is allowed")
    frames = getattr(file, "n_frames", 1)
    if frames > 1:
        raise TooLarge(f"the picture has {frames} frames; 1 is allowed")


def _bits(kind: Kind, data: bytes, file: Image.Image) -> int:
    """Of a sample, as far as more than 8 are read; a TIFF with more has been read elsewhere, or is not."""
    if kind.name == "png":
        return 16 if data[24] == 16 else 8
    if kind.name == "avif" and (box := data.find(b"av1C")) >= 0:
        flags = data[box + 6]
        return 8 if not flags & HIGH_BITDEPTH else 12 if flags & TWELVE_BIT else 10
    tags: Any = getattr(file, "tag_v2", {})
    if max(tags.get(Base.BitsPerSample, (1,))) > 8:
        raise UnsupportedMedia(OTHER_TIFF)
    return 8


def _source_metadata(kind: Kind, depth: Depth, read_exif: Callable[[], Image.Exif], info: Mapping[Any, Any]) -> SourceMetadata:
    exif, orientation = _exif(kind, read_exif, info)
    return SourceMetadata(
        kind=kind.name,
        depth=depth,
        orientation=orientation,
        profile=_bounded(info.get("icc_profile")),
        exif=exif,
        xmp=_bounded(info.get("xmp")),
        dpi=_dpi(info.get("dpi")),
    )


def _exif(kind: Kind, read_exif: Callable[[], Image.Exif], info: Mapping[Any, Any]) -> tuple[bytes | None, int]:
    """EXIF as bytes, and the orientation in it; (None, 1) where a camera or an editor left something unreadable."""
    try:
        exif = read_exif()
        found = exif.get(Base.Orientation, 1)
        orientation = found if isinstance(found, int) and 1 <= found <= 8 else 1
        raw = exif.tobytes() if kind.name == "tiff" else info.get("exif")
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, OSError, struct.error):
        return None, 1
    return _bounded(raw), orientation


def _bounded(raw: object) -> bytes | None:
    if isinstance(raw, str):
        raw = raw.encode()
    return bytes(raw) if isinstance(raw, bytes | bytearray) and 0 < len(raw) <= max(MOST_METADATA, colour.LARGEST_PROFILE) else None


def _dpi(found: object) -> tuple[float, float] | None:
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    across, down = float(found[0]), float(found[1])
    return (across, down) if 1 <= across < 65536 and 1 <= down < 65536 else None


def _eight(file: Image.Image, orientation: int) -> Samples:
    """8-bit samples by Pillow, which turns a TIFF upright itself."""
    tiff = file.format == "TIFF"
    transparent = file.has_transparency_data
    if file.mode in GREY_MODES:
        array = np.asarray(file.convert("LA" if transparent else "L"))
        space: Space = "gray"
    elif file.mode in COLOUR_MODES:
        array = np.asarray(file.convert("RGBA" if transparent else "RGB"))
        space = "rgb"
    elif file.mode == "LAB":
        array = np.asarray(_from_lab(file))
        space, transparent = "rgb", False
    elif file.mode == "CMYK":
        array = np.asarray(file)
        space, transparent = "cmyk", False
    else:
        raise UnsupportedMedia(f"samples of mode {file.mode} are not read here; expected 8 or 16 unsigned bits, grey or colour")
    return _split(array if tiff else upright(array, orientation), transparent, space)


def _from_lab(file: Image.Image) -> Image.Image:
    there = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    shown = ImageCms.applyTransform(file, there)
    if shown is None:
        raise UnsupportedMedia("the LAB picture cannot be turned into colour")
    return shown


def _sixteen(kind: Kind, data: bytes, bits: int, orientation: int) -> Samples:
    """More than 8 bits, which Pillow would cut to 8; 10 and 12 are stretched to 16."""
    array = np.asarray(imagecodecs.png_decode(data) if kind.name == "png" else imagecodecs.avif_decode(data))
    if bits < 16:
        levels = np.rint(np.linspace(0, 65535, 2**bits)).astype(np.uint16)
        array = levels[array]
    channels = 1 if array.ndim == 2 else array.shape[2]
    return _split(upright(array, orientation), channels in {2, 4}, "gray" if channels < 3 else "rgb")


def _split(array: NDArray[Any], transparent: bool, space: Space) -> Samples:
    if space == "gray":
        array = array[..., None] if array.ndim == 2 else array
        return Samples(array[..., 0], array[..., 1] if transparent else None, space)
    return Samples(array[..., :3] if space == "rgb" else array, array[..., 3] if transparent else None, space)


def _from_inks(inks: Pixels) -> Pixels:
    """CMYK of no known press, h w 4 -> h w 3: each ink takes its share of what black leaves."""
    top = np.float32(np.iinfo(inks.dtype).max)
    white = (top - inks[..., 3]) / top
    return np.stack([np.rint((top - inks[..., ink]) * white).astype(inks.dtype) for ink in range(3)], axis=-1)


def _in_srgb(samples: Samples, metadata: SourceMetadata) -> Picture:
    profile = metadata.profile if metadata.profile is not None and colour.usable(metadata.profile, samples.space) else None
    grey = samples.space == "gray"
    if profile is not None:
        pixels: Pixels = colour.to_srgb(samples.colour, profile, samples.space)
    elif grey:
        pixels = np.repeat(samples.colour[..., None], 3, axis=2)
    elif samples.space == "cmyk":
        pixels = _from_inks(samples.colour)
    else:
        pixels = samples.colour
    return Picture(
        np.ascontiguousarray(pixels),
        SourceMetadata(
            kind=metadata.kind,
            depth=metadata.depth,
            grey=grey,
            alpha=samples.alpha,
            orientation=metadata.orientation,
            profile=None if samples.space == "cmyk" else profile,
            exif=metadata.exif,
            xmp=metadata.xmp,
            dpi=metadata.dpi,
        ),
    )
