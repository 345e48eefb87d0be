"""Pictures come back as they came: asserted on pixels, through the whole gateway with a model that changes nothing."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pytest_asyncio
import tifffile
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import GPS, IFD, Base

from service.pictures.encode import encode
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Picture, upright
from service.pictures.workers.pool import CodecPool
from tests.service.conftest import RunningApp, file_of, pixels_of, running, settings_for
from tests.service.hostile import OTHER_KINDS
from tests.service.pictures.files.test_tiff import tiff_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEEP = "/restore?task=keeper"
BOUNDS = Bounds(512 * 512, 8191)
LOSSLESS = ("PNG", "TIFF")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningApp]:
    """One for all: these tests leave nothing behind."""
    codecs = CodecPool(BOUNDS, 1, 60.0, 1 << 31)
    async with running(settings_for(tmp_path_factory.mktemp("jobs")), codecs=codecs) as gateway:
        yield gateway


async def kept(gateway: RunningApp, data: bytes, query: str = "") -> bytes:
    answer = await gateway.client.post(f"{KEEP}{query}", content=data)
    assert answer.status_code == 200, answer.text
    return answer.content


def opened(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (3, 3), (257, 255), (5, 600)])
async def test_any_size_comes_back_in_that_size(gateway: RunningApp, size: tuple[int, int]) -> None:
    pixels = pixels_of(*size)
    assert np.array_equal(np.asarray(opened(await kept(gateway, file_of(pixels)))), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
async def test_the_format_comes_back(gateway: RunningApp, kind: str) -> None:
    pixels = pixels_of(32, 48)
    result = opened(await kept(gateway, file_of(pixels, kind)))
    assert result.format == kind
    assert np.abs(np.asarray(result).astype(int) - pixels).mean() < (0.01 if kind in LOSSLESS else 12)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
async def test_every_mode_shows_the_same_picture(gateway: RunningApp, mode: str) -> None:
    source = Image.fromarray(pixels_of(24, 40))
    picture = _in_mode(source, mode)
    kind = "TIFF" if mode in {"CMYK", "YCbCr", "LAB", "PA"} else "PNG"
    file = BytesIO()
    (picture.convert("P") if mode == "PA" else picture).save(file, kind)
    shown, result = opened(file.getvalue()), opened(await kept(gateway, file.getvalue()))
    grey, alpha = mode in {"1", "L", "LA"}, mode in {"LA", "RGBA"}
    assert result.mode == {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, alpha]
    expected = np.asarray(shown.convert(result.mode)) if mode != "LAB" else np.asarray(source)
    assert np.abs(np.asarray(result).astype(int) - expected).max() <= (12 if mode == "LAB" else 0)


def _in_mode(source: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        there = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        return ImageCms.applyTransform(source, there)
    if mode in {"LA", "RGBA"}:
        picture = source.convert(mode)
        picture.putalpha(Image.linear_gradient("L").resize(source.size))
        return picture
    return source.convert("P" if mode == "PA" else mode)


async def test_a_palette_with_transparency_keeps_it(gateway: RunningApp) -> None:
    picture = Image.fromarray(pixels_of(16, 16)).quantize(16)
    file = BytesIO()
    picture.save(file, "PNG", transparency=3)
    result = opened(await kept(gateway, file.getvalue()))
    assert np.array_equal(np.asarray(result), np.asarray(opened(file.getvalue()).convert("RGBA")))


async def test_colours_under_full_transparency_come_back(gateway: RunningApp) -> None:
    pixels = np.dstack([pixels_of(16, 16), np.zeros((16, 16), np.uint8)])
    assert np.array_equal(np.asarray(opened(await kept(gateway, file_of(pixels)))), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_orientation_is_written_back(gateway: RunningApp, orientation: int, kind: str) -> None:
    pixels = np.kron(pixels_of(3, 5), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    sent = file_of(pixels, kind, exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(opened(sent)).convert("RGB")).astype(int)
    answer = await gateway.client.post(KEEP, content=sent)
    result = opened(answer.content)
    got = np.asarray(ImageOps.exif_transpose(result).convert("RGB")).astype(int)
    assert got.shape == shown.shape
    assert np.abs(got - shown).mean() < 4
    assert kind == "TIFF" or result.size == opened(sent).size
    bare = opened(await kept(gateway, sent, "&metadata=none"))
    assert bare.getexif().get(Base.Orientation, 1) == 1
    assert np.abs(np.asarray(bare).astype(int) - shown).mean() < 4


async def test_the_model_sees_the_picture_upright(gateway: RunningApp) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    answer = await gateway.client.post(f"{KEEP}&return=steps&format=png", content=file_of(pixels_of(10, 30), exif=exif))
    assert opened(answer.content).size == (3 * 10, 30)


@pytest.mark.parametrize("profile", ["adobergb", "displayp3"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
async def test_profiles_are_worked_in_srgb_and_given_back(gateway: RunningApp, profile: str, kind: str) -> None:
    icc = profile_of(profile)
    pixels = np.asarray(
        imagecodecs.cms_transform(pixels_of(24, 40), imagecodecs.cms_profile("srgb"), icc, colorspace="rgb", outcolorspace="rgb")
    )
    result = opened(await kept(gateway, file_of(pixels, kind, icc_profile=icc)))
    assert result.info["icc_profile"] == icc
    assert np.abs(np.asarray(result).astype(int) - pixels).max() <= 1


def profile_of(name: str) -> bytes:
    if name == "adobergb":
        return bytes(imagecodecs.cms_profile("adobergb"))
    primaries = [0.680, 0.320, 1, 0.265, 0.690, 1, 0.150, 0.060, 1]  # SMPTE EG 432-1: Display P3
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.3290, 1], primaries=primaries, gamma=2.2))


async def test_a_profile_changes_what_the_model_is_shown(gateway: RunningApp) -> None:
    pixels, icc = pixels_of(24, 40), profile_of("adobergb")
    with_profile = opened(await kept(gateway, file_of(pixels, icc_profile=icc), "&return=steps"))
    without = opened(await kept(gateway, file_of(pixels), "&return=steps"))
    assert np.abs(np.asarray(with_profile).astype(int) - np.asarray(without)).max() > 3


@pytest.mark.parametrize("profile", [b"garbage" * 100, b"\0" * 16 + b"CMYK" + b"\0" * 200, b"x" * 5_000_000])
async def test_a_profile_that_cannot_be_used_is_left_out(gateway: RunningApp, profile: bytes) -> None:
    pixels = pixels_of(16, 16)
    for kind in ("JPEG", "WEBP") if len(profile) > 4_000_000 else ("PNG", "JPEG"):
        result = opened(await kept(gateway, file_of(pixels, kind, icc_profile=profile)))
        assert "icc_profile" not in result.info
        assert np.abs(np.asarray(result).astype(int) - pixels).mean() < 12


async def test_a_grey_profile_stays_with_a_grey_picture(gateway: RunningApp) -> None:
    icc, pixels = bytes(imagecodecs.cms_profile("gray", gamma=1.8)), pixels_of(16, 16, 1)
    result = opened(await kept(gateway, file_of(pixels, icc_profile=icc)))
    assert (result.mode, result.info["icc_profile"]) == ("L", icc)
    assert np.abs(np.asarray(result).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_every_depth_and_number_of_channels_comes_back_exactly(
    gateway: RunningApp, kind: str, top: int, channels: int
) -> None:
    pixels = pixels_of(24, 40, channels, top)
    result = await kept(gateway, sixteen(pixels, kind))
    decoded = imagecodecs.png_decode(result) if kind == "png" else tifffile.imread(BytesIO(result))
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("kind", "other"), [("png", "tiff"), ("tiff", "png")])
async def test_sixteen_bits_go_from_one_format_to_the_other(gateway: RunningApp, kind: str, other: str, channels: int) -> None:
    pixels = pixels_of(24, 40, channels, 65535)
    result = await kept(gateway, sixteen(pixels, kind), f"&format={other}")
    decoded = imagecodecs.png_decode(result) if other == "png" else tifffile.imread(BytesIO(result))
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 5},
    ],
)
@pytest.mark.parametrize("top", [255, 65535])
async def test_tiffs_are_read_however_they_are_packed(gateway: RunningApp, options: dict[str, Any], top: int) -> None:
    pixels = pixels_of(24, 40, 3, top)
    decoded = tifffile.imread(BytesIO(await kept(gateway, tiff_of(pixels, "rgb", **options))))
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels)


async def test_a_tiffs_resolution_may_be_in_centimetres(gateway: RunningApp) -> None:
    sent = tiff_of(pixels_of(8, 8, 3, 65535), "rgb", resolution=(100, 100), resolutionunit="CENTIMETER")
    assert opened(await kept(gateway, sent, "&format=png")).info["dpi"] == pytest.approx((254, 254), abs=0.1)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_the_further_bits_of_an_avif_are_worked_on(gateway: RunningApp, bits: int, channels: int) -> None:
    pixels = pixels_of(24, 40, channels, 65535) >> (16 - bits)
    sent = imagecodecs.avif_encode(pixels, level=100, bitspersample=bits)
    decoded = imagecodecs.png_decode(await kept(gateway, sent, "&format=png"))
    assert decoded.dtype == np.uint16
    assert decoded.shape == pixels.shape
    assert np.abs(decoded / 65535 - pixels / (2**bits - 1)).max() < 2.5 / 2**bits
    assert opened(await kept(gateway, sent)).format == "AVIF"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff_of(pixels_of(24, 40).astype(np.float32), "rgb"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40, 1).astype(np.float32), "minisblack"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40).astype(np.float16), "rgb"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40, 1).astype(np.uint32), "minisblack"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40, 1).astype(np.int16), "minisblack"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40, 1, 65535) >> 4, "minisblack", bitspersample=12), "expected 1 to 8 bits, or 16 unsigned bits"),
        (tiff_of(pixels_of(24, 40, 3, 65535), "cielab"), "expected 1 to 8 bits, or 16 unsigned bits"),
        (
            imagecodecs.jpeg8_encode(pixels_of(24, 40, 3, 65535) >> 4, bitspersample=12),
            "12 bits is not read here; expected process",
        ),
        (imagecodecs.ljpeg_encode(pixels_of(24, 40, 1, 65535)), "coding process 3"),
    ],
)
async def test_what_would_be_cut_is_refused_in_words(gateway: RunningApp, data: bytes, words: str) -> None:
    answer = await gateway.client.post(KEEP, content=data)
    assert answer.status_code == 415
    assert words in answer.json()["detail"]


def sixteen(pixels: np.ndarray, kind: str) -> bytes:
    if kind == "png":
        return bytes(imagecodecs.png_encode(pixels))
    file = BytesIO()
    colour = pixels.ndim == 3 and pixels.shape[2] > 2
    extra = ["unassalpha"] if pixels.ndim == 3 and pixels.shape[2] in {2, 4} else None
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb" if colour else "minisblack",
        extrasamples=extra,
        planarconfig="contig" if pixels.ndim == 3 else None,
    )
    return file.getvalue()


async def test_sixteen_bits_keep_profile_orientation_and_dpi(gateway: RunningApp) -> None:
    pixels, icc = pixels_of(12, 20, 3, 65535), profile_of("adobergb")
    exif = Image.Exif()
    exif[Base.Orientation] = 8
    exif[Base.Artist] = "somebody"
    described = Picture(upright(pixels, 8), "png", 16, orientation=8, profile=icc, exif=exif.tobytes(), dpi=(300.0, 300.0))
    sent = encode(described, FORMATS["png"])
    png = await kept(gateway, sent)
    assert np.abs(imagecodecs.png_decode(png).astype(int) - imagecodecs.png_decode(sent)).max() <= 64
    restored = opened(png)
    assert (restored.info["icc_profile"], restored.getexif()[Base.Orientation], restored.getexif()[Base.Artist]) == (
        icc,
        8,
        "somebody",
    )
    assert restored.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    tiff = tifffile.TiffFile(BytesIO(await kept(gateway, sent, "&format=tiff"))).pages[0]
    assert (tiff.tags["Orientation"].value, tiff.tags["Artist"].value, tiff.iccprofile) == (8, "somebody", icc)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("SVG", "an SVG drawing"),
        ("GIF", "a GIF picture"),
        ("PSD", "a Photoshop file"),
        ("EPS", "a PostScript file"),
        ("FITS", "a FITS file"),
        ("JPEG 2000", "a JPEG 2000 picture"),
    ],
)
async def test_a_kind_that_is_not_read_is_called_by_its_name(gateway: RunningApp, kind: str, named: str) -> None:
    answer = await gateway.client.post(KEEP, content=OTHER_KINDS[kind])
    assert answer.status_code == 415
    assert answer.json()["detail"] == f"{named} is not read here; expected PNG, JPEG, WebP, AVIF, TIFF, JPEG XL or HEIC"


async def test_sixteen_bits_become_eight_where_the_format_has_no_more(gateway: RunningApp) -> None:
    pixels = pixels_of(24, 40, 3, 65535)
    result = opened(await kept(gateway, sixteen(pixels, "png"), "&format=webp"))
    assert (result.format, result.mode) == ("WEBP", "RGB")


async def test_alpha_is_laid_on_white_where_the_format_has_none(gateway: RunningApp) -> None:
    pixels = np.dstack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16), 64, np.uint8)])
    result = opened(await kept(gateway, file_of(pixels), "&format=jpeg"))
    assert np.abs(np.asarray(result).astype(int) - 191).max() <= 2


def with_exif(kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Camera & Sons"
    exif.get_ifd(IFD.Exif)[Base.LensModel] = "50 mm"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    return file_of(pixels_of(16, 16), kind, exif=exif, xmp=b"<x:xmpmeta xmlns:exif='e' exif:GPSLatitude='52,30N'/>")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
async def test_metadata_is_kept_without_places_unless_all_or_none_is_asked_for(gateway: RunningApp, kind: str) -> None:
    sent = with_exif(kind)
    pictures = {policy: opened(await kept(gateway, sent, f"&metadata={policy}")) for policy in ("keep", "all", "none")}
    exif = {policy: picture.getexif() for policy, picture in pictures.items()}
    assert exif["keep"][Base.Make] == exif["all"][Base.Make] == "Camera & Sons"
    assert exif["keep"].get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
    assert dict(exif["keep"].get_ifd(IFD.GPSInfo)) == {}
    assert exif["all"].get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (52.0, 30.0, 0.0)
    assert dict(exif["none"]) == {}
    assert b"GPSLatitude" not in (pictures["keep"].info.get("xmp") or b"")
    assert b"GPSLatitude" in pictures["all"].info["xmp"]
    assert "xmp" not in pictures["none"].info


async def test_the_thumbnail_of_the_dark_picture_is_not_given_back(gateway: RunningApp) -> None:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    thumbnail = file_of(pixels_of(8, 8), "JPEG")
    exif.get_ifd(IFD.IFD1)[Base.JpegIFOffset], exif.get_ifd(IFD.IFD1)[Base.JpegIFByteCount] = 0, len(thumbnail)
    result = opened(await kept(gateway, file_of(pixels_of(16, 16), "JPEG", exif=exif), "&metadata=all"))
    assert dict(result.getexif().get_ifd(IFD.IFD1)) == {}


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0" + b"x" * 65000])
async def test_broken_exif_is_left_out(gateway: RunningApp, exif: bytes) -> None:
    result = opened(await kept(gateway, file_of(pixels_of(16, 16), "JPEG", exif=exif)))
    assert result.size == (16, 16)


async def test_a_second_picture_in_a_jpeg_is_no_animation(gateway: RunningApp) -> None:
    file = BytesIO()
    Image.fromarray(pixels_of(16, 16)).save(file, "MPO", save_all=True, append_images=[Image.fromarray(pixels_of(8, 8))])
    result = opened(await kept(gateway, file.getvalue()))
    assert (result.format, result.size) == ("JPEG", (16, 16))


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "image/webp", "image/webp"),
        ("", "image/avif;q=0.5, image/jpeg", "image/jpeg"),
        ("&format=png", "image/webp", "image/png"),
        ("", "image/heic, */*;q=0.1", "image/png"),
        ("", "image/*", "image/png"),
    ],
)
async def test_format_beats_accept_beats_the_input(gateway: RunningApp, png: bytes, query: str, accept: str, expected: str) -> None:
    answer = await gateway.client.post(f"{KEEP}{query}", content=png, headers={"Accept": accept})
    assert answer.headers["content-type"] == expected
    assert answer.headers["vary"] == "Accept"


async def test_the_residual_is_what_was_taken_away(gateway: RunningApp, png: bytes) -> None:
    nothing = opened(await kept(gateway, png, "&return=residual"))
    assert set(np.unique(np.asarray(nothing))) == {128}
    answer: Any = await gateway.client.post("/restore?return=residual", content=png)
    assert set(np.unique(np.asarray(opened(answer.content)))) == {96}  # -0.5 of +-2: grey minus an eighth


async def test_the_strip_shows_the_start_every_step_and_the_end(gateway: RunningApp, png: bytes) -> None:
    strip = opened(await kept(gateway, png, "&return=steps&steps=4"))
    assert strip.size == (5 * 40, 24)
    last = np.asarray(strip)[:, -40:]
    assert np.array_equal(last, np.asarray(opened(png)))
