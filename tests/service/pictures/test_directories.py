"""Directories of TIFF, BigTIFF and EXIF: tifffile writes them in both byte orders, Pillow reads what is written here."""

import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.pictures.directories import (
    EXIF,
    MOST_ENTRIES,
    Directory,
    Entry,
    Layout,
    Unreadable,
    below,
    chain,
    file_of,
    first_directory,
    swapped,
)

WIDTH, LENGTH, RESOLUTION, DESCRIPTION = 256, 257, 282, 270


def tiff(pages: int = 1, **options: object) -> bytes:
    file = BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:  # type: ignore[arg-type]
        for page in range(pages):
            writer.write(np.zeros((24, 40 + page), np.uint8), metadata=None, description="words", resolution=(300, 150.5))
    return file.getvalue()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_are_read_in_both_byte_orders_and_sizes(order: str, big: bool) -> None:
    directory = first_directory(tiff(byteorder=order, bigtiff=big))
    assert (directory.integer(WIDTH), directory.integer(LENGTH)) == (40, 24)
    assert directory.entries[RESOLUTION].number == pytest.approx(300)
    assert directory.entries[DESCRIPTION].data.rstrip(b"\0") == b"words"
    assert directory.entries[DESCRIPTION].numbers == ()


def test_directories_that_follow_one_another_are_read_once_each() -> None:
    data = tiff(pages=3)
    directories = list(chain(data))
    assert [one.integer(WIDTH) for one in directories] == [40, 41, 42]
    ring = bytearray(data)
    Layout.of(data).set_place(ring, directories[2].next_at, directories[0].at)
    assert len(list(chain(bytes(ring)))) == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no TIFF header"),
        (b"GIF89a..", "no TIFF header"),
        (b"II\x2c\0\0\0\0\0", "TIFF version 44; expected 42 or 43"),
        (struct.pack("<2sHI", b"II", 42, 99), "nothing at byte 99 of 8"),
        (struct.pack("<2sHIH", b"II", 42, 8, MOST_ENTRIES + 1), "a directory of 4097 entries"),
    ],
)
def test_what_is_no_directory_is_called_by_its_fault(data: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        first_directory(data)


def test_what_lies_outside_the_file_costs_one_value() -> None:
    entries = struct.pack("<HHII", WIDTH, 4, 1, 40) + struct.pack("<HHII", DESCRIPTION, 2, 900, 5000)
    unknown = struct.pack("<HHII", LENGTH, 99, 1, 1)
    directory = first_directory(struct.pack("<2sHIH", b"II", 42, 8, 3) + entries + unknown + struct.pack("<I", 0))
    assert directory.entries == {WIDTH: Entry.long(40)}
    assert directory.integer(LENGTH, 7) == 7
    assert directory.integers(LENGTH) == ()


def test_a_file_of_directories_is_read_again_and_by_pillow() -> None:
    root = Directory({DESCRIPTION: Entry(2, 12, b"a long text\0"), 274: Entry.short(6)})
    photo = Directory({40962: Entry.long(70_000)})
    data = file_of(root, {EXIF: photo})
    read = first_directory(data)
    assert {tag: entry for tag, entry in read.entries.items() if tag != EXIF} == root.entries
    assert below(data, read, EXIF)[0].entries == photo.entries
    exif = Image.Exif()
    exif.load(data)
    assert (exif[DESCRIPTION], exif[274], exif.get_ifd(EXIF)[40962]) == ("a long text", 6, 70_000)


def test_a_place_of_a_directory_that_is_not_there_is_passed_over() -> None:
    root = Directory({330: Entry(4, 1, struct.pack("<I", 9000))})
    data = file_of(root, {})
    assert below(data, first_directory(data)) == []


def test_ratios_are_quotients_and_a_divisor_of_nothing_makes_nothing() -> None:
    assert Entry(5, 2, struct.pack("<4I", 3, 2, 1, 0)).numbers == (1.5, 0.0)
    assert Entry(10, 1, struct.pack("<2i", -1, 4)).number == -0.25
    assert Entry(7, 2, b"\1\2").numbers == (1, 2)


def test_bytes_are_swapped_number_by_number() -> None:
    assert swapped(b"\1\2\3\4", 2) == b"\2\1\4\3"
    assert swapped(b"\1\2\3\4", 4) == b"\4\3\2\1"
    assert swapped(b"abc", 1) == b"abc"


def test_a_directory_is_changed_by_making_another() -> None:
    directory = Directory({1: Entry.short(1), 2: Entry.short(2)})
    assert directory.without({1}).entries.keys() == {2}
    assert directory.with_entries({3: Entry.short(3)}).entries.keys() == {1, 2, 3}
    assert directory.entries.keys() == {1, 2}
