"""Directories of TIFF 6.0, BigTIFF and EXIF, which is a TIFF without a picture: the only reader and writer of them here.

Values are kept as they are stored, so that what is copied from file to file stays as its author wrote it. What lies outside the
file, or is of an unknown type, is left out: a camera's or an editor's mistake costs one value and not the picture.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

TYPES: dict[int, tuple[int, str]] = {  # size of a value, and how struct writes it
    1: (1, "B"),
    2: (1, "s"),
    3: (2, "H"),
    4: (4, "I"),
    5: (8, "II"),
    6: (1, "b"),
    7: (1, "s"),
    8: (2, "h"),
    9: (4, "i"),
    10: (8, "ii"),
    11: (4, "f"),
    12: (8, "d"),
    13: (4, "I"),
    16: (8, "Q"),
    17: (8, "q"),
    18: (8, "Q"),
}
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
MOST_DIRECTORIES = 4096
MOST_ENTRIES = 4096
SUB_DIRECTORIES, EXIF, GPS, INTEROPERABILITY = 330, 34665, 34853, 40965


class Unreadable(ValueError):
    """What was given has no directory where one should be."""


@dataclass(frozen=True)
class Entry:
    """A tag's value. data: as little-endian bytes, whatever the file had."""

    type: int
    count: int
    data: bytes

    @property
    def numbers(self) -> tuple[float, ...]:
        """The entry's numbers, ratios as quotients (0 where a divisor is 0); none of text."""
        size, code = TYPES[self.type]
        if code == "s":
            return tuple(self.data) if self.type == UNDEFINED else ()
        values = struct.unpack(f"<{len(self.data) // size * len(code)}{code[0]}", self.data)
        if len(code) == 1:
            return values
        return tuple(above / below if below else 0.0 for above, below in zip(values[::2], values[1::2], strict=True))

    @property
    def number(self) -> float | None:
        """The entry's only number, or its first."""
        return next(iter(self.numbers), None)

    @classmethod
    def short(cls, value: int) -> "Entry":
        """A 16-bit number."""
        return cls(SHORT, 1, struct.pack("<H", value))

    @classmethod
    def long(cls, value: int) -> "Entry":
        """A 32-bit number."""
        return cls(LONG, 1, struct.pack("<I", value))


@dataclass(frozen=True)
class Directory:
    """Entries by tag; at: where it lies; next_at: where the field with the next one's place lies; next: that place, 0 for none."""

    entries: Mapping[int, Entry]
    at: int = 0
    next_at: int = 0
    next: int = 0

    def integer(self, tag: int, default: int = 0) -> int:
        """A whole number; default where there is none."""
        value = self.entries[tag].number if tag in self.entries else None
        return int(value) if value is not None else default

    def integers(self, tag: int) -> tuple[int, ...]:
        """Whole numbers; none where the tag is not there."""
        return tuple(int(value) for value in self.entries[tag].numbers) if tag in self.entries else ()

    def without(self, tags: Iterable[int]) -> "Directory":
        """The same, less some tags."""
        gone = set(tags)
        return replace(self, entries={tag: entry for tag, entry in self.entries.items() if tag not in gone})

    def with_entries(self, entries: Mapping[int, Entry]) -> "Directory":
        """The same, with some tags set."""
        return replace(self, entries={**self.entries, **entries})


@dataclass(frozen=True)
class Layout:
    """How a file stores its directories: byte order, and whether with 64-bit places (BigTIFF)."""

    order: str
    big: bool

    @classmethod
    def of(cls, data: bytes) -> "Layout":
        """Raises Unreadable for what is no TIFF."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            raise Unreadable("no TIFF header")
        (version,) = struct.unpack(f"{order}H", data[2:4])
        if version not in {42, 43}:
            raise Unreadable(f"TIFF version {version}; expected 42 or 43")
        return cls(order, version == 43)

    @property
    def first_at(self) -> int:
        """Where the first directory's place is written."""
        return 8 if self.big else 4

    def place(self, data: bytes, at: int) -> int:
        """The place that is written there. Raises Unreadable outside the file."""
        return self._number(data, at, "Q" if self.big else "I")

    def set_place(self, data: bytearray, at: int, value: int) -> None:
        """Write a place there."""
        struct.pack_into(f"{self.order}{'Q' if self.big else 'I'}", data, at, value)

    def _number(self, data: bytes, at: int, code: str) -> int:
        size = struct.calcsize(f"<{code}")
        if not 0 <= at <= len(data) - size:
            raise Unreadable(f"nothing at byte {at} of {len(data)}")
        (value,) = struct.unpack_from(f"{self.order}{code}", data, at)
        return int(value)

    def directory(self, data: bytes, at: int) -> Directory:
        """The directory there. Raises Unreadable where none can be."""
        count, first, step = (self._number(data, at, "Q"), at + 8, 20) if self.big else (self._number(data, at, "H"), at + 2, 12)
        if count > MOST_ENTRIES:
            raise Unreadable(f"a directory of {count} entries")
        next_at = first + step * count
        following = self.place(data, next_at) if next_at + (8 if self.big else 4) <= len(data) else 0
        parsed = (self._entry(data, first + step * index) for index in range(count))
        return Directory(dict(pair for pair in parsed if pair is not None), at, next_at, following)

    def _entry(self, data: bytes, at: int) -> tuple[int, Entry] | None:
        if at + (20 if self.big else 12) > len(data):
            return None
        tag, kind = struct.unpack_from(f"{self.order}HH", data, at)
        if kind not in TYPES:
            return None
        size, code = TYPES[kind]
        count = self._number(data, at + 4, "Q" if self.big else "I")
        inline_at, room = (at + 12, 8) if self.big else (at + 8, 4)
        length = size * count
        value_at = inline_at if length <= room else self.place(data, inline_at)
        value = data[value_at : value_at + length]
        if not count or len(value) != length:
            return None
        return tag, Entry(kind, count, value if self.order == "<" else swapped(value, size // len(code)))


def swapped(value: bytes, size: int) -> bytes:
    """Numbers of so many bytes, in the other byte order."""
    turned = bytearray(len(value))
    for byte in range(size):
        turned[byte::size] = value[size - 1 - byte :: size]
    return bytes(turned)


def first_directory(data: bytes) -> Directory:
    """The first one. Raises Unreadable."""
    layout = Layout.of(data)
    return layout.directory(data, layout.place(data, layout.first_at))


def chain(data: bytes) -> Iterator[Directory]:
    """The directories that follow one another, each once. Raises Unreadable where one cannot be read."""
    layout, seen = Layout.of(data), set[int]()
    at = layout.place(data, layout.first_at)
    while at and at not in seen and len(seen) < MOST_DIRECTORIES:
        seen.add(at)
        directory = layout.directory(data, at)
        yield directory
        at = directory.next


def below(data: bytes, directory: Directory, tag: int = SUB_DIRECTORIES) -> list[Directory]:
    """The directories whose places a tag holds; what cannot be read is left out."""
    layout, read = Layout.of(data), []
    for at in directory.integers(tag)[:MOST_DIRECTORIES]:
        try:
            read.append(layout.directory(data, at))
        except Unreadable:
            continue
    return read


def written(directory: Directory, at: int = 8, children: Mapping[int, Directory] | None = None) -> bytes:
    """A little-endian directory that lies at `at`, its values, and after it the directories that some of its tags lead to."""
    children = children or {}
    entries = dict(directory.entries) | dict.fromkeys(children, Entry.long(0))
    values_at = at + 2 + 12 * len(entries) + 4
    table, values = struct.pack("<H", len(entries)), bytearray()
    for tag, entry in sorted(entries.items()):
        if tag not in children and len(entry.data) <= 4:
            table += struct.pack("<HHI", tag, entry.type, entry.count) + entry.data.ljust(4, b"\0")
            continue
        values += b"\0" * (len(values) % 2)
        place = values_at + len(values)
        table += struct.pack("<HHII", tag, entry.type, entry.count, place)
        values += written(children[tag], place) if tag in children else entry.data
    return table + struct.pack("<I", 0) + bytes(values)


def file_of(directory: Directory, children: Mapping[int, Directory]) -> bytes:
    """A little-endian file of one directory and those that its tags lead to."""
    return struct.pack("<2sHI", b"II", 42, 8) + written(directory, 8, children)
