"""What formats share that Pillow reads and writes: 8-bit samples out of its modes, files out of samples, metadata."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from service.errors import TooLarge, UnsupportedMedia
from service.pictures.exif import PREFIX
from service.pictures.picture import Outgoing, Samples

GREY_MODES = {"1", "L", "LA", "La"}
COLOUR_MODES = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr"}
MOST_METADATA = 4 * 1024 * 1024


def samples_of(file: Image.Image) -> Samples:
    """8-bit samples as they are stored. Raises UnsupportedMedia for a mode of more bits."""
    transparent = file.has_transparency_data
    if file.mode in GREY_MODES:
        grey = np.asarray(file.convert("LA" if transparent else "L"))
        return Samples(grey[..., 0], grey[..., 1], "gray") if transparent else Samples(grey, None, "gray")
    if file.mode in COLOUR_MODES:
        colour = np.asarray(file.convert("RGBA" if transparent else "RGB"))
        return Samples(colour[..., :3], colour[..., 3] if transparent else None, "rgb")
    if file.mode == "LAB":
        return Samples(np.asarray(_from_lab(file)), None, "rgb")
    if file.mode == "CMYK":
        return Samples(np.asarray(file), None, "cmyk")
    raise UnsupportedMedia(f"samples of mode {file.mode} are not read here; expected 8 or 16 unsigned bits, grey or colour")


def _from_lab(file: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    shown = ImageCms.applyTransform(file, transform)
    if shown is None:
        raise UnsupportedMedia("the LAB picture cannot be turned into colour")
    return shown


def check_frames(file: Image.Image) -> None:
    """One picture is restored at a time. Raises TooLarge for an animation."""
    frames = getattr(file, "n_frames", 1)
    if frames > 1:
        raise TooLarge(f"the picture has {frames} frames; 1 is allowed")


def metadata_in(info: Mapping[Any, Any]) -> dict[str, Any]:
    """EXIF, XMP and resolution as Pillow's readers give them, under the names of Source."""
    exif, xmp = _bounded(info.get("exif")), _bounded(info.get("xmp"))
    dpi = info.get("dpi")
    return {
        "exif": None if exif is None else exif.removeprefix(PREFIX),
        "xmp": xmp,
        "dpi": resolution(float(dpi[0]), float(dpi[1])) if isinstance(dpi, tuple) and len(dpi) == 2 else None,
    }


def _bounded(raw: object) -> bytes | None:
    if isinstance(raw, str):
        raw = raw.encode()
    return bytes(raw) if isinstance(raw, bytes | bytearray) and 0 < len(raw) <= MOST_METADATA else None


def resolution(across: float, down: float) -> tuple[float, float] | None:
    """Pixels per inch; None for what cannot be."""
    return (across, down) if 1 <= across < 65536 and 1 <= down < 65536 else None


def saved(outgoing: Outgoing, pillow_format: str, **options: Any) -> bytes:
    """A file of 8-bit samples."""
    options = {**outgoing.record.options, **options}
    if outgoing.profile is not None:
        options["icc_profile"] = outgoing.profile
    if outgoing.quality is not None:
        options["quality"] = outgoing.quality
    file = BytesIO()
    Image.fromarray(outgoing.samples).save(file, pillow_format, **options)
    return file.getvalue()
