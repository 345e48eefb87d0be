"""JPEG files: their segments, scans, what lies behind the picture, and what is written."""

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base
from PIL.MpoImagePlugin import MpoImageFile

from service.errors import TooLarge, UnsupportedMedia
from service.pictures.exif import PREFIX, Exif
from service.pictures.files.jpeg import LARGEST_SEGMENT, extent, read, with_gain_map, write
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import file_of, pixels_of
from tests.service.hostile import many_scans

BOUNDS = Bounds(512 * 512, 8191)
JPEG = FORMATS["jpeg"]
PLAIN = file_of(pixels_of(16, 24), "JPEG")


@pytest.mark.parametrize(("options", "marker"), [({}, 0xC0), ({"progressive": True}, 0xC2)])
def test_the_coding_process_scans_and_end_are_found(options: dict, marker: int) -> None:
    data = file_of(pixels_of(16, 24), "JPEG", **options)
    coding = extent(data + b"behind")
    assert coding.frame == (marker, 8)
    assert coding.end == len(data)
    assert coding.scans == (1 if marker == 0xC0 else 10)


def test_a_picture_that_is_cut_short_reaches_to_its_end() -> None:
    assert extent(PLAIN[:-9]).end == len(PLAIN) - 9
    assert extent(b"\xff\xd8\xff").scans == 0


def test_pixels_profile_and_resolution_are_read() -> None:
    source = read(file_of(pixels_of(16, 24), "JPEG", icc_profile=b"p" * 200, dpi=(300, 150)), BOUNDS)
    assert np.array_equal(source.samples.colour, np.asarray(Image.open(BytesIO(PLAIN))))
    assert (source.colours.profile, source.dpi) == (b"p" * 200, (300.0, 150.0))


def test_other_processes_and_bombs_of_scans_are_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="coding process 3 with 16 bits is not read here"):
        read(imagecodecs.ljpeg_encode(pixels_of(16, 16, 1, 65535)), BOUNDS)
    with pytest.raises(TooLarge, match=r"the JPEG has 30\d\d scans; at most 200 are allowed"):
        read(many_scans(), BOUNDS)
    with pytest.raises(TooLarge, match="at most 16 are allowed"):
        read(PLAIN, Bounds(16, 8191))


def test_a_gain_map_is_read_as_it_was_announced() -> None:
    gain_map = file_of(pixels_of(4, 6), "JPEG", xmp=b"<x xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/'/>")
    whole = with_gain_map(PLAIN, b"<x><rdf:RDF></rdf:RDF></x>", gain_map)
    source = read(whole, BOUNDS)
    assert source.gain_map == gain_map
    assert source.further == ()
    assert b"<x><rdf:RDF><rdf:Description" in (source.xmp or b"")
    with Image.open(BytesIO(whole)) as first:
        pictures = MpoImageFile.adopt(first)  # it finds the second picture by the Multi-Picture index
        assert pictures.n_frames == 2
        pictures.seek(1)
        assert pictures.size == (6, 4)


@pytest.mark.parametrize(
    ("behind", "further"),
    [
        (b"", ()),
        (b"\0" * 9 + PLAIN, ("further-pictures",)),
        (b"\0\0\0\x18ftypmp42" + b"video", ("motion-video",)),
        (PLAIN + PLAIN + b"\0\0\0\x18ftypmp42", ("further-pictures", "motion-video")),
    ],
)
def test_what_lies_behind_a_picture_is_named(behind: bytes, further: tuple[str, ...]) -> None:
    source = read(PLAIN + behind, BOUNDS)
    assert (source.gain_map, source.further) == (None, further)


def test_exif_that_is_too_long_loses_the_makers_note_first() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    exif.get_ifd(0x8769)[Base.MakerNote] = b"x" * LARGEST_SEGMENT
    source = read(write(Outgoing(pixels_of(8, 8), JPEG, exif=exif.tobytes().removeprefix(PREFIX))), BOUNDS)
    actual = Exif.of(source.exif or b"")
    assert actual is not None
    assert actual.root.entries[Base.Artist].data == b"somebody\0"


def test_metadata_is_read_again() -> None:
    source = read(write(Outgoing(pixels_of(8, 8), JPEG, xmp=b"<x/>", dpi=(72.0, 72.0), profile=b"p" * 200, quality=60)), BOUNDS)
    assert (source.xmp, source.dpi, source.colours.profile) == (b"<x/>", (72.0, 72.0), b"p" * 200)
