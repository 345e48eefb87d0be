"""Hostile bytes -> a Picture. Runs in a worker process that is killed when it takes too long or too much memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from service.errors import Malformed, ServiceError, TooLarge
from service.pictures import colour
from service.pictures.exif import Exif
from service.pictures.formats import PictureFormat, sniff
from service.pictures.picture import Bounds, Picture, Source, upright


def decode(data: bytes, bounds: Bounds) -> Picture:
    """The picture in data, whatever its name says. Raises UnsupportedMedia, TooLarge (before decoding) and Malformed."""
    record = sniff(data)
    with _translated(record):
        source: Source = record.module.read(data, bounds)
        return _in_srgb(source, record)


@contextmanager
def _translated(record: PictureFormat) -> Iterator[None]:
    """Whatever a reader raises for a damaged file, as Malformed."""
    try:
        yield
    except ServiceError:
        raise
    except Image.DecompressionBombError as bomb:
        raise TooLarge("the picture has far more pixels than are allowed") from bomb
    except MemoryError as full:
        raise TooLarge("the picture needs more memory than a picture may") from full
    except Exception as broken:
        raise Malformed(f"the {record.title} picture is damaged or cut short") from broken


def _in_srgb(source: Source, record: PictureFormat) -> Picture:
    """Upright sRGB pixels, and all that the source had beside them."""
    exif = Exif.of(source.exif) if source.exif is not None else None
    samples, working = source.samples, colour.to_working(source.samples.colour, source.samples.space, source.colours)
    orientation = _orientation(source, exif)
    further = (*source.further, "hdr") if working.tone_mapped else source.further
    return Picture(
        upright(working.pixels, orientation),
        format=record.name,
        depth=source.depth,
        grey=samples.space == "gray",
        alpha=None if samples.alpha is None else upright(samples.alpha, orientation),
        orientation=orientation,
        profile=working.profile,
        beyond=None if working.beyond is None else upright(working.beyond, orientation),
        converted=working.converted,
        exposure=None if exif is None else exif.exposure,
        places=(exif is not None and exif.tells_places) or (source.xmp is not None and _tells_places(source.xmp)),
        **(source.beside_pixels() | {"further": further}),
    )


def _tells_places(packet: bytes) -> bool:
    from service.pictures import xmp  # noqa: PLC0415 (few pictures have any, and its parser is 8 ms of a process)

    return xmp.tells_places(packet)


def _orientation(source: Source, exif: Exif | None) -> int:
    """No other text in a file turns a picture: viewers do not obey XMP or a program's own chunks."""
    if source.orientation is not None:
        return source.orientation
    return 1 if exif is None else exif.orientation
