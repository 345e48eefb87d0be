"""Boxes of ISO base media files, made here and as libavif writes them."""

import struct

import imagecodecs
import pytest

from service.pictures.colour import CodePoints
from service.pictures.files.boxes import (
    Property,
    box,
    boxes,
    child,
    colours_of,
    full_box,
    item_types,
    primary_properties,
)
from tests.service.conftest import pixels_of

INNER = box(b"abcd", b"12") + box(b"efgh", b"")


def test_boxes_are_read_one_after_the_other() -> None:
    data = INNER + box(b"ijkl", b"345")
    assert [(one.name, one.content(data)) for one in boxes(data)] == [(b"abcd", b"12"), (b"efgh", b""), (b"ijkl", b"345")]


def test_a_size_of_1_is_a_long_size_and_of_0_reaches_to_the_end() -> None:
    data = struct.pack(">I4sQ", 1, b"long", 18) + b"ab" + struct.pack(">I4s", 0, b"rest") + b"xyz"
    assert [(one.name, one.content(data)) for one in boxes(data)] == [(b"long", b"ab"), (b"rest", b"xyz")]


@pytest.mark.parametrize("tail", [b"\0\0\0", b"\0\0\0\4abcd", b"\0\0\1\0abcdef", struct.pack(">I4sQ", 1, b"long", 8)])
def test_what_cannot_be_read_ends_the_boxes(tail: bytes) -> None:
    assert [one.name for one in boxes(INNER + tail)] == [b"abcd", b"efgh"]


def test_a_child_is_looked_for_behind_its_parents_own_bytes() -> None:
    data = full_box(b"meta", 1, 5, INNER)
    [meta] = boxes(data)
    assert data[meta.start : meta.start + 4] == b"\1\0\0\5"
    box = child(data, meta, b"efgh", skip=4)
    assert box is not None
    assert box.content(data) == b""
    assert child(data, meta, b"none", skip=4) is None


def test_the_primary_items_properties_are_those_that_an_encoder_wrote() -> None:
    data = imagecodecs.avif_encode(pixels_of(24, 40), level=90, primaries=12, transfer=13, matrix=6)
    properties = {one.name: one.content for one in primary_properties(data)}
    assert struct.unpack(">II", properties[b"ispe"][4:]) == (40, 24)
    assert colours_of(primary_properties(data)) == (None, CodePoints(12, 13))
    assert item_types(data) == [b"av01"]


def test_alpha_is_an_item_of_its_own() -> None:
    assert item_types(imagecodecs.avif_encode(pixels_of(24, 40, 4), level=90)) == [b"av01", b"av01"]


@pytest.mark.parametrize(
    "data", [b"", box(b"ftyp", b"avif"), full_box(b"meta", 0, 0, b""), full_box(b"meta", 0, 0, box(b"iprp", b""))]
)
def test_a_file_without_properties_has_none(data: bytes) -> None:
    assert primary_properties(data) == []
    assert item_types(data) == []


def test_the_first_profile_and_the_first_code_points_count() -> None:
    points = [Property(b"colr", b"nclx" + struct.pack(">HHHB", code, 13, 6, 128)) for code in (12, 9)]
    profiles = [Property(b"colr", b"prof" + name) for name in (b"one", b"two")]
    assert colours_of([Property(b"ispe", b""), *points, *profiles]) == (b"one", CodePoints(12, 13))
    assert colours_of([Property(b"colr", b"nclx\0")]) == (None, None)
