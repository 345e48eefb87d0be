"""What EXIF travels from a picture to its answer: a list of what may, so that nothing hidden does.

The list is the tags that the EXIF standard (CIPA DC-008) and TIFF 6.0 define for what people know and say about a picture. Left out
are the layout of the source file, its thumbnail (an unrestored picture), and all private tags: an editor's layers and texts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from service.pictures.directories import (
    EXIF,
    GPS,
    Directory,
    Entry,
    Unreadable,
    below,
    file_of,
    first_directory,
)

PREFIX = b"Exif\0\0"
ORIENTATION, COLOUR_SPACE, GAMMA, PIXEL_WIDTH, PIXEL_HEIGHT, MAKER_NOTE = 274, 40961, 42240, 40962, 40963, 37500
EXPOSURE = (33434, 33437, 34855)  # ExposureTime, FNumber, PhotographicSensitivity
SRGB = 1  # of COLOUR_SPACE
ROOT_TAGS = frozenset({269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)})
PHOTO_TAGS = frozenset(
    {
        *(33434, 33437, 34850, 34852, 34855, 34856, *range(34864, 34870), 36864, 36867, 36868, *range(36880, 36883)),
        *(37121, *range(37377, 37387), 37396, 37500, 37510, *range(37520, 37523), *range(37888, 37894)),
        *(40960, 40961, 40962, 40963, 40964, 41483, 41484, 41486, 41487, 41488, 41492, 41493, 41495, *range(41728, 41731)),
        *(*range(41985, 41997), 42016, *range(42032, 42046), 42080, 42081, 42082, 42240),
    }
)
GEOGRAPHY = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113})  # GeoTIFF 1.1, and GDAL's texts
LAYOUT_OF_SOURCE = frozenset({37121})  # ComponentsConfiguration
NOT_OF_ROOT = PHOTO_TAGS - {37500, 40962, 40963}  # TIFF/EP cameras write them into the first directory


@dataclass(frozen=True)
class Exif:
    """What may travel. root: of the picture; photo: how it was taken; places: where, each None if nothing is said."""

    root: Directory
    photo: Directory | None = None
    places: Directory | None = None

    @classmethod
    def of(cls, data: bytes) -> "Exif | None":
        """The EXIF in a block, with or without its prefix, or in a TIFF's first directory; None where nothing can be read."""
        data = data.removeprefix(PREFIX)
        try:
            return cls.in_directory(data, first_directory(data))
        except Unreadable:
            return None

    @classmethod
    def in_directory(cls, data: bytes, root: Directory) -> "Exif":
        """What a directory of a TIFF says."""
        photo, places = _first(data, root, EXIF), _first(data, root, GPS)
        kept = {tag: entry for tag, entry in root.entries.items() if tag in ROOT_TAGS | NOT_OF_ROOT | GEOGRAPHY}
        return cls(
            Directory(kept),
            None if photo is None else Directory(_only(photo, PHOTO_TAGS - LAYOUT_OF_SOURCE)),
            None if places is None else Directory(_only(places, range(32))),
        )

    @property
    def orientation(self) -> int:
        """1..8; 1 where none is given, or none that there is."""
        value = self.root.integer(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1

    @property
    def exposure(self) -> float | None:
        """The light for which the camera was set, EV at ISO 100: log2(N^2 / t) - log2(S / 100); None where a part is not said."""
        entries = {} if self.photo is None else self.photo.entries
        values = [entry.number if (entry := entries.get(tag)) is not None else None for tag in EXPOSURE]
        seconds, stop, sensitivity = (value if value is not None and value > 0 else None for value in values)
        if seconds is None or stop is None or sensitivity is None:
            return None
        return math.log2(stop**2 / seconds) - math.log2(sensitivity / 100)

    @property
    def tells_places(self) -> bool:
        """Whether it says where the picture was taken."""
        return (self.places is not None and bool(self.places.entries)) or bool(GEOGRAPHY & self.root.entries.keys())

    def without_places(self) -> "Exif":
        """The same, telling of no place."""
        return Exif(self.root.without(GEOGRAPHY), self.photo)

    def without_geography(self) -> "Exif":
        """The same, less what only a TIFF can say of places."""
        return Exif(self.root.without(GEOGRAPHY), self.photo, self.places)

    def as_srgb(self) -> "Exif":
        """The same, for a picture that was turned into sRGB."""
        if self.photo is None or COLOUR_SPACE not in self.photo.entries:
            return self
        photo = self.photo.without({GAMMA}).with_entries({COLOUR_SPACE: Entry.short(SRGB)})
        return Exif(self.root, photo, self.places)

    def sized(self, width: int, height: int) -> "Exif":
        """The same for a picture of that size as it is stored."""
        if self.photo is None or PIXEL_WIDTH not in self.photo.entries:
            return self
        sizes = {PIXEL_WIDTH: Entry.long(width), PIXEL_HEIGHT: Entry.long(height)}
        return Exif(self.root, self.photo.with_entries(sizes), self.places)

    def turned(self, orientation: int) -> "Exif":
        """The same with another orientation; one that is 1 is said only where one was said."""
        if orientation == 1 and ORIENTATION not in self.root.entries:
            return self
        return Exif(self.root.with_entries({ORIENTATION: Entry.short(orientation)}), self.photo, self.places)

    def without_orientation(self) -> "Exif":
        """The same, for a container that turns the picture itself."""
        return Exif(self.root.without({ORIENTATION}), self.photo, self.places)

    def without_maker_note(self) -> "Exif":
        """The same without what is often the largest part of it."""
        return Exif(self.root, None if self.photo is None else self.photo.without({MAKER_NOTE}), self.places)

    @property
    def children(self) -> Mapping[int, Directory]:
        """The directories beneath root, by tag."""
        named = {EXIF: self.photo, GPS: self.places}
        return {tag: directory for tag, directory in named.items() if directory is not None and directory.entries}

    def block(self) -> bytes | None:
        """A TIFF file with all of it, without the prefix; None where there is nothing."""
        return file_of(self.root, self.children) if self.root.entries or self.children else None


def _only(directory: Directory, tags: object) -> dict[int, Entry]:
    return {tag: entry for tag, entry in directory.entries.items() if tag in tags}  # type: ignore[operator]


def _first(data: bytes, directory: Directory, tag: int) -> Directory | None:
    return next(iter(below(data, directory, tag)), None)
