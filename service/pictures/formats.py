"""The picture formats, one record each: everything that the service says about a format is said here, once.

Requests, negotiation, the command line, the page and the OpenAPI document derive their lists from FORMATS. A new format is a record
and the module that its `codec` names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol

from service.errors import InvalidValue, UnsupportedMedia

Policy = Literal["keep", "all", "none"]  # what becomes of a file's metadata; keep: all but places
AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JXL_CODESTREAM, JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"


class FileWishes(Protocol):
    """How a picture's file is wanted. Requests' parameters say it; where there is no request, FileOptions do."""

    @property
    def metadata(self) -> Policy:
        """What becomes of the metadata; for `none` the picture is also upright in the file."""
        ...

    @property
    def file_quality(self) -> int | None:
        """1..100, or None for the format's own."""
        ...

    @property
    def lossless(self) -> bool | None:
        """Whether to write without loss, or None for as usual."""
        ...


@dataclass(frozen=True)
class FileOptions:
    """See FileWishes."""

    metadata: Policy = "keep"
    file_quality: int | None = None
    lossless: bool | None = None


AS_USUAL = FileOptions()


@dataclass(frozen=True)
class PictureFormat:
    """A picture format.

    name: in requests. title: in sentences. media_types and suffixes: the ones that are written come first. matches: whether a
    file's first bytes are this format's. codec: the module with `read(data, bounds) -> Source` and `write(outgoing) -> bytes`.
    alpha, depth, lossless: what its files hold when they are written here: transparency, bits of a sample, a choice of writing
    without loss; profiles: whether they hold an ICC profile. upright: whether an orientation is not for them to keep. options: how
    they are written. most_side: the largest width and height that they hold, in pixels. answered_as: the format of answers to this
    one, which is only read.
    """

    name: str
    title: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    codec: str
    alpha: bool
    depth: int
    lossless: bool = False
    profiles: bool = True
    upright: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    most_side: int = 1 << 30
    answered_as: str | None = None

    @property
    def media_type(self) -> str:
        """The registered one."""
        return self.media_types[0]

    @property
    def suffix(self) -> str:
        """What the names of its files end in when they are written here."""
        return self.suffixes[0]

    @property
    def module(self) -> Any:
        """The format's codec, imported when it is first needed: most processes need none of them."""
        return import_module(f"service.pictures.files.{self.codec}")


def brands(data: bytes) -> tuple[bytes, ...]:
    """The brands of an ISO base media file's first box; none where data is no such file."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return (data[8:12], *(data[at : at + 4] for at in range(16, end, 4)))


def _is_heif(data: bytes) -> bool:
    named = brands(data)
    return any(brand in HEIF_BRANDS for brand in named) and not any(brand in AVIF_BRANDS for brand in named)


ALL_FORMATS: dict[str, PictureFormat] = {
    record.name: record
    for record in (
        PictureFormat(
            "png",
            "PNG",
            ("image/png", "image/apng"),
            (".png",),
            lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
            "png_file",
            alpha=True,
            depth=16,
        ),
        PictureFormat(
            "jpeg",
            "JPEG",
            ("image/jpeg", "image/jpg", "image/pjpeg"),
            (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
            lambda data: data.startswith(b"\xff\xd8\xff"),
            "jpeg",
            alpha=False,
            depth=8,
            options={"quality": 95, "subsampling": 0},
            most_side=65_500,
        ),
        PictureFormat(
            "webp",
            "WebP",
            ("image/webp",),
            (".webp",),
            lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
            "webp",
            alpha=True,
            depth=8,
            lossless=True,
            options={"quality": 95, "method": 3, "exact": True},
            most_side=16_383,
        ),
        PictureFormat(
            "avif",
            "AVIF",
            ("image/avif",),
            (".avif",),
            lambda data: any(brand in AVIF_BRANDS for brand in brands(data)),
            "avif",
            alpha=True,
            depth=12,
            options={"quality": 90, "speed": 8},
            most_side=65_536,
        ),
        PictureFormat(
            "tiff",
            "TIFF",
            ("image/tiff", "image/tif", "image/x-tiff"),
            (".tif", ".tiff"),
            lambda data: data[:4] in TIFF_MAGIC,
            "tiff",
            alpha=True,
            depth=16,
        ),
        PictureFormat(
            "jxl",
            "JPEG XL",
            ("image/jxl",),
            (".jxl",),
            lambda data: data.startswith((JXL_CODESTREAM, JXL_CONTAINER)),
            "jxl",
            alpha=True,
            depth=16,
            lossless=True,
            profiles=False,
            upright=True,
            options={"distance": 0.5, "effort": 4},
        ),
        PictureFormat(
            "heic",
            "HEIC",
            ("image/heic", "image/heif"),
            (".heic", ".heif", ".hif"),
            _is_heif,
            "heif",
            alpha=True,
            depth=8,
            answered_as="jpeg",
        ),
    )
}
FORMATS: dict[str, PictureFormat] = {name: record for name, record in ALL_FORMATS.items() if record.answered_as is None}
"""Those that are written, and read."""
BY_MEDIA_TYPE = {media_type: record for record in FORMATS.values() for media_type in record.media_types}
BY_SUFFIX = {suffix: record for record in ALL_FORMATS.values() for suffix in record.suffixes}
TITLES = [record.title for record in ALL_FORMATS.values()]
READ = f"{', '.join(TITLES[:-1])} or {TITLES[-1]}"
RAW = "a camera raw file"
REFUSED = {
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF file",
    b"%!PS": "a PostScript file",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
    b"SIMPLE": "a FITS file",
    b"PK\x03\x04": "a ZIP archive",
    b"v/1\x01": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance picture",
    b"qoif": "a QOI picture",
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
}
RAW_ADVICE = "; develop it to one of them first (darktable, RawTherapee, dcraw)"


def format_named(name: str) -> PictureFormat:
    """The format of that name that is written here. Raises InvalidValue with the list."""
    if name not in FORMATS:
        raise InvalidValue(f"format {name!r} is not written here; expected one of {list(FORMATS)}")
    return FORMATS[name]


def answer_format(name: str) -> PictureFormat:
    """The format in which a picture of that format is answered."""
    record = ALL_FORMATS[name]
    return ALL_FORMATS[record.answered_as or name]


def sniff(data: bytes) -> PictureFormat:
    """The format that the first bytes tell, whatever the sender calls it. Raises UnsupportedMedia for any other."""
    for record in ALL_FORMATS.values():
        if record.matches(data):
            return record
    seen = name_of(data)
    raise UnsupportedMedia(f"{seen} is not read here; expected {READ}{RAW_ADVICE if seen == RAW else ''}")


def name_of(data: bytes) -> str:
    """What a file that is not read seems to be, in words for whoever sent it."""
    if not data:
        return "an empty file"
    if b"crx " in brands(data):
        return RAW
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((name for magic, name in REFUSED.items() if start.startswith(magic)), "a file of an unknown kind")
