"""WebP files (RFC 9649)."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

from service.pictures.colour import ColourTags
from service.pictures.eight_bits import check_frames, metadata_in, samples_of, saved
from service.pictures.picture import Bounds, Outgoing, Source

LOSSLESS = b"VP8L"


def read(data: bytes, bounds: Bounds) -> Source:
    """8 bits, with or without alpha."""
    with Image.open(BytesIO(data), formats=["WEBP"]) as file:
        bounds.check(*file.size)
        check_frames(file)
        samples = samples_of(file)
        info: dict[Any, Any] = file.info
        metadata = metadata_in(info)
    return Source(
        samples,
        8,
        ColourTags(profile=info.get("icc_profile")),
        lossless=LOSSLESS in _chunks(data),
        **metadata,
    )


def _chunks(data: bytes) -> Iterator[bytes]:
    """The names of a RIFF file's chunks."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def write(outgoing: Outgoing) -> bytes:
    """Lossless if that is asked for."""
    options: dict[str, Any] = {"lossless": True, "quality": 60} if outgoing.lossless else {}
    if outgoing.exif is not None:
        options["exif"] = outgoing.exif
    if outgoing.xmp is not None:
        options["xmp"] = outgoing.xmp
    return saved(outgoing, "WEBP", **options)
