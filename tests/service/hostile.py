"""Files that are wrong on purpose, each as small as it can be."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from tests.service.conftest import file_of, pixels_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A few KB that would be many gigabytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 2_000_000, 9)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A zTXt chunk of 64 MB in 64 KB."""
    png = file_of(pixels_of(8, 8))
    return png[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 64_000_000, 9)) + png[33:]


def profile_bomb() -> bytes:
    """An iCCP chunk of 64 MB."""
    png = file_of(pixels_of(8, 8))
    return png[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(b"a" * 64_000_000, 9)) + png[33:]


def apng(frames: int = 10_000) -> bytes:
    """An animated PNG that says how many frames it has."""
    png = file_of(pixels_of(8, 8))
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    return png[:33] + chunk(b"acTL", struct.pack(">II", frames, 0)) + control + png[33:]


def animated(kind: str, frames: int = 60) -> bytes:
    first, *others = (Image.fromarray(pixels_of(4, 4, seed=seed)) for seed in range(frames))
    file = BytesIO()
    first.save(file, kind, save_all=True, append_images=others)
    return file.getvalue()


def tiff(entries: list[tuple[int, int, int]], next_directory: int = 0, tail: bytes = b"\x40" * 64) -> bytes:
    """A little-endian TIFF of 4-byte entries (tag, type, value); the data lies after its directory."""
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in sorted(entries):
        directory += struct.pack("<HHII", tag, kind, 1, value)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_directory) + tail


def grey_tiff(width: int, height: int, next_directory: int = 0) -> bytes:
    data_at = 8 + 2 + 8 * 12 + 4
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, data_at),
        (278, 4, height),
        (279, 4, 64),
    ]
    return tiff(entries, next_directory)


def ring_of_tiff() -> bytes:
    """Two directories that follow one another for ever."""
    first = grey_tiff(8, 8)
    second = len(first)
    pointer = first.index(b"\x40" * 64) - 4  # the first directory's end
    first = first[:pointer] + struct.pack("<I", second) + first[pointer + 4 :]
    return first + first[8:pointer] + struct.pack("<I", 8)


def turned(orientation: int) -> bytes:
    """A JPEG with that EXIF orientation."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    return file_of(pixels_of(8, 12), "JPEG", exif=exif)


def many_scans(scans: int = 3000) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = BytesIO()
    Image.fromarray(pixels_of(16, 16)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:-2] + data[at:-2] * scans + b"\xff\xd9"


def in_mode(mode: str, kind: str) -> bytes:
    """A picture of a rare kind of samples."""
    arrays = {
        "I;16": np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000,
        "I": np.arange(64, dtype=np.int32).reshape(8, 8),
        "F": np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8),
    }
    file = BytesIO()
    picture = Image.fromarray(arrays[mode]) if mode in arrays else Image.fromarray(pixels_of(8, 8)).convert(mode)
    picture.save(file, kind)
    return file.getvalue()


MODES = [
    ("1", "PNG", 200),
    ("LA", "PNG", 200),
    ("P", "PNG", 200),
    ("I;16", "PNG", 200),
    ("I;16", "TIFF", 200),
    ("I", "TIFF", 415),
    ("F", "TIFF", 415),
    ("CMYK", "JPEG", 200),
    ("CMYK", "TIFF", 200),
    ("YCbCr", "TIFF", 200),
    ("LAB", "TIFF", 200),
]


def ycck() -> bytes:
    """A CMYK JPEG whose Adobe marker says that its colours are YCCK."""
    data = in_mode("CMYK", "JPEG")
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def with_text(length: int) -> bytes:
    text = PngInfo()
    text.add_text("Comment", "x" * length)
    return file_of(pixels_of(8, 8), pnginfo=text)


def with_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG with a further chunk."""
    png = file_of(pixels_of(8, 8))
    return png[:33] + chunk(name, data) + png[33:]


def spoiled(png: bytes, name: bytes) -> bytes:
    """A PNG with a chunk whose checksum is wrong."""
    at = png.index(name)
    end = at + 4 + int.from_bytes(png[at - 4 : at], "big")
    return png[:end] + bytes(byte ^ 0xFF for byte in png[end : end + 4]) + png[end + 4 :]


OTHER_KINDS = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 64,
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    "FITS": b"SIMPLE  =                    T" + b" " * 200,
    "PSD": b"8BPS\0\1" + b"\0" * 64,
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
    "GIF": b"GIF89a" + b"\0" * 64,
    "BMP": b"BM" + b"\0" * 64,
    "PDF": b"%PDF-1.7\n" + b"\0" * 64,
}
