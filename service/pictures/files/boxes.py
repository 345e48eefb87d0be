"""Boxes of ISO base media files (ISO/IEC 14496-12), as AVIF, HEIC and JPEG XL consist of them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from service.pictures.colour import CodePoints

MOST_BOXES = 10_000


@dataclass(frozen=True)
class Box:
    """A box's name, and where its content lies."""

    name: bytes
    start: int
    end: int

    def content(self, data: bytes) -> bytes:
        """What is in it."""
        return data[self.start : self.end]


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that lie there, one after the other, as far as they can be read."""
    at, end = start, len(data) if end is None else end
    for _ in range(MOST_BOXES):
        if at + 8 > end:
            return
        size, name, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        last = end if size == 0 else at + size
        if last < at + head or last > end:
            return
        yield Box(name, at + head, last)
        at = last


def box(name: bytes, content: bytes) -> bytes:
    """A box with that content."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def full_box(name: bytes, version: int, flags: int, content: bytes) -> bytes:
    """A box with a version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags) + content)


def child(data: bytes, parent: Box, name: bytes, skip: int = 0) -> Box | None:
    """The first box of that name within another; skip: bytes of its own that come before."""
    return next((one for one in boxes(data, parent.start + skip, parent.end) if one.name == name), None)


@dataclass(frozen=True)
class Property:
    """A property that describes items."""

    name: bytes
    content: bytes


def primary_properties(data: bytes) -> list[Property]:
    """The properties of the primary item of a HEIF file (ISO/IEC 23008-12), AVIF among them; none where they cannot be read."""
    try:
        meta = next(one for one in boxes(data) if one.name == b"meta")
        primary = _primary(data, meta)
        iprp = child(data, meta, b"iprp", 4)
        assert iprp is not None
        ipco = child(data, iprp, b"ipco")
        assert ipco is not None
        every = [Property(one.name, one.content(data)) for one in boxes(data, ipco.start, ipco.end)]
        linked = {
            index for one in boxes(data, iprp.start, iprp.end) if one.name == b"ipma" for index in _of_item(data, one, primary)
        }
        return [every[index - 1] for index in sorted(linked) if 1 <= index <= len(every)]
    except (StopIteration, AssertionError, struct.error):
        return []


def item_types(data: bytes) -> list[bytes]:
    """The types of a HEIF file's items."""
    meta = next((one for one in boxes(data) if one.name == b"meta"), None)
    iinf = None if meta is None else child(data, meta, b"iinf", 4)
    if iinf is None:
        return []
    skip = 6 if data[iinf.start] == 0 else 8
    entries = (one for one in boxes(data, iinf.start + skip, iinf.end) if one.name == b"infe")
    return [data[one.start + (8 if data[one.start] == 2 else 10) :][:4] for one in entries]


def _primary(data: bytes, meta: Box) -> int:
    pitm = child(data, meta, b"pitm", 4)
    assert pitm is not None
    size = 2 if data[pitm.start] == 0 else 4
    return int.from_bytes(data[pitm.start + 4 : pitm.start + 4 + size], "big")


def _of_item(data: bytes, ipma: Box, item: int) -> list[int]:
    """The indices, from 1, of an item's properties."""
    version, flags = data[ipma.start], data[ipma.start + 3]
    id_size, index_size = (2 if version == 0 else 4), (2 if flags & 1 else 1)
    (count,) = struct.unpack_from(">I", data, ipma.start + 4)
    at = ipma.start + 8
    for _ in range(min(count, MOST_BOXES)):
        named = int.from_bytes(data[at : at + id_size], "big")
        links = data[at + id_size]
        at += id_size + 1
        indices = [
            int.from_bytes(data[at + index_size * link : at + index_size * (link + 1)], "big") & ((1 << (8 * index_size - 1)) - 1)
            for link in range(links)
        ]
        at += index_size * links
        if named == item:
            return indices
        if at >= ipma.end:
            break
    return []


def colours_of(properties: list[Property]) -> tuple[bytes | None, CodePoints | None]:
    """The ICC profile and the code points of `colr` properties."""
    profile, points = None, None
    for one in properties:
        if one.name != b"colr":
            continue
        if one.content[:4] in {b"prof", b"rICC"}:
            profile = profile or one.content[4:]
        elif one.content[:4] == b"nclx" and len(one.content) >= 10:
            points = points or CodePoints(*struct.unpack_from(">HH", one.content, 4))
    return profile, points
