"""TIFF files: of whole samples, however they are laid out; damaged ones; and what is written beside the pixels."""

import itertools
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from service.errors import Malformed, ServiceError, TooLarge, UnsupportedMedia
from service.pictures.decode import decode
from service.pictures.exif import PREFIX
from service.pictures.files.tiff import divided, read, write
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Outgoing
from tests.service.conftest import pixels_of

BOUNDS = Bounds(512 * 512, 8191)
LOSSLESS: dict[str, dict[str, Any]] = {"webp": {"lossless": True}, "jpegxl": {"lossless": True}}


def tiff_of(pixels: np.ndarray, photometric: str, extra: list[str] | None = None, **options: Any) -> bytes:
    """Pixels h w c."""
    file = BytesIO()
    layout = options.pop("planarconfig", "contig")
    pixels = np.moveaxis(pixels, -1, 0) if layout == "separate" and pixels.ndim == 3 else pixels
    tifffile.imwrite(
        file, pixels, photometric=photometric, extrasamples=extra, planarconfig=layout if pixels.ndim == 3 else None, **options
    )
    return file.getvalue()


def opaque(colour: np.ndarray, _: np.ndarray) -> np.ndarray:
    return colour


def with_alpha(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.concatenate([colour, alpha[..., None]], axis=-1)


ALPHA = {
    "straight": (["unassalpha"], with_alpha),
    "multiplied": (["assocalpha"], with_alpha),
    "padding": (["unspecified"], opaque),
    "more": (["unspecified", "unassalpha"], with_alpha),
    "none": (None, opaque),
}


DEEP = ("lzma", "zstd", "jpegxl", "packbits", "deflate")


@pytest.mark.parametrize(("compression", "top"), [("webp", 255), *itertools.product(DEEP, (255, 65535))])
def test_a_compression_that_loses_nothing_gives_the_samples_back(compression: str, top: int) -> None:
    pixels = pixels_of(24, 40, 3, top)
    source = read(tiff_of(pixels, "rgb", compression=compression, compressionargs=LOSSLESS.get(compression)), BOUNDS)
    assert np.array_equal(source.samples.colour, pixels)
    assert source.depth == (8 if top == 255 else 16)


def test_a_compression_that_is_not_read_is_named() -> None:
    for top in (255, 65535):
        with pytest.raises(UnsupportedMedia, match="compression 34712 is not read here; expected none, LZW, deflate"):
            read(tiff_of(pixels_of(24, 40, 3, top), "rgb", compression="jpeg2000"), BOUNDS)


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb", "separated"])
def test_every_tiff_of_whole_samples_shows_the_same_picture(photometric: str, alpha: str, top: int, layout: str) -> None:
    """Grey, RGB and CMYK; alpha of each kind; both depths and layouts: nothing is refused, cut, or taken for something else."""
    count = {"rgb": 3, "separated": 4}.get(photometric, 1)
    colour = pixels_of(24, 40, 4, top)[..., :count]
    shade = pixels_of(24, 40, 1, top, seed=1) + colour.dtype.type(top // 5)
    extra, shown = ALPHA[alpha]
    stored = top - colour if photometric == "miniswhite" else colour
    if alpha == "multiplied":
        stored = np.rint(colour * (shade[..., None] / top)).astype(colour.dtype)
        stored = top - stored if photometric == "miniswhite" else stored
    parts = [stored, *([np.zeros_like(shade)[..., None]] if alpha == "more" else []), *([shade[..., None]] if extra else [])]
    data = tiff_of(np.concatenate(parts, axis=-1).squeeze(), photometric, extra, planarconfig=layout)
    picture = decode(data, BOUNDS)
    if photometric == "separated":
        colour = np.rint((top - colour[..., :3].astype(float)) * (top - colour[..., 3:].astype(float)) / top)
    expected = shown(np.repeat(colour, 3, axis=-1) if count == 1 else colour, shade)
    actual = shown(picture.pixels, picture.alpha) if shown is with_alpha else picture.pixels  # type: ignore[arg-type]
    assert (picture.alpha is not None, picture.grey) == (shown is with_alpha, count == 1)
    assert picture.depth == (8 if top == 255 else 16)
    inexact = 3 if alpha == "multiplied" or photometric == "separated" else 0
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= inexact


def damaged(data: bytes, draw: np.random.Generator) -> bytes:
    """A few bytes changed, most of them near the beginning."""
    spoiled = bytearray(data)
    for _ in range(draw.choice((1, 2, 4, 8))):
        spoiled[draw.integers(min(len(spoiled), draw.choice((200, len(spoiled)))))] = draw.choice((0, 1, 255, draw.integers(256)))
    return bytes(spoiled)


def test_a_damaged_tiff_is_a_picture_or_refused_and_nothing_else() -> None:
    draw = np.random.default_rng(0)
    whole = [
        tiff_of(
            pixels_of(24, 40, channels, top), "rgb" if channels > 2 else "minisblack", ["unassalpha"] * (channels % 2 == 0), **how
        )
        for channels in (1, 2, 3, 4)
        for top in (255, 65535)
        for how in ({}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True}, {"bigtiff": True})
    ]
    refused = 0
    for _ in range(50):
        for data in whole:
            try:
                assert decode(damaged(data, draw), BOUNDS).pixels.shape[2] == 3
            except (Malformed, TooLarge, UnsupportedMedia):
                refused += 1
    assert 200 < refused < 1500


def test_a_multiplied_colour_is_divided_by_its_alpha_and_clips() -> None:
    colour = np.array([[[50, 100, 0]], [[200, 255, 7]], [[9, 9, 9]]], np.uint8)
    alpha = np.array([[100], [200], [0]], np.uint8)
    assert divided(colour, alpha).tolist() == [[[128, 255, 0]], [[255, 255, 9]], [[0, 0, 0]]]


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read_again(channels: int, top: int) -> None:
    pixels = pixels_of(9, 7, channels, top)
    source = read(write(Outgoing(pixels, FORMATS["tiff"])), BOUNDS)
    planes = pixels[..., None] if channels == 1 else pixels
    count = 1 if channels < 3 else 3
    assert np.array_equal(source.samples.colour, planes[..., 0] if count == 1 else planes[..., :3])
    assert (source.samples.alpha is not None) == (channels in {2, 4})
    assert source.samples.alpha is None or np.array_equal(source.samples.alpha, planes[..., -1])
    assert source.depth == (8 if top == 255 else 16)


def test_profile_resolution_xmp_orientation_and_exif_are_read_again() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    exif.get_ifd(IFD.Exif)[Base.LensModel] = "50 mm"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSAltitude] = 34.0
    block = exif.tobytes().removeprefix(PREFIX)
    facts = {"profile": b"p" * 130, "dpi": (300.0, 150.0), "xmp": b"<x/>", "orientation": 6, "exif": block}
    data = write(Outgoing(pixels_of(4, 6), FORMATS["tiff"], **facts))  # type: ignore[arg-type]
    source = read(data, BOUNDS)
    assert (source.colours.profile, source.xmp) == (b"p" * 130, b"<x/>")
    assert source.dpi == pytest.approx((300, 150))
    shown = Image.open(BytesIO(data)).getexif()
    assert (shown[Base.Orientation], shown[Base.Artist]) == (6, "somebody")
    assert shown.get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
    assert shown.get_ifd(IFD.GPSInfo)[GPS.GPSAltitude] == 34.0


@pytest.mark.parametrize(
    ("data", "fault", "words"),
    [
        (b"II*\0", Malformed, "damaged or cut short"),
        (tiff_of(pixels_of(600, 600), "rgb"), TooLarge, "at most 262144 are allowed"),
        (tiff_of(pixels_of(8, 8).astype(np.float32), "rgb"), UnsupportedMedia, "a TIFF of this layout is not read here"),
        (
            tiff_of(pixels_of(8, 8, 1), "minisblack", subfiletype=0, extratags=[(50706, "B", 4, b"\1\4\0\0", True)]),
            UnsupportedMedia,
            "raw",
        ),
    ],
)
def test_what_is_not_read_is_refused_in_words(data: bytes, fault: type[ServiceError], words: str) -> None:
    with pytest.raises(fault, match=words):
        read(data, BOUNDS)


def test_a_thumbnail_before_the_picture_is_no_page() -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(pixels_of(4, 4), photometric="rgb", subfiletype=1, metadata=None)
        writer.write(pixels_of(8, 8), photometric="rgb", metadata=None)
    assert np.array_equal(read(file.getvalue(), BOUNDS).samples.colour, pixels_of(8, 8))
