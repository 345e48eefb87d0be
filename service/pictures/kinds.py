"""The kinds of picture files that are read and written; everything else is refused by its first bytes."""

from dataclasses import dataclass

from service.errors import InvalidValue, UnsupportedMedia


@dataclass(frozen=True)
class Kind:
    """A picture format. `readers` are Pillow's names for it; alpha and sixteen tell what it can hold when written here."""

    name: str
    media_type: str
    readers: tuple[str, ...]
    alpha: bool
    sixteen: bool


KINDS = {
    kind.name: kind
    for kind in (
        Kind("png", "image/png", ("PNG",), alpha=True, sixteen=True),
        Kind("jpeg", "image/jpeg", ("JPEG", "MPO"), alpha=False, sixteen=False),
        Kind("webp", "image/webp", ("WEBP",), alpha=True, sixteen=False),
        Kind("avif", "image/avif", ("AVIF",), alpha=True, sixteen=False),
        Kind("tiff", "image/tiff", ("TIFF",), alpha=True, sixteen=True),
    )
}
BY_MEDIA_TYPE = {kind.media_type: kind for kind in KINDS.values()} | {"image/jpg": KINDS["jpeg"]}
BIG_TIFF = b"II+\0"  # Pillow does not know the other byte order of it, which next to nothing writes
TIFF_MAGIC = (b"II*\0", b"MM\0*", BIG_TIFF)
AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
REFUSED = {
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF file",
    b"%!PS": "a PostScript file",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\0\x0cJXL": "a JPEG XL picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
    b"SIMPLE": "a FITS file",
    b"PK\x03\x04": "a ZIP archive",
}


def kind_named(name: str) -> Kind:
    """The kind of that name. Raises InvalidValue with the list."""
    if name not in KINDS:
        raise InvalidValue(f"format {name!r} is not written here; expected one of {list(KINDS)}")
    return KINDS[name]


def sniff(data: bytes) -> Kind:
    """The kind that the first bytes tell, whatever the sender calls it. Raises UnsupportedMedia for any other."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return KINDS["png"]
    if data.startswith(b"\xff\xd8\xff"):
        return KINDS["jpeg"]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return KINDS["webp"]
    if data[:4] in TIFF_MAGIC:
        return KINDS["tiff"]
    if data[4:8] == b"ftyp" and any(data[at : at + 4] in AVIF_BRANDS for at in range(8, min(64, len(data)), 4)):
        return KINDS["avif"]
    raise UnsupportedMedia(f"{name_of(data)} is not read here; expected PNG, JPEG, WebP, AVIF or TIFF")


def name_of(data: bytes) -> str:
    """What a file that is not read seems to be, in words for whoever sent it."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return "a HEIC picture"
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((name for magic, name in REFUSED.items() if start.startswith(magic)), "what was sent, no picture that is known,")
