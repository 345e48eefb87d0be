"""AVIF files (AV1 Image File Format 1.1): 8 bits by Pillow, 10 and 12 by imagecodecs, as Pillow would cut them."""

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.pictures.colour import ColourTags
from service.pictures.eight_bits import check_frames, metadata_in, samples_of, saved
from service.pictures.exif import PREFIX, Exif
from service.pictures.files.boxes import colours_of, item_types, primary_properties
from service.pictures.files.heif_items import with_metadata
from service.pictures.picture import Bounds, Outgoing, Samples, Source

HIGH_BITDEPTH, TWELVE_BIT = 0x40, 0x20  # of an AV1 configuration
GAIN_MAP_ITEM = b"tmap"

BEST = 100  # of quality
RED_GREEN_BLUE, BT601 = 0, 6  # matrix coefficients of ITU-T H.273


def read(data: bytes, bounds: Bounds) -> Source:
    """What turns it is said by its container, which Pillow gives as an orientation in EXIF."""
    properties = primary_properties(data)
    profile, points = colours_of(properties)
    bits = _bits(data)
    with Image.open(BytesIO(data), formats=["AVIF"]) as file:
        bounds.check(*file.size)
        check_frames(file)
        samples = samples_of(file) if bits == 8 else sixteen(np.asarray(imagecodecs.avif_decode(data)), bits)
        info: dict[Any, Any] = file.info
        metadata = metadata_in(info)
    return Source(
        samples,
        8 if bits == 8 else 16,
        ColourTags(profile=profile or info.get("icc_profile"), code_points=points),
        further=("gain-map",) if GAIN_MAP_ITEM in item_types(data) else (),
        **metadata,
    )


def _bits(data: bytes) -> int:
    """Of a sample."""
    box = data.find(b"av1C")
    flags = data[box + 6] if 0 <= box < len(data) - 6 else 0
    return 8 if not flags & HIGH_BITDEPTH else 12 if flags & TWELVE_BIT else 10


def sixteen(array: NDArray[Any], bits: int) -> Samples:
    """Samples h w or h w c of 10 or 12 bits, stretched to 16."""
    levels = np.rint(np.linspace(0, 65535, 2**bits)).astype(np.uint16)
    stretched = levels[array] if bits < 16 else array
    stretched = stretched[..., None] if stretched.ndim == 2 else stretched
    channels = stretched.shape[2]
    if channels < 3:
        return Samples(stretched[..., 0], stretched[..., 1] if channels == 2 else None, "gray")
    return Samples(stretched[..., :3], stretched[..., 3] if channels == 4 else None, "rgb")


def write(outgoing: Outgoing) -> bytes:
    """8 bits, or 12 where there are more; at quality 100 without loss."""
    return _eight(outgoing) if outgoing.samples.dtype == np.uint8 and outgoing.quality != BEST else _coded(outgoing)


def _eight(outgoing: Outgoing) -> bytes:
    """Pillow turns an orientation in EXIF into one of the container."""
    options: dict[str, Any] = {"max_threads": 1, "subsampling": "4:0:0" if outgoing.is_grey else "4:4:4"}
    if outgoing.exif is not None:
        options["exif"] = PREFIX + outgoing.exif
    if outgoing.xmp is not None:
        options["xmp"] = outgoing.xmp
    return saved(outgoing, "AVIF", **options)


def _coded(outgoing: Outgoing) -> bytes:
    """By libavif itself; at quality 100 as red, green and blue, since 8 bits of brightness and colour lose a level."""
    quality = outgoing.quality or outgoing.record.options["quality"]
    bits = 8 if outgoing.samples.dtype == np.uint8 else 12
    deep = np.rint(outgoing.samples * np.float32(4095 / 65535)).astype(np.uint16) if bits == 12 else outgoing.samples
    plain = bytes(
        imagecodecs.avif_encode(
            deep,
            level=quality,
            speed=outgoing.record.options["speed"],
            bitspersample=bits,
            pixelformat="400" if outgoing.is_grey else "444",
            primaries=1,
            transfer=13,
            matrix=RED_GREEN_BLUE if quality == BEST and not outgoing.is_grey else BT601,
            numthreads=1,
        )
    )
    exif = Exif.of(outgoing.exif) if outgoing.exif is not None else None
    block = None if exif is None else exif.without_orientation().block()
    return with_metadata(plain, block, outgoing.xmp, outgoing.profile, outgoing.orientation)
