"""Which EXIF travels: Pillow writes it and reads what is left of it."""

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from service.pictures.directories import Directory
from service.pictures.exif import GEOGRAPHY, PREFIX, Exif

LAYERS, PRIVATE = 37724, 50000


def block() -> bytes:
    """A TIFF block as Pillow writes it."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Orientation], exif[LAYERS], exif[PRIVATE] = "Camera", 6, b"layers" * 9, b"hidden"
    exif[33550] = (1.0, 1.0, 0.0)  # ModelPixelScale of GeoTIFF
    photo = exif.get_ifd(IFD.Exif)
    photo[Base.LensModel], photo[Base.ColorSpace], photo[Base.MakerNote] = "50 mm", 65535, b"secret" * 9
    photo[Base.ExifImageWidth], photo[Base.ExifImageHeight] = 99, 77
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    return exif.tobytes().removeprefix(PREFIX)


def parsed(exif: Exif) -> Image.Exif:
    read = Image.Exif()
    read.load(exif.block())
    return read


@pytest.fixture
def exif() -> Exif:
    actual = Exif.of(block())
    assert actual is not None
    return actual


def test_what_people_say_of_a_picture_stays_and_private_tags_go(exif: Exif) -> None:
    read = parsed(exif)
    assert read[Base.Make] == "Camera"
    assert read.get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
    assert read.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (52.0, 30.0, 0.0)
    assert {LAYERS, PRIVATE}.isdisjoint(read)


def test_without_places_there_is_no_gps_and_no_geography(exif: Exif) -> None:
    read = parsed(exif.without_places())
    assert dict(read.get_ifd(IFD.GPSInfo)) == {}
    assert GEOGRAPHY.isdisjoint(read)
    assert read[Base.Make] == "Camera"


def test_without_geography_gps_stays(exif: Exif) -> None:
    read = parsed(exif.without_geography())
    assert GEOGRAPHY.isdisjoint(read)
    assert read.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (52.0, 30.0, 0.0)


def test_it_is_true_of_the_answer(exif: Exif) -> None:
    read = parsed(exif.as_srgb().sized(40, 24).turned(1).without_maker_note())
    photo = read.get_ifd(IFD.Exif)
    assert (read[Base.Orientation], photo[Base.ColorSpace]) == (1, 1)
    assert (photo[Base.ExifImageWidth], photo[Base.ExifImageHeight]) == (40, 24)
    assert Base.MakerNote not in photo


def test_nothing_is_said_that_was_not_said_before() -> None:
    empty = Exif(Directory({}))
    assert empty.turned(1).sized(4, 4).as_srgb().block() is None
    assert empty.turned(8).orientation == 8


@pytest.mark.parametrize(("written", "meant"), [(1, 1), (8, 8), (0, 1), (9, 1)])
def test_an_orientation_that_there_is_not_is_upright(written: int, meant: int) -> None:
    assert Exif(Directory({})).turned(written).orientation == meant


def test_a_prefix_may_be_there_and_what_is_no_exif_is_none(exif: Exif) -> None:
    assert Exif.of(PREFIX + block()) == exif
    assert exif.without_orientation().orientation == 1
    assert Exif.of(b"garbage") is None
    assert Exif.of(b"") is None
