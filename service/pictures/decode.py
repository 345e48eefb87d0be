"""Hostile bytes -> a Picture. Runs in a worker process that is killed when it takes too long or too much memory."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base

from rddm.image import Depth, Pixels
from service.errors import Malformed, ServiceError, TooLarge, UnsupportedMedia
from service.pictures import colour
from service.pictures.colour import Space
from service.pictures.kinds import Kind, sniff
from service.pictures.picture import Keepsake, Picture, upright

MOST_SCANS = 200  # a progressive JPEG has about ten; each one costs a pass over the whole picture
MOST_METADATA = 1024 * 1024
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
    _check_scans(kind, data)
    with _opened(data, kind) as file:
        _check_size(file.size, bounds)
        _check_frames(file)
        depth = _depth(kind, data, file)
        kept = _keepsake(kind, depth, file)
        samples = _sixteen(kind, data, kept.orientation) if depth == 16 else _eight(file, kept.orientation)
    return _in_srgb(samples, kept)


@contextmanager
def _opened(data: bytes, kind: Kind) -> Iterator[Image.Image]:
    """The doorway at which whatever a reader raises for a damaged file becomes Malformed."""
    try:
        with Image.open(BytesIO(data), formats=kind.readers) as file:
            yield file
    except ServiceError:
        raise
    except Image.DecompressionBombError as bomb:
        raise TooLarge("the picture has far more pixels than are allowed") from bomb
    except UnidentifiedImageError as unknown:
        if kind.name == "tiff":
            raise UnsupportedMedia(
                "a TIFF of this layout is not read here; expected 8 bits, or 16 bits grey, RGB or RGBA"
            ) from unknown
        raise Malformed(f"the {kind.name} picture is damaged or cut short") from unknown
    except MemoryError as full:
        raise TooLarge("the picture needs more memory than a picture may") from full
    except Exception as broken:
        raise Malformed(f"the {kind.name} picture is damaged or cut short") from broken


def _check_scans(kind: Kind, data: bytes) -> None:
    scans = data.count(b"\xff\xda") if kind.name == "jpeg" else 0
    if scans > MOST_SCANS:
        raise TooLarge(f"the JPEG has {scans} scans; at most {MOST_SCANS} are allowed")


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


def _depth(kind: Kind, data: bytes, file: Image.Image) -> Depth:
    if kind.name == "png":
        return 16 if data[24] == 16 else 8
    if kind.name != "tiff":
        return 8
    tags: Any = getattr(file, "tag_v2", {})
    return 16 if set(tags.get(Base.BitsPerSample, (1,))) == {16} and set(tags.get(Base.SampleFormat, (1,))) == {1} else 8


def _keepsake(kind: Kind, depth: Depth, file: Image.Image) -> Keepsake:
    exif, orientation = _exif(kind, file)
    return Keepsake(
        kind=kind.name,
        depth=depth,
        orientation=orientation,
        profile=_bounded(file.info.get("icc_profile")),
        exif=exif,
        xmp=_bounded(file.info.get("xmp")),
        dpi=_dpi(file.info.get("dpi")),
    )


def _exif(kind: Kind, file: Image.Image) -> tuple[bytes | None, int]:
    """EXIF as bytes, and the orientation in it; (None, 1) where a camera or an editor left something unreadable."""
    try:
        exif = file.getexif()
        found = exif.get(Base.Orientation, 1)
        orientation = found if isinstance(found, int) and 1 <= found <= 8 else 1
        raw = exif.tobytes() if kind.name == "tiff" else file.info.get("exif")
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


def _sixteen(kind: Kind, data: bytes, orientation: int) -> Samples:
    """16-bit samples, which Pillow would cut to 8 bits unless they are grey."""
    array = np.asarray(imagecodecs.png_decode(data)) if kind.name == "png" else _sixteen_tiff(data)
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels > 4:
        raise UnsupportedMedia(f"the picture has {channels} channels; expected 1 to 4")
    return _split(upright(array, orientation), channels in {2, 4}, "gray" if channels < 3 else "rgb")


def _sixteen_tiff(data: bytes) -> NDArray[np.uint16]:
    with tifffile.TiffFile(BytesIO(data)) as file:
        page: Any = file.pages[0]
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        if photometric not in {"MINISBLACK", "MINISWHITE", "RGB"}:
            raise UnsupportedMedia(f"a 16-bit TIFF of {photometric} samples is not read here; expected grey or RGB")
        array = np.asarray(page.asarray(), dtype=np.uint16)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
    return 65535 - array if photometric == "MINISWHITE" else array


def _split(array: NDArray[Any], transparent: bool, space: Space) -> Samples:
    if space == "gray":
        array = array[..., None] if array.ndim == 2 else array
        return Samples(array[..., 0], array[..., 1] if transparent else None, space)
    return Samples(array[..., :3] if space == "rgb" else array, array[..., 3] if transparent else None, space)


def _in_srgb(samples: Samples, kept: Keepsake) -> Picture:
    profile = kept.profile if kept.profile is not None and colour.usable(kept.profile, samples.space) else None
    grey = samples.space == "gray"
    if profile is not None:
        pixels: Pixels = colour.to_srgb(samples.colour, profile, samples.space)
    elif grey:
        pixels = np.repeat(samples.colour[..., None], 3, axis=2)
    elif samples.space == "cmyk":
        pixels = np.asarray(Image.fromarray(np.asarray(samples.colour, np.uint8), "CMYK").convert("RGB"))
    else:
        pixels = samples.colour
    return Picture(
        np.ascontiguousarray(pixels),
        Keepsake(
            kind=kept.kind,
            depth=kept.depth,
            grey=grey,
            alpha=samples.alpha,
            orientation=kept.orientation,
            profile=None if samples.space == "cmyk" else profile,
            exif=kept.exif,
            xmp=kept.xmp,
            dpi=kept.dpi,
        ),
    )
