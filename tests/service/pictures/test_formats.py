"""The records of the picture formats, and how a file's first bytes choose one."""

import pytest

from service.errors import InvalidValue, UnsupportedMedia
from service.pictures.formats import (
    ALL_FORMATS,
    BY_MEDIA_TYPE,
    BY_SUFFIX,
    FORMATS,
    READ,
    answer_format,
    brands,
    format_named,
    name_of,
    sniff,
)
from tests.service.conftest import file_of, pixels_of


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_a_files_first_bytes_tell_its_format(name: str) -> None:
    assert sniff(file_of(pixels_of(8, 8), name.upper())).name == name


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\x0a", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
        (b"MM\0+", "tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
    ],
)
def test_containers_are_recognised_by_their_brands(start: bytes, name: str) -> None:
    assert sniff(start).name == name


def test_brands_are_those_of_the_first_box_alone() -> None:
    assert brands(b"\0\0\0\x14ftypavif\0\0\0\0mif1heic") == (b"avif", b"mif1")
    assert brands(b"RIFF....WEBP") == ()


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"GIF89a", "a GIF picture"),
        (b"\xef\xbb\xbf \n<svg xmlns", "an SVG drawing"),
        (b"FUJIFILMCCD-RAW", "a camera raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw file"),
        (b"", "an empty file"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(start: bytes, words: str) -> None:
    assert name_of(start) == words
    with pytest.raises(UnsupportedMedia, match=f"{words} is not read here; expected {READ}") as refused:
        sniff(start)
    assert ("develop it" in str(refused.value)) == (words == "a camera raw file")


def test_a_format_is_chosen_by_its_name_and_one_that_is_only_read_is_answered_as_another() -> None:
    assert format_named("webp") is FORMATS["webp"]
    with pytest.raises(InvalidValue, match="format 'heic' is not written here; expected one of"):
        format_named("heic")
    assert answer_format("heic").name == "jpeg"
    assert answer_format("tiff").name == "tiff"


def test_every_record_has_a_codec_and_names_of_its_own() -> None:
    for name, record in ALL_FORMATS.items():
        assert record.name == name
        assert callable(record.module.read)
        assert callable(record.module.write)
        assert all(BY_SUFFIX[suffix] is record for suffix in record.suffixes)
    assert all(BY_MEDIA_TYPE[media_type] is record for record in FORMATS.values() for media_type in record.media_types)
    assert (FORMATS["jpeg"].media_type, FORMATS["jpeg"].suffix) == ("image/jpeg", ".jpg")
