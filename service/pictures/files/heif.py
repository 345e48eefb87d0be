"""HEIC files (ISO/IEC 23008-12 with HEVC), as telephones write them; only read, with the extra `heif` (pi-heif)."""

from typing import Any

import numpy as np

from service.errors import UnsupportedMedia
from service.pictures.colour import CodePoints, ColourTags
from service.pictures.exif import PREFIX, Exif
from service.pictures.files.avif import sixteen
from service.pictures.files.boxes import colours_of, item_types, primary_properties
from service.pictures.files.tiff import divided
from service.pictures.picture import Bounds, Outgoing, Samples, Source

MISSING = "a HEIC picture needs the extra `heif` to be read: pip install 'rddm-serve[heif]'"
GAIN_MAPS = ("urn:com:apple:photo:2020:aux:hdrgainmap", "urn:iso:std:iso:ts:21496:-1")


def read(data: bytes, bounds: Bounds) -> Source:
    """The primary picture, which libheif turns upright. Raises UnsupportedMedia where pi-heif is not installed."""
    image = _opened(data)
    bounds.check(*image.size)
    samples, depth = _samples(image)
    exif = image.info.get("exif")
    block = Exif.of(exif.removeprefix(PREFIX)) if exif else None
    return Source(
        samples,
        depth,
        _colours(data, image.info),
        orientation=1,
        exif=None if block is None else block.turned(1).block(),
        xmp=image.info.get("xmp"),
        further=_further(data, image.info),
    )


def _opened(data: bytes) -> Any:
    try:
        import pi_heif  # noqa: PLC0415  (an extra)
    except ImportError as missing:
        raise UnsupportedMedia(MISSING) from missing
    return pi_heif.open_heif(data, convert_hdr_to_8bit=False)


def _samples(image: Any) -> tuple[Samples, Any]:
    array = np.array(image)
    samples = sixteen(array, 16)
    if image.premultiplied_alpha and samples.alpha is not None:
        colour = samples.colour if samples.colour.ndim == 3 else samples.colour[..., None]
        straight = divided(colour, samples.alpha)
        samples = Samples(straight if samples.space == "rgb" else straight[..., 0], samples.alpha, samples.space)
    return samples, 8 if array.dtype == np.uint8 else 16


def _colours(data: bytes, info: Any) -> ColourTags:
    profile, points = colours_of(primary_properties(data))
    nclx = info.get("nclx_profile")
    if points is None and nclx:
        points = CodePoints(int(nclx["color_primaries"]), int(nclx["transfer_characteristics"]))
    return ColourTags(profile=profile or info.get("icc_profile"), code_points=points)


def _further(data: bytes, info: Any) -> tuple[str, ...]:
    """Names of what else the file holds."""
    kinds = set(info.get("aux", {}))
    named = []
    if kinds & set(GAIN_MAPS) or b"tmap" in item_types(data):
        named.append("gain-map")
    if info.get("depth_images") or kinds - set(GAIN_MAPS):
        named.append("further-pictures")
    return tuple(named)


def write(_: Outgoing) -> bytes:
    """Nothing here writes HEVC: its encoders are under the GPL or need licences."""
    raise UnsupportedMedia("HEIC is not written here")
