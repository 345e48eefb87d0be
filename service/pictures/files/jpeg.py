"""JPEG files (ITU-T T.81): a picture, and behind it what telephones append: a gain map (Ultra HDR, ISO 21496-1), a motion photo's
video.

A gain map is another JPEG, which says for each pixel how much brighter a screen of high dynamic range may show it. It is kept as it
is, behind the restored picture, with the three things that announce it: an XMP container, a Multi-Picture index (CIPA DC-007), and
an ISO 21496-1 segment.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from service.errors import TooLarge, UnsupportedMedia
from service.pictures.colour import ColourTags
from service.pictures.directories import LONG, UNDEFINED, Directory, Entry, file_of
from service.pictures.eight_bits import metadata_in, samples_of, saved
from service.pictures.exif import PREFIX, Exif
from service.pictures.picture import Bounds, Outgoing, Source

MOST_SCANS = 200  # a progressive JPEG has about ten; each one costs a pass over the whole picture
BASELINE_TO_PROGRESSIVE = {0xC0, 0xC1, 0xC2}
OTHER_C_MARKERS = {0xC4, 0xC8, 0xCC}
SOI, EOI, SOS, APP1, APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2
WITHOUT_LENGTH = {0x01, SOI, *range(0xD0, 0xD8)}
CODED_DATA_ENDS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
LARGEST_SEGMENT = 65_000
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
GAIN_MAP_MARKS = (b"http://ns.adobe.com/hdr-gain-map/", b"urn:iso:std:iso:ts:21496:-1", b"http://ns.apple.com/HDRGainMap/")
MPF = b"MPF\0"
MPF_VERSION, MPF_COUNT, MPF_ENTRIES = 0xB000, 0xB001, 0xB002
PRIMARY_PICTURE = 0x030000  # type of a Multi-Picture entry
LUMINANCE = (  # T.81's example table, annex K.1, row by row
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
LARGEST_STEP = 255  # of a baseline table: larger ones are cut
VIDEO_WITHIN = 1 << 16  # a maker's trailer may come before a motion photo's video


@dataclass(frozen=True)
class Segment:
    """A marker, and where the bytes that belong to it lie."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True)
class Extent:
    """One JPEG picture. frame: the marker of its coding process, and bits; applications: its APP segments; end: of the picture."""

    frame: tuple[int, int]
    scans: int
    applications: tuple[Segment, ...]
    end: int


def extent(data: bytes, start: int = 0) -> Extent:
    """The picture that begins there, up to its end marker or as far as markers follow one another."""
    frame, scans, applications, end = (0xC0, 8), 0, [], len(data)
    for segment in _segments(data, start):
        if 0xC0 <= segment.marker <= 0xCF and segment.marker not in OTHER_C_MARKERS and segment.start < len(data):
            frame = segment.marker, data[segment.start]
        elif segment.marker == SOS:
            scans += 1
        elif 0xE0 <= segment.marker <= 0xEF:
            applications.append(segment)
        elif segment.marker == EOI:
            end = segment.end
    return Extent(frame, scans, tuple(applications), end)


def _segments(data: bytes, start: int) -> Iterator[Segment]:
    at = start + 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == EOI:
            yield Segment(marker, at + 2, at + 2)
            return
        length = 0 if marker in WITHOUT_LENGTH else max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        segment = Segment(marker, at + 4, at + 2 + length)
        yield segment
        at = segment.end
        if marker == SOS:
            following = CODED_DATA_ENDS.search(data, at)
            if following is None:
                return
            at = following.start()


def read(data: bytes, bounds: Bounds) -> Source:
    """Raises UnsupportedMedia for what only medicine and printing write, and TooLarge for a bomb of scans."""
    picture = extent(data)
    _check(picture)
    with Image.open(BytesIO(data), formats=("JPEG", "MPO")) as file:
        bounds.check(*file.size)
        samples = samples_of(file)
        compression = _compression(file)
        info: dict[Any, Any] = file.info
        metadata = metadata_in(info)
    gain_map, further = _further(data, picture.end)
    return Source(
        samples,
        8,
        ColourTags(profile=info.get("icc_profile")),
        gain_map=gain_map,
        further=further,
        compression=compression,
        **metadata,
    )


def _compression(file: Image.Image) -> int | None:
    tables: dict[int, Sequence[int]] = getattr(file, "quantization", {})
    return quality_of(tables[min(tables)]) if tables else None


def quality_of(table: Sequence[int]) -> int:
    """The quality at which libjpeg writes about such a luminance table: T.81 annex K.1's, scaled."""
    whole = [(step, usual) for step, usual in zip(table, LUMINANCE, strict=False) if step < LARGEST_STEP] or [(LARGEST_STEP, 1)]
    scale = 100 * sum(step for step, _ in whole) / sum(usual for _, usual in whole)
    quality = (200 - scale) / 2 if scale < 100 else 5000 / scale
    return round(min(max(quality, 1), 100))


def _check(picture: Extent) -> None:
    coding, bits = picture.frame
    if coding not in BASELINE_TO_PROGRESSIVE or bits != 8:
        raise UnsupportedMedia(
            f"a JPEG of coding process {coding & 15} with {bits} bits is not read here; expected process 0, 1 or 2 with 8 bits"
        )
    if picture.scans > MOST_SCANS:
        raise TooLarge(f"the JPEG has {picture.scans} scans; at most {MOST_SCANS} are allowed")


def _further(data: bytes, end: int) -> tuple[bytes | None, tuple[str, ...]]:
    """The gain map behind the picture, and what else is there."""
    gain_map, others = None, list[str]()
    at = _next(data, end)
    while data[at : at + 2] == b"\xff\xd8":
        picture = extent(data, at)
        if gain_map is None and _is_gain_map(data, picture):
            gain_map = data[at : picture.end]
        elif "further-pictures" not in others:
            others.append("further-pictures")
        at = _next(data, picture.end)
    if b"ftyp" in data[at : at + VIDEO_WITHIN]:
        others.append("motion-video")
    return gain_map, tuple(others)


def _next(data: bytes, at: int) -> int:
    """Where something comes after padding."""
    while at < len(data) and data[at] == 0:
        at += 1
    return at


def _is_gain_map(data: bytes, picture: Extent) -> bool:
    return any(mark in data[one.start : one.end] for one in picture.applications for mark in GAIN_MAP_MARKS)


def write(outgoing: Outgoing) -> bytes:
    """A JPEG; with a gain map behind it, if there is one."""
    options: dict[str, Any] = {}
    if (exif := _fitting(outgoing)) is not None:
        options["exif"] = PREFIX + exif
    if outgoing.dpi is not None:
        options["dpi"] = outgoing.dpi
    if outgoing.gain_map is not None:
        return with_gain_map(saved(outgoing, "JPEG", **options), outgoing.xmp, outgoing.gain_map)
    if outgoing.xmp is not None and len(outgoing.xmp) < LARGEST_SEGMENT:
        options["xmp"] = outgoing.xmp
    return saved(outgoing, "JPEG", **options)


def _fitting(outgoing: Outgoing) -> bytes | None:
    """EXIF that fits into a segment: without the maker's note if need be, or nothing but the orientation."""
    if outgoing.exif is None or len(outgoing.exif) < LARGEST_SEGMENT:
        return outgoing.exif
    exif = Exif.of(outgoing.exif)
    smaller = None if exif is None else exif.without_maker_note().block()
    if smaller is not None and len(smaller) < LARGEST_SEGMENT:
        return smaller
    return Exif(Directory({})).turned(outgoing.orientation).block()


def with_gain_map(jpeg: bytes, xmp: bytes | None, gain_map: bytes) -> bytes:
    """A JPEG without XMP of its own, announcing the gain map that follows it."""
    packet = _announcing(xmp, len(gain_map))
    segments = _segment(APP1, XMP_PREFIX + packet) + _segment(APP2, ISO_GAIN_MAP + struct.pack(">HH", 0, 0))
    index_at = _after_exif(jpeg)
    head, tail = jpeg[:index_at] + segments, jpeg[index_at:]
    size = len(head) + len(_index(0, 0, 0)) + len(tail)
    header_at = len(head) + 4 + len(MPF)  # what a Multi-Picture index counts from
    return head + _index(size, len(gain_map), size - header_at) + tail + gain_map


def _after_exif(jpeg: bytes) -> int:
    """Where JFIF and EXIF, which have to be first, are over."""
    at = 2
    for segment in extent(jpeg).applications:
        if segment.marker not in {0xE0, APP1}:
            break
        at = segment.end
    return at


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _index(primary: int, gain_map: int, place: int) -> bytes:
    """A Multi-Picture index of two pictures: their lengths, and the place of the second from the index's TIFF header."""
    entries = struct.pack("<IIIHHIIIHH", PRIMARY_PICTURE, primary, 0, 0, 0, 0, gain_map, place, 0, 0)
    directory = Directory(
        {
            MPF_VERSION: Entry(UNDEFINED, 4, b"0100"),
            MPF_COUNT: Entry(LONG, 1, struct.pack("<I", 2)),
            MPF_ENTRIES: Entry(UNDEFINED, len(entries), entries),
        }
    )
    return _segment(APP2, MPF + file_of(directory, {}))


RDF_END = b"</rdf:RDF>"
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    + RDF_END
    + b"</x:xmpmeta>"
)
ANNOUNCEMENT = (
    '<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0">'
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{}"/></rdf:li></rdf:Seq>'
    "</Container:Directory></rdf:Description>"
)


def _announcing(xmp: bytes | None, length: int) -> bytes:
    """The packet, saying that a gain map of so many bytes follows; one that is not as expected, or too long, makes way."""
    announcement = ANNOUNCEMENT.format(length).encode()
    for packet in (xmp or PACKET, PACKET):
        if packet.count(RDF_END) == 1 and len(packet) + len(announcement) < LARGEST_SEGMENT:
            return packet.replace(RDF_END, announcement + RDF_END)
    raise AssertionError("the packet that is made here takes an announcement")
