"""TIFF files (TIFF 6.0, BigTIFF): one picture of 8 or 16 unsigned bits, grey, RGB or CMYK, with or without alpha, however laid out.

tifffile reads what is stored as whole samples; Pillow has no mode for half of these and cuts others to 8 bits. It reads the rest:
fewer bits, palettes, YCbCr, LAB, JPEG, fax. Reduced versions beside the picture (thumbnails, pyramids) are passed over; a camera
raw file, whose picture is not in any of its directories, is refused.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rddm.image import Pixels
from service.errors import Malformed, TooLarge, UnsupportedMedia
from service.pictures.colour import CHANNELS, ColourTags, Space
from service.pictures.directories import BYTE, Directory, Entry, Layout, Unreadable, below, chain, written
from service.pictures.eight_bits import resolution, samples_of
from service.pictures.exif import Exif
from service.pictures.formats import RAW, RAW_ADVICE, READ
from service.pictures.picture import Bounds, Outgoing, Samples, Source

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ORIENTATION, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 282, 283, 296, 274, 332, 338, 339
XMP, PROFILE, DNG_VERSION = 700, 34675, 50706
SPACES: dict[int, Space] = {0: "gray", 1: "gray", 2: "rgb", 5: "cmyk"}  # by PhotometricInterpretation
WHITE_IS_ZERO = 0
# Compression whose samples are those that the directory describes, and how it is called
PLAIN_CODES = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
RAW_MOSAICS, RAW_CODES = {32803, 34892}, {32767, 32769, 32770, 32867, 34713, 65535}  # PhotometricInterpretation, Compression
REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # SubfileType
ASSOCIATED, STRAIGHT = 1, 2  # ExtraSamples: colours are multiplied by alpha, or not
CENTIMETRES = 2.54
OTHER_TIFF = (
    "a TIFF of this layout is not read here; expected 1 to 8 bits, or 16 unsigned bits grey, RGB or CMYK, with or without alpha"
)


def read(data: bytes, bounds: Bounds) -> Source:
    """Raises TooLarge for more than one page, UnsupportedMedia for samples that would be cut and for camera raw files."""
    try:
        page = _page(data)
    except Unreadable as broken:
        raise Malformed("the TIFF picture is damaged or cut short") from broken
    bounds.check(page.integer(WIDTH), page.integer(LENGTH))
    samples, depth = _samples(_single(data, page), page)
    exif = Exif.in_directory(data, page)
    return Source(
        samples,
        depth,
        ColourTags(profile=_bytes(page, PROFILE)),
        exif=exif.block(),
        xmp=_bytes(page, XMP),
        dpi=_dpi(page),
    )


def _page(data: bytes) -> Directory:
    """The directory of the one picture."""
    directories = list(chain(data))
    beneath = [sub for directory in directories for sub in below(data, directory)]
    if data[8:10] == b"CR" or any(_is_raw(one) for one in (*directories, *beneath)):
        raise UnsupportedMedia(f"{RAW} is not read here; expected {READ}{RAW_ADVICE}")
    pages = [one for one in directories if _is_page(one)] or [one for one in beneath if _is_page(one)] or directories[:1]
    if len(pages) > 1:
        raise TooLarge("the TIFF has more than one page; 1 is allowed")
    if not pages:
        raise Unreadable("no directory")
    return pages[0]


def _is_raw(directory: Directory) -> bool:
    return (
        DNG_VERSION in directory.entries
        or directory.integer(PHOTOMETRIC, -1) in RAW_MOSAICS
        or directory.integer(COMPRESSION) in RAW_CODES
    )


def _is_page(directory: Directory) -> bool:
    """Whether it is a picture by itself: no thumbnail, level of a pyramid or mask of another."""
    kind = directory.integer(NEW_SUBFILE_TYPE)
    return not kind & (REDUCED | MASK) and directory.integer(SUBFILE_TYPE) != OLD_REDUCED and WIDTH in directory.entries


def _single(data: bytes, page: Directory) -> bytes:
    """The file, with that directory as its first and only one, for readers that take the first."""
    layout, single = Layout.of(data), bytearray(data)
    layout.set_place(single, layout.first_at, page.at)
    if page.next_at + (8 if layout.big else 4) <= len(single):
        layout.set_place(single, page.next_at, 0)
    return bytes(single)


def _samples(data: bytes, page: Directory) -> tuple[Samples, Any]:
    """Samples, and their depth."""
    bits, formats = set(page.integers(BITS) or (1,)), set(page.integers(SAMPLE_FORMAT) or (1,))
    is_plain = page.integer(COMPRESSION, 1) in PLAIN_CODES and page.integer(INK_SET, 1) == 1
    if is_plain and page.integer(PHOTOMETRIC, -1) in SPACES and formats == {1} and bits in ({8}, {16}):
        return _by_tifffile(data, page), 16 if bits == {16} else 8
    if max(bits) > 8:
        raise UnsupportedMedia(_why_not(page))
    return _by_pillow(data, page), 8


def _why_not(page: Directory) -> str:
    code = page.integer(COMPRESSION, 1)
    if code in PLAIN_CODES:
        return OTHER_TIFF
    return f"a TIFF of compression {code} is not read here; expected {', '.join(dict.fromkeys(PLAIN_CODES.values()))}, JPEG or fax"


def _by_pillow(data: bytes, page: Directory) -> Samples:
    """Pillow turns a TIFF upright when it loads it, unless a flag says that it need not."""
    try:
        with Image.open(BytesIO(_as_stored(data)), formats=["TIFF"]) as file:
            return samples_of(file)
    except UnidentifiedImageError as unknown:
        raise UnsupportedMedia(_why_not(page)) from unknown


def _as_stored(data: bytes) -> bytes:
    """The file, without saying how it is to be turned."""
    layout = Layout.of(data)
    directory = layout.directory(data, layout.place(data, layout.first_at))
    if directory.integer(ORIENTATION, 1) == 1:
        return data
    start = directory.at + (8 if layout.big else 2)
    step, value_at = (20, 12) if layout.big else (12, 8)
    changed = bytearray(data)
    for at in range(start, directory.next_at, step):
        (tag, kind) = struct.unpack_from(f"{layout.order}HH", data, at)
        if tag == ORIENTATION:
            struct.pack_into(f"{layout.order}{'H' if kind == 3 else 'I'}", changed, at + value_at, 1)
    return bytes(changed)


def _by_tifffile(data: bytes, directory: Directory) -> Samples:
    """Samples as they are stored. What the file calls neither colour nor alpha is left out."""
    with tifffile.TiffFile(BytesIO(data)) as file:
        page: Any = file.pages[0]
        array: NDArray[Any] = np.asarray(page.asarray())
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
    array = array[..., None] if array.ndim == 2 else array
    photometric = directory.integer(PHOTOMETRIC)
    space = SPACES[photometric]
    count = CHANNELS[space]
    if array.ndim != 3 or array.shape[2] < count:
        raise ValueError(f"samples of shape {array.shape}")
    alpha, kind = _alpha(array[..., count:], directory)
    colour = array[..., :count]
    if photometric == WHITE_IS_ZERO:
        colour = np.iinfo(colour.dtype).max - colour
    if alpha is not None and kind == ASSOCIATED:
        colour = divided(colour, alpha)
    return Samples(colour[..., 0] if count == 1 else colour, alpha, space)


def _alpha(further: Pixels, directory: Directory) -> tuple[Pixels | None, int]:
    """The first of the further samples that is alpha, and of which kind; the first where the file is silent about them."""
    kinds = directory.integers(EXTRA_SAMPLES) or ((STRAIGHT,) if further.shape[2] else ())
    for index, kind in enumerate(kinds[: further.shape[2]]):
        if kind in {ASSOCIATED, STRAIGHT}:
            return further[..., index], kind
    return None, 0


def divided(colour: Pixels, alpha: Pixels) -> Pixels:
    """Colours h w c that were multiplied by alpha h w, without it; 0 where nothing shows."""
    top = np.float32(np.iinfo(colour.dtype).max)
    share = np.divide(top, alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0)
    return np.asarray(np.rint(colour * share[..., None]).clip(0, top), colour.dtype)


def _bytes(directory: Directory, tag: int) -> bytes | None:
    return directory.entries[tag].data if tag in directory.entries else None


def _dpi(directory: Directory) -> tuple[float, float] | None:
    unit = directory.integer(RESOLUTION_UNIT, 2)
    across, down = (directory.entries[tag].number if tag in directory.entries else None for tag in (X_RESOLUTION, Y_RESOLUTION))
    if across is None or down is None or unit == 1:
        return None
    scale = CENTIMETRES if unit == 3 else 1.0
    return resolution(across * scale, down * scale)


def write(outgoing: Outgoing) -> bytes:
    """8 or 16 bits, deflated, with profile, resolution, XMP, and EXIF: texts beside the picture's layout, the rest beneath it."""
    exif = (Exif.of(outgoing.exif) if outgoing.exif is not None else None) or Exif(Directory({}))
    tags = {**exif.root.entries, ORIENTATION: Entry.short(outgoing.orientation)}
    if outgoing.xmp is not None:
        tags[XMP] = Entry(BYTE, len(outgoing.xmp), outgoing.xmp)
    return _with_tags(_plain(outgoing), tags, exif.children)


def _plain(outgoing: Outgoing) -> bytes:
    file = BytesIO()
    tifffile.imwrite(
        file,
        outgoing.samples,
        photometric="minisblack" if outgoing.is_grey else "rgb",
        planarconfig="contig" if outgoing.channels > 1 else None,
        extrasamples=["unassalpha"] if outgoing.channels in {2, 4} else None,
        compression="zlib",
        predictor=True,
        iccprofile=outgoing.profile,
        resolution=outgoing.dpi,
        resolutionunit="INCH" if outgoing.dpi else None,
        metadata=None,
        software=False,
        byteorder="<",
        bigtiff=False,
    )
    return file.getvalue()


def _with_tags(data: bytes, tags: Mapping[int, Entry], children: Mapping[int, Directory]) -> bytes:
    """A little-endian file with more tags, and directories beneath some of them, which tifffile does not write.

    Its directory is written anew at its end.
    """
    layout, whole = Layout.of(data), bytearray(data) + b"\0" * (len(data) % 2)
    directory = layout.directory(data, layout.place(data, layout.first_at)).with_entries(tags)
    layout.set_place(whole, layout.first_at, len(whole))
    return bytes(whole + written(directory, len(whole), children))
