"""A picture that was worked on -> a file like the one that came: profile, alpha, grey, depth, orientation, metadata."""

import numpy as np

from rddm.image import Depth, Pixels
from service.pictures import colour, xmp
from service.pictures.cicp import BT709, Chromaticities
from service.pictures.directories import Directory
from service.pictures.exif import Exif
from service.pictures.files import png, png_file
from service.pictures.formats import PictureFormat, Policy
from service.pictures.picture import Outgoing, Picture, as_stored

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
TURNED_BY_READERS = {"avif", "heic", "jxl"}  # an orientation in EXIF or XMP says nothing there: the container turns the picture


def encode(
    picture: Picture,
    record: PictureFormat,
    policy: Policy = "keep",
    quality: int | None = None,
    lossless: bool | None = None,
) -> bytes:
    """A picture as a file of that format, with all that it had beside its pixels as far as the format can hold it.

    Alpha in a format without it is laid on white; samples lose the bits that a format has not. `keep` is all metadata but places,
    `none` no metadata at all, and then the picture is upright in the file; the colour profile always stays. quality (1..100),
    lossless: as usual if None.
    """
    outgoing = outgoing_of(picture, record, policy, quality, lossless)
    if record.name == "png":
        return png.write(outgoing.samples, png_file.chunks_of(outgoing))
    return bytes(record.module.write(outgoing))


def outgoing_of(
    picture: Picture,
    record: PictureFormat,
    policy: Policy = "keep",
    quality: int | None = None,
    lossless: bool | None = None,
) -> Outgoing:
    """What the format's writer is given."""
    depth: Depth = 16 if picture.depth == 16 and record.depth > 8 else 8
    profile, chromaticities = _primaries(picture, record)
    samples = _with_alpha(_at_depth(_colours(picture, profile), depth), picture, record, depth)
    orientation = 1 if policy == "none" or record.upright else picture.orientation
    samples = as_stored(samples, orientation)
    kept = keeps_gain_map(picture, record, policy)
    return Outgoing(
        samples,
        record,
        profile=profile if record.profiles else None,
        chromaticities=chromaticities,
        orientation=orientation,
        exif=exif_for(picture, record, policy, orientation, (samples.shape[1], samples.shape[0])),
        xmp=xmp_for(picture, record, policy),
        dpi=picture.dpi,
        quality=quality,
        lossless=is_lossless(picture, record, quality, lossless),
        gain_map=picture.gain_map if kept else None,
    )


def _primaries(picture: Picture, record: PictureFormat) -> tuple[bytes | None, Chromaticities]:
    """The profile to write in, and for a format without profiles the primaries of one of the same gamut."""
    if picture.profile is None or record.profiles:
        return picture.profile, BT709
    if picture.grey:
        return None, BT709
    chromaticities = colour.chromaticities_of(picture.profile)
    return colour.wide_profile(chromaticities), chromaticities


def is_lossless(picture: Picture, record: PictureFormat, quality: int | None = None, lossless: bool | None = None) -> bool:
    """As asked for; else as the source was, if it was of the same format."""
    if lossless is not None:
        return lossless
    return picture.lossless and record.name == picture.format and quality is None


def keeps_gain_map(picture: Picture, record: PictureFormat, policy: Policy) -> bool:
    """Whether the answer has the source's: where it is a JPEG that may speak of it."""
    return picture.gain_map is not None and record.name == "jpeg" and policy != "none"


def left_out(picture: Picture, record: PictureFormat, policy: Policy) -> tuple[str, ...]:
    """Names, as in service.pictures.picture.LEFT_OUT, of the parts of the source that such an answer has not."""
    lost = picture.gain_map is not None and not keeps_gain_map(picture, record, policy)
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
    return np.asarray(np.rint(channels * share + 255 * (1 - share)), np.uint8).squeeze()


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
    return xmp.travelling(picture.xmp, places=policy == "all", turned=picture.format in TURNED_BY_READERS or record.upright)
