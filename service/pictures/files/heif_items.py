"""Metadata put into an AVIF file (ISO/IEC 23008-12) that has none: EXIF, XMP, an ICC profile, an orientation.

imagecodecs writes 10 and 12 bits and no metadata; Pillow writes metadata and 8 bits. So the boxes are added here.
"""

import struct
from dataclasses import dataclass

from service.pictures.files.boxes import Box, box, boxes, full_box

TURNS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (1, 1), 8: (1, None)}
"""EXIF orientation -> quarter turns anticlockwise, then the axis to mirror about (0: top and bottom change, 1: left and right)."""
ESSENTIAL = 0x80


@dataclass(frozen=True)
class Item:
    """An item to add: its type, what its entry says further, and its content."""

    type: bytes
    further: bytes
    content: bytes


@dataclass(frozen=True)
class Location:
    """Where an item's only extent lies."""

    item: int
    place: int
    length: int


def with_metadata(data: bytes, exif: bytes | None, xmp: bytes | None, profile: bytes | None, orientation: int) -> bytes:
    """The file with what is not None added. Raises ValueError for a file of another layout than imagecodecs writes."""
    items = []
    if exif is not None:
        items.append(Item(b"Exif", b"", b"\0\0\0\0" + exif))
    if xmp is not None:
        items.append(Item(b"mime", b"application/rdf+xml\0", xmp))
    properties = [] if profile is None else [box(b"colr", b"prof" + profile)]
    quarters, axis = TURNS[orientation]
    if quarters:
        properties.append(box(b"irot", bytes([quarters])))
    if axis is not None:
        properties.append(box(b"imir", bytes([axis])))
    return _rebuilt(data, items, properties) if items or properties else data


def _rebuilt(data: bytes, items: list[Item], properties: list[bytes]) -> bytes:
    meta = next(one for one in boxes(data) if one.name == b"meta")
    children = {one.name: one for one in boxes(data, meta.start + 4, meta.end)}
    if not {b"pitm", b"iloc", b"iinf", b"iprp"} <= children.keys():
        raise ValueError("an AVIF file without the boxes that are expected")
    locations = _locations(data, children[b"iloc"])
    first = max(one.item for one in locations) + 1
    parts = {
        name: data[child.start - 8 : child.end]
        for name, child in children.items()
        if name not in {b"iloc", b"iinf", b"iref", b"iprp"}
    }
    parts[b"iinf"] = _infos(data, children[b"iinf"], items, first)
    parts[b"iref"] = _references(data, children.get(b"iref"), items, first, _primary(data, children[b"pitm"]))
    parts[b"iprp"] = _described(data, children[b"iprp"], properties)
    size = len(_meta(parts, locations, items, first, 0, 0))
    growth, end = size - (meta.end - meta.start + 8), len(data) + size - (meta.end - meta.start + 8) + 8
    rebuilt = _meta(parts, locations, items, first, growth, end)
    return data[: meta.start - 8] + rebuilt + data[meta.end :] + box(b"mdat", b"".join(item.content for item in items))


def _meta(
    parts: dict[bytes, bytes], locations: list[Location], items: list[Item], first: int, growth: int, content_at: int
) -> bytes:
    moved = [Location(one.item, one.place + growth, one.length) for one in locations]
    for index, item in enumerate(items):
        moved.append(Location(first + index, content_at, len(item.content)))
        content_at += len(item.content)
    entries = b"".join(struct.pack(">HHHII", one.item, 0, 1, one.place, one.length) for one in moved)
    iloc = full_box(b"iloc", 0, 0, b"\x44\0" + struct.pack(">H", len(moved)) + entries)
    order = [name for name in (b"hdlr", b"pitm", b"iinf", b"iref", b"iprp") if parts.get(name)]
    others = [name for name in parts if name not in order and parts[name]]
    return full_box(b"meta", 0, 0, b"".join([*(parts[name] for name in (*order, *others)), iloc]))


def _locations(data: bytes, iloc: Box) -> list[Location]:
    """Of a box of version 0 or 1 whose items have one extent each and lie in the file."""
    version, sizes = data[iloc.start], data[iloc.start + 4]
    if version > 1 or sizes != 0x44 or data[iloc.start + 5] >> 4 not in {0, 4}:
        raise ValueError("an AVIF file whose items are located in another way than expected")
    base_size = data[iloc.start + 5] >> 4
    (count,) = struct.unpack_from(">H", data, iloc.start + 6)
    at, places = iloc.start + 8, []
    for _ in range(count):
        item = int.from_bytes(data[at : at + 2], "big")
        at += 4 + 2 * version
        base = int.from_bytes(data[at : at + base_size], "big")
        extents, place, length = struct.unpack_from(">HII", data, at + base_size)
        if extents != 1:
            raise ValueError("an AVIF file whose items lie in several pieces")
        places.append(Location(item, base + place, length))
        at += base_size + 10
    return places


def _primary(data: bytes, pitm: Box) -> int:
    size = 2 if data[pitm.start] == 0 else 4
    return int.from_bytes(data[pitm.start + 4 : pitm.start + 4 + size], "big")


def _infos(data: bytes, iinf: Box, items: list[Item], first: int) -> bytes:
    if data[iinf.start] != 0:
        raise ValueError("an AVIF file with a list of items of another version than expected")
    (count,) = struct.unpack_from(">H", data, iinf.start + 4)
    added = [
        full_box(b"infe", 2, 1, struct.pack(">HH4s", first + index, 0, item.type) + b"\0" + item.further)
        for index, item in enumerate(items)
    ]
    return full_box(b"iinf", 0, 0, struct.pack(">H", count + len(items)) + data[iinf.start + 6 : iinf.end] + b"".join(added))


def _references(data: bytes, iref: Box | None, items: list[Item], first: int, primary: int) -> bytes:
    described = b"".join(box(b"cdsc", struct.pack(">HHH", first + index, 1, primary)) for index in range(len(items)))
    before = b"" if iref is None else data[iref.start + 4 : iref.end]
    return full_box(b"iref", 0, 0, before + described) if before or described else b""


def _described(data: bytes, iprp: Box, properties: list[bytes]) -> bytes:
    """The properties with more of them, which are linked to every item that has some: the alpha turns with the colours."""
    children = {one.name: one for one in boxes(data, iprp.start, iprp.end)}
    ipco, ipma = children[b"ipco"], children[b"ipma"]
    count = sum(1 for _ in boxes(data, ipco.start, ipco.end))
    links = bytes((count + 1 + index) | (0 if one[4:8] == b"colr" else ESSENTIAL) for index, one in enumerate(properties))
    return box(
        b"iprp",
        box(b"ipco", data[ipco.start : ipco.end] + b"".join(properties)) + _linked(data, ipma, links),
    )


def _linked(data: bytes, ipma: Box, links: bytes) -> bytes:
    if data[ipma.start] != 0 or data[ipma.start + 3] & 1:
        raise ValueError("an AVIF file whose properties are linked in another way than expected")
    (count,) = struct.unpack_from(">I", data, ipma.start + 4)
    at, entries = ipma.start + 8, b""
    for _ in range(count):
        item, linked = data[at : at + 2], data[at + 2]
        entries += item + bytes([linked + len(links)]) + data[at + 3 : at + 3 + linked] + links
        at += 3 + linked
    return full_box(b"ipma", 0, 0, struct.pack(">I", count) + entries)
