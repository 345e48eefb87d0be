"""A picture that was worked on -> a file like the one that came: profile, alpha, grey, depth, orientation, metadata."""

import numpy as np

from rddm.image import Depth, Pixels
from service.errors import TooLarge
from service.pictures import colour
from service.pictures.cicp import BT709, Chromaticities
from service.pictures.directories import Directory
from service.pictures.exif import Exif
from service.pictures.formats import AS_USUAL, FileWishes, PictureFormat, Policy
from service.pictures.picture import Outgoing, Picture, as_stored

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
TURNED_BY_READERS = {"avif", "heic", "jxl"}  # an orientation in EXIF or XMP says nothing there: the container turns the picture


def encode(picture: Picture, record: PictureFormat, wishes: FileWishes = AS_USUAL) -> bytes:
    """A picture as a file of that format, with all that it had beside its pixels as far as the format can hold it.

    Alpha in a format without it is laid on white; samples lose the bits that a format has not; the colour profile always stays.
    """
    return bytes(record.module.write(outgoing_of(picture, record, wishes)))


def outgoing_of(picture: Picture, record: PictureFormat, wishes: FileWishes = AS_USUAL) -> Outgoing:
    """What the format's writer is given. Raises TooLarge for a picture that a file of the format cannot hold."""
    height, width = picture.pixels.shape[:2]
    if max(height, width) > record.most_side:
        most = f"a side of a {record.title} file has at most {record.most_side}"
        raise TooLarge(f"the result is {width} x {height} pixels; {most}; expected another format")
    profile, chromaticities = _primaries(picture, record)
    orientation = orientation_in(picture, record, wishes)
    samples = as_stored(samples_of(picture, record), orientation)
    return Outgoing(
        samples,
        record,
        profile=profile if record.profiles else None,
        chromaticities=chromaticities,
        orientation=orientation,
        exif=exif_for(picture, record, wishes.metadata, orientation, (samples.shape[1], samples.shape[0])),
        xmp=xmp_for(picture, record, wishes.metadata),
        dpi=picture.dpi,
        quality=wishes.file_quality,
        lossless=is_lossless(picture, record, wishes),
        gain_map=picture.gain_map if keeps_gain_map(picture, record, wishes) else None,
    )


def samples_of(picture: Picture, record: PictureFormat) -> Pixels:
    """Upright samples as such a file holds them: h w or h w c, alpha last, uint8 or uint16."""
    depth: Depth = 16 if picture.depth == 16 and record.depth > 8 else 8
    profile, _ = _primaries(picture, record)
    return _with_alpha(_at_depth(_colours(picture, profile), depth), picture, record, depth)


def orientation_in(picture: Picture, record: PictureFormat, wishes: FileWishes) -> int:
    """The EXIF value 1..8 in which the file holds the picture."""
    return 1 if wishes.metadata == "none" or record.upright else picture.orientation


def size_in(picture: Picture, record: PictureFormat, wishes: FileWishes) -> tuple[int, int]:
    """Height and width of the samples in the file."""
    height, width = picture.size
    return (height, width) if orientation_in(picture, record, wishes) < 5 else (width, height)


def _primaries(picture: Picture, record: PictureFormat) -> tuple[bytes | None, Chromaticities]:
    """The profile to write in, and for a format without profiles the primaries of one of the same gamut."""
    if picture.profile is None or record.profiles:
        return picture.profile, BT709
    if picture.grey:
        return None, BT709
    chromaticities = colour.chromaticities_of(picture.profile)
    return colour.wide_profile(chromaticities), chromaticities


def is_lossless(picture: Picture, record: PictureFormat, wishes: FileWishes = AS_USUAL) -> bool:
    """As asked for; else as the source was, if it was of the same format."""
    if wishes.lossless is not None:
        return wishes.lossless
    return picture.lossless and record.name == picture.format and wishes.file_quality is None


def keeps_gain_map(picture: Picture, record: PictureFormat, wishes: FileWishes) -> bool:
    """Whether the answer has the source's: where it is a JPEG that may speak of it."""
    return picture.gain_map is not None and record.name == "jpeg" and wishes.metadata != "none"


def left_out(picture: Picture, record: PictureFormat, wishes: FileWishes = AS_USUAL) -> tuple[str, ...]:
    """Names, as in service.pictures.picture.LEFT_OUT, of the parts of the source that such an answer has not."""
    lost = picture.gain_map is not None and not keeps_gain_map(picture, record, wishes)
    return ("gain-map", *picture.further) if lost else picture.further


def _colours(picture: Picture, profile: bytes | None) -> Pixels:
    """sRGB -> the profile, or plain grey: h w 3, or h w."""
    if profile is not None:
        numbers = colour.from_srgb(picture.pixels, profile, "gray" if picture.grey else "rgb")
        return numbers if picture.beyond is None else colour.put_back(numbers, picture.beyond)
    if picture.grey:
        return np.asarray(np.rint(np.einsum("hwc,c->hw", picture.pixels, LUMA)), picture.pixels.dtype)
    return picture.pixels


def _at_depth(samples: Pixels, depth: int) -> Pixels:
    if depth == 16:
        return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)
    return samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _with_alpha(samples: Pixels, picture: Picture, record: PictureFormat, depth: int) -> Pixels:
    if picture.alpha is None:
        return samples
    alpha = _at_depth(picture.alpha, depth)
    channels = samples[..., None] if samples.ndim == 2 else samples
    if record.alpha:
        return np.concatenate([channels, alpha[..., None]], axis=2)
    share = alpha[..., None].astype(np.float32) / 255
    laid = np.asarray(np.rint(channels * share + 255 * (1 - share)), np.uint8)
    return laid[..., 0] if samples.ndim == 2 else laid


def exif_for(picture: Picture, record: PictureFormat, policy: Policy, orientation: int, size: tuple[int, int]) -> bytes | None:
    """The EXIF to write, a TIFF block: without places unless all is asked for, and true of the answer."""
    if policy == "none":
        return None
    exif = (Exif.of(picture.exif) if picture.exif is not None else None) or Exif(Directory({}))
    if policy != "all":
        exif = exif.without_places()
    elif record.name != "tiff":
        exif = exif.without_geography()
    if picture.converted and picture.profile is None:
        exif = exif.as_srgb()
    return exif.turned(orientation).sized(*size).block()


def xmp_for(picture: Picture, record: PictureFormat, policy: Policy) -> bytes | None:
    """The XMP packet to write; without places unless all is asked for."""
    if picture.xmp is None or policy == "none":
        return None
    from service.pictures import xmp  # noqa: PLC0415 (few pictures have any, and its parser is 8 ms of a process)

    return xmp.travelling(picture.xmp, places=policy == "all", turned=picture.format in TURNED_BY_READERS or record.upright)
