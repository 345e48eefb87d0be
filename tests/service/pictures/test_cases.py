"""Pictures as people's cameras, scanners and editors make them: what each must come back as, and another input of each kind.

The fixtures show four quadrants. Their colours are read by libvips and LittleCMS, never by the service's own reader.
"""

import struct
import zlib
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pytest_asyncio
import pyvips
import tifffile
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from tests.service.conftest import RunningApp, running, settings_for
from tests.service.hostile import chunk, spoiled

pytestmark = pytest.mark.asyncio(loop_scope="module")
CASES = Path(__file__).parents[2] / "fixtures" / "cases"
COLOURS = ((220, 70, 60), (60, 200, 80), (70, 90, 220), (200, 200, 200))
P3_SHOWN = ((239, 52, 50), (0, 203, 58), (65, 91, 228), (200, 200, 200))
RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</rdf:RDF></x:xmpmeta>'
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningApp]:
    async with running(settings_for(tmp_path_factory.mktemp("jobs"))) as gateway:
        yield gateway


async def restored(gateway: RunningApp, data: bytes, query: str = "") -> Any:
    answer = await gateway.client.post(f"/restore?task=keeper{query}", content=data)
    assert answer.status_code == 200, answer.text
    return answer


def case(name: str) -> bytes:
    [path] = CASES.glob(f"{name}.*")
    return path.read_bytes()


def from_phone(name: str) -> bytes:
    """A file that cjxl, or libheif with x265, wrote of the quadrants at 203 nits."""
    return CASES.with_name(name.split("/", maxsplit=1)[0]).joinpath(name.split("/")[1]).read_bytes()


def shown(data: bytes) -> np.ndarray:
    """A file's pixels h w 3 in sRGB, upright, as libvips shows them."""
    picture = pyvips.Image.new_from_buffer(data, "").autorot()
    if picture.get_typeof("icc-profile-data"):
        picture = picture.icc_transform("srgb", intent="relative")
    picture = picture.colourspace("srgb")
    return np.asarray(picture.flatten(background=255) if picture.hasalpha() else picture)[..., :3]


def quadrants(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.array([pixels[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)], int)


def assert_colours(data: bytes, expected: Any = COLOURS, levels: int = 3) -> None:
    assert np.abs(quadrants(shown(data)) - np.array(expected)).max() <= levels, quadrants(shown(data)).tolist()


def picture(colours: Any = COLOURS, top: int = 255, size: int = 32) -> np.ndarray:
    """Four quadrants of size/2, the colours in 0 .. 255 of the full range."""
    rows = np.array(colours, float).reshape(2, 2, -1)
    return np.rint(np.kron(rows, np.ones((size // 2, size // 2, 1))) / 255 * top).astype(np.uint8 if top == 255 else np.uint16)


def to_linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


FROM_709_TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087, table 1
FROM_709_TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])


def pq(light: np.ndarray) -> np.ndarray:
    """BT.2100, table 4: light of cd/m2 -> signal."""
    y = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100, table 5: light of a display of 1,000 cd/m2 -> signal."""
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light / 1000 * (luminance[..., None] / 1000) ** (-0.2 / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Synthetic"
    exif.get_ifd(IFD.Exif)[Base.LensModel] = "50 mm"
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = "2024:01:01 10:00:00"
    return exif.tobytes()


def file_of(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_with(pixels: np.ndarray, *chunks: bytes) -> bytes:
    data = bytes(imagecodecs.png_encode(pixels))
    return data[:33] + b"".join(chunks) + data[33:]


def tiff_of(pixels: np.ndarray, **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb", "metadata": None} | options))
    return file.getvalue()


EXIF_SOURCES: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("tiff-with-exif"),
    "JPEG": lambda: file_of(picture(), "JPEG", quality=95, subsampling=0, exif=exif_block()),
    "WebP": lambda: file_of(picture(), "WEBP", lossless=True, exif=exif_block()),
    "AVIF": lambda: file_of(picture(), "AVIF", quality=95, subsampling="4:4:4", exif=exif_block()),
    "16-bit PNG": lambda: png_with(picture(top=65535), chunk(b"eXIf", exif_block()[6:])),
    "BigTIFF": lambda: as_big_endian_with_exif(picture(top=65535)),
}


def as_big_endian_with_exif(pixels: np.ndarray) -> bytes:
    """A big-endian BigTIFF of 16 bits whose first directory leads to an EXIF directory."""
    data = bytearray(
        tiff_of(pixels, byteorder=">", bigtiff=True, extratags=[(271, "s", 0, "Synthetic", True), (34666, "Q", 1, 0, True)])
    )
    entries = [(Base.DateTimeOriginal, b"2024:01:01 10:00:00\0"), (Base.LensModel, b"50 mm\0")]
    place = len(data)
    table, values = struct.pack(">Q", len(entries)), b""
    for tag, text in entries:
        inline = text.ljust(8, b"\0") if len(text) <= 8 else struct.pack(">Q", place + 8 + 20 * len(entries) + 8 + len(values))
        table += struct.pack(">HHQ", tag, 2, len(text)) + inline
        values += b"" if len(text) <= 8 else text
    at = data.index(struct.pack(">H", 34666))
    data[at : at + 20] = struct.pack(">HHQQ", 34665, 16, 1, place)
    return bytes(data) + table + struct.pack(">Q", 0) + values


@pytest.mark.parametrize("source", EXIF_SOURCES)
async def test_exif_comes_along_into_a_tiff(gateway: RunningApp, source: str) -> None:
    answer = (await restored(gateway, EXIF_SOURCES[source](), "&format=tiff")).content
    assert_colours(answer, levels=6)
    exif = Image.open(BytesIO(answer)).getexif()
    assert exif[Base.Make] == "Synthetic"
    assert exif.get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
    assert exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] == "2024:01:01 10:00:00"
    with tifffile.TiffFile(BytesIO(answer)) as file:
        assert file.pages[0].tags["ExifTag"].value["LensModel"] == "50 mm"
        assert file.pages[0].dtype == ("uint16" if source in {"16-bit PNG", "BigTIFF"} else "uint8")


def raw_file(order: str) -> bytes:
    """A small preview, and the mosaic of a sensor in a directory beneath it."""
    file = BytesIO()
    with tifffile.TiffWriter(file, byteorder=order) as writer:
        writer.write(picture(size=16), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        mosaic = np.zeros((64, 64), np.uint16)
        pattern = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True)]
        writer.write(mosaic, photometric="cfa", subfiletype=0, metadata=None, extratags=pattern)
    return file.getvalue()


RAW_FILES = {
    "the case": lambda: case("raw-file-thumbnail"),
    "NEF": lambda: raw_file(">"),
    "CR2": lambda: struct.pack("<2sHI4sIHI", b"II", 42, 16, b"CR\x02\0", 0, 0, 0),
    "CR3": lambda: b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + b"\0" * 64,
    "RAF": lambda: b"FUJIFILMCCD-RAW 0201" + b"\0" * 64,
    "RW2": lambda: b"IIU\0" + b"\0" * 64,
}


@pytest.mark.parametrize("source", RAW_FILES)
async def test_a_camera_raw_file_is_called_by_its_name(gateway: RunningApp, source: str) -> None:
    answer = await gateway.client.post("/restore?task=keeper", content=RAW_FILES[source]())
    assert answer.status_code == 415
    assert "a camera raw file is not read here; expected PNG" in answer.json()["detail"]
    assert "develop it" in answer.json()["detail"]


def one_way_profile() -> bytes:
    with tifffile.TiffFile(BytesIO(case("icc-table-one-way"))) as file:
        return bytes(file.pages[0].iccprofile)


ONE_WAY: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("icc-table-one-way"),
    "16-bit PNG": lambda: png_with(picture(top=65535), chunk(b"iCCP", b"p\0\0" + zlib.compress(one_way_profile()))),
    "JPEG": lambda: file_of(picture(), "JPEG", quality=98, subsampling=0, icc_profile=one_way_profile()),
}


@pytest.mark.parametrize("source", ONE_WAY)
@pytest.mark.parametrize("query", ["", "&format=jpeg", "&format=avif"])
async def test_a_profile_of_which_no_way_leads_back_is_answered_in_srgb(gateway: RunningApp, source: str, query: str) -> None:
    sent = ONE_WAY[source]()
    answer = (await restored(gateway, sent, query)).content
    assert_colours(answer, quadrants(shown(sent)), 5)
    assert_colours(answer, ((255, 88, 76), (0, 210, 89), (78, 109, 230), (210, 210, 210)), 6)
    assert "icc_profile" not in Image.open(BytesIO(answer)).info


def lit(colours: Any, matrix: np.ndarray, white: float = 1.0) -> np.ndarray:
    """Linear light of the colours in other primaries."""
    return to_linear(picture(colours, 65535) / 65535) @ matrix.T * white


def avif_of(signal: np.ndarray, bits: int, primaries: int, transfer: int) -> bytes:
    levels = np.rint(signal.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return bytes(
        imagecodecs.avif_encode(
            levels, level=100, bitspersample=bits, primaries=primaries, transfer=transfer, matrix=0, pixelformat="444"
        )
    )


def bt709(light: np.ndarray) -> np.ndarray:
    """The transfer function of BT.709 and BT.2020: light -> signal."""
    return np.where(light < 0.018053968, 4.5 * light, 1.09929683 * light.clip(1e-9) ** 0.45 - 0.09929683)


def png_of(signal: np.ndarray, primaries: int, transfer: int, *chunks: bytes) -> bytes:
    levels = np.rint(signal.clip(0, 1) * 65535).astype(np.uint16)
    return png_with(levels, chunk(b"cICP", bytes([primaries, transfer, 0, 1])), *chunks)


def adobe_rgb() -> bytes:
    return bytes(imagecodecs.cms_profile("adobergb"))


def wrong_profile() -> bytes:
    """What a reader takes that does not let cICP come first."""
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(adobe_rgb())) + chunk(b"gAMA", struct.pack(">I", 100_000))


BY_CODE_POINTS: dict[str, tuple[Callable[[], bytes], Any, str]] = {
    "AVIF, P3": (lambda: case("avif-nclx"), P3_SHOWN, ""),
    "AVIF, P3, 10 bits": (lambda: avif_of(picture(top=65535) / 65535, 10, 12, 13), P3_SHOWN, ""),
    "AVIF, BT.2020, 10 bits": (lambda: avif_of(bt709(lit(COLOURS, FROM_709_TO_2020)), 10, 9, 14), COLOURS, ""),
    "AVIF, PQ, 10 bits": (lambda: avif_of(pq(lit(COLOURS, FROM_709_TO_2020, 203)), 10, 9, 16), COLOURS, "hdr"),
    "AVIF, HLG, 10 bits": (lambda: avif_of(hlg(lit(COLOURS, FROM_709_TO_2020, 203)), 10, 9, 18), COLOURS, "hdr"),
    "AVIF, HLG, 12 bits": (lambda: avif_of(hlg(lit(COLOURS, FROM_709_TO_2020, 203)), 12, 9, 18), COLOURS, "hdr"),
    "PNG, P3": (lambda: case("png-cicp"), P3_SHOWN, ""),
    "PNG, P3 and another profile, 16 bits": (lambda: png_of(picture(top=65535) / 65535, 12, 13, wrong_profile()), P3_SHOWN, ""),
    "PNG, PQ": (lambda: png_of(pq(lit(COLOURS, FROM_709_TO_2020, 203)), 9, 16), COLOURS, "hdr"),
    "PNG, HLG in P3": (lambda: png_of(hlg_in_p3(), 12, 18), COLOURS, "hdr"),
    "PNG, linear P3": (lambda: png_of(lit(COLOURS, FROM_709_TO_P3), 12, 8), COLOURS, ""),
    "JPEG XL, PQ, 16 bits": (lambda: from_phone("jxl/pq.jxl"), COLOURS, "hdr"),
    "JPEG XL, HLG, with loss": (lambda: from_phone("jxl/hlg.jxl"), COLOURS, "hdr"),
    "HEIC, PQ, 10 bits": (lambda: from_phone("heic/pq.heic"), COLOURS, "hdr"),
    "HEIC, HLG, 12 bits": (lambda: from_phone("heic/hlg.heic"), COLOURS, "hdr"),
    "PNG, sRGB said twice": (lambda: png_of(picture(top=65535) / 65535, 1, 13, wrong_profile()), COLOURS, ""),
}


def hlg_in_p3() -> np.ndarray:
    light = lit(COLOURS, FROM_709_TO_P3, 203)
    luminance = light @ np.array([0.2290, 0.6917, 0.0793])
    scene = light / 1000 * (luminance[..., None] / 1000) ** (-0.2 / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


@pytest.mark.parametrize("source", BY_CODE_POINTS)
@pytest.mark.parametrize("query", ["", "&format=tiff", "&format=webp"])
async def test_colours_by_code_points_are_what_they_say(gateway: RunningApp, source: str, query: str) -> None:
    make, expected, dropped = BY_CODE_POINTS[source]
    if source.startswith("JPEG XL"):  # which libvips does not read
        query = query or "&format=png"
    answer = await restored(gateway, make(), query)
    assert_colours(answer.content, expected, 5)
    assert answer.headers.get("x-dropped", "") == dropped


async def test_light_above_diffuse_white_is_compressed_and_the_rest_stays(gateway: RunningApp) -> None:
    light = lit(COLOURS, FROM_709_TO_2020, 203)
    light[16:, 16:] = 1000.0
    answer = await restored(gateway, png_of(pq(light), 9, 16))
    seen = quadrants(shown(answer.content))
    assert np.abs(seen[:3] - np.array(COLOURS[:3])).max() <= 3
    assert seen[3].min() >= 254


async def test_colours_that_cannot_be_shown_are_refused_in_words(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/restore?task=keeper", content=png_of(picture(top=65535) / 65535, 9, 17))
    assert answer.status_code == 415
    assert "transfer characteristics 17" in answer.json()["detail"]


def gama(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


P3_CHRM = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
BY_GAMMA: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("png-linear-gamma"),
    "16 bits": lambda: png_with(np.rint(lit(COLOURS, np.eye(3)) * 65535).astype(np.uint16), gama(1.0)),
    "P3, 16 bits": lambda: png_with(np.rint(lit(COLOURS, FROM_709_TO_P3) * 65535).astype(np.uint16), P3_CHRM, gama(1.0)),
    "1.8, 8 bits": lambda: png_with(np.rint(lit(COLOURS, np.eye(3)) ** (1 / 1.8) * 255).astype(np.uint8), gama(1 / 1.8)),
    "sRGB beats it": lambda: png_with(picture(), chunk(b"sRGB", b"\0"), gama(1.0)),
}


@pytest.mark.parametrize("source", BY_GAMMA)
async def test_a_gamma_is_obeyed(gateway: RunningApp, source: str) -> None:
    assert_colours((await restored(gateway, BY_GAMMA[source]())).content)


async def test_a_grey_gamma_is_obeyed(gateway: RunningApp) -> None:
    grey = np.rint(to_linear(np.full((16, 16), 100 / 255)) * 65535).astype(np.uint16)
    answer = (await restored(gateway, png_with(grey, gama(1.0)))).content
    assert Image.open(BytesIO(answer)).mode == "I;16"
    assert np.abs(shown(answer).astype(int) - 100).max() <= 1


LAYERS = b"Adobe Photoshop Document Data Block\0" + b"HIDDEN LAYER" * 30


def with_layers(kind: str) -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Synthetic"
    exif[37724], exif[50000] = LAYERS, LAYERS
    return file_of(picture(), kind, exif=exif)


LAYERED: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("tiff-old-layers"),
    "16-bit TIFF": lambda: tiff_of(picture(top=65535), byteorder=">", extratags=[(37724, "B", len(LAYERS), LAYERS, True)]),
    "JPEG": lambda: with_layers("JPEG"),
    "PNG": lambda: with_layers("PNG"),
    "WebP": lambda: with_layers("WEBP"),
}


@pytest.mark.parametrize("source", LAYERED)
@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "avif", "tiff", "jxl"])
@pytest.mark.parametrize("policy", ["keep", "all"])
async def test_an_editors_layers_are_in_no_answer(gateway: RunningApp, source: str, format_: str, policy: str) -> None:
    sent = LAYERED[source]()
    hidden = b"LAYERDATA" if source == "the case" else b"HIDDEN LAYER"
    assert hidden in sent
    assert hidden not in (await restored(gateway, sent, f"&format={format_}&metadata={policy}")).content


def pyramid(order: str, big: bool, beneath: bool) -> bytes:
    """A picture with reduced versions of it, which follow it or lie beneath it."""
    file = BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        writer.write(picture(size=64), photometric="rgb", metadata=None, subifds=2 if beneath else 0)
        for size in (32, 16):
            writer.write(picture(size=size), photometric="rgb", metadata=None, subfiletype=1)
    return file.getvalue()


def thumbnail_first() -> bytes:
    """A reduced version, then the picture of 16 bits."""
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(picture(((9, 9, 9),) * 4, size=16), photometric="rgb", metadata=None, subfiletype=1)
        writer.write(picture(top=65535, size=64), photometric="rgb", metadata=None)
    return file.getvalue()


REDUCED: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "the case": (lambda: case("tiff-reduced-page"), (96, 64)),
    "big-endian BigTIFF": (lambda: pyramid(">", True, False), (64, 64)),
    "beneath": (lambda: pyramid("<", False, True), (64, 64)),
    "before": (thumbnail_first, (64, 64)),
}


@pytest.mark.parametrize("source", REDUCED)
async def test_reduced_versions_beside_a_picture_are_no_pages(gateway: RunningApp, source: str) -> None:
    make, size = REDUCED[source]
    sent = make()
    answer = (await restored(gateway, sent)).content
    assert tifffile.imread(BytesIO(answer)).shape == (*size[::-1], 3)
    if source == "the case":
        assert np.array_equal(shown(answer), shown(sent))
    else:
        assert_colours(answer)


async def test_two_pages_are_still_two(gateway: RunningApp) -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(2):
            writer.write(picture(), photometric="rgb", metadata=None)
    assert (await gateway.client.post("/restore?task=keeper", content=file.getvalue())).status_code == 413


def jpeg(**options: Any) -> bytes:
    return file_of(picture(size=64), "JPEG", quality=95, subsampling=0, **options)


LIKE_SCANS: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("jpeg-bytes-like-scans"),
    "in a comment": lambda: jpeg(comment=b"\xff\xda" * 300),
    "in a profile's segment": lambda: (
        jpeg(progressive=True)[:2] + b"\xff\xe5\x02\x5a" + b"\xff\xda" * 300 + jpeg(progressive=True)[2:]
    ),
    "in what follows": lambda: jpeg() + b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 300,
}


@pytest.mark.parametrize("source", LIKE_SCANS)
async def test_only_scans_are_counted_as_scans(gateway: RunningApp, source: str) -> None:
    sent = LIKE_SCANS[source]()
    answer = (await restored(gateway, sent)).content
    assert np.abs(shown(answer).astype(int) - shown(sent)).mean() < 2


def ultra_hdr() -> bytes:
    """What libultrahdr writes of a picture whose last quadrant is four times as light as diffuse white."""
    light = np.ones((64, 64, 4), np.float16)
    light[..., :3] = to_linear(picture(size=64) / 255)
    light[32:, 32:, :3] = 4.0
    return bytes(imagecodecs.ultrahdr_encode(light, transfer=imagecodecs.ULTRAHDR.CT.LINEAR, gamut=imagecodecs.ULTRAHDR.CG.BT_709))


async def test_a_gain_map_stays_where_brightness_does(gateway: RunningApp) -> None:
    sent = ultra_hdr()
    answer = await restored(gateway, sent)
    assert "x-dropped" not in answer.headers
    before, after = (imagecodecs.ultrahdr_decode(data).astype(np.float32) for data in (sent, answer.content))
    assert after.shape == before.shape
    assert after[48, 48, 0] > 3
    assert np.abs(after - before).mean() < 0.05
    described = pyvips.Image.uhdrload_buffer(answer.content)
    assert described.get_typeof("gainmap-data") or described.get_typeof("gainmap")


@pytest.mark.parametrize(("query", "task"), [("&format=webp", "keeper"), ("&metadata=none", "keeper"), ("", "lowlight")])
async def test_a_gain_map_that_cannot_stay_is_said_to_be_gone(gateway: RunningApp, query: str, task: str) -> None:
    answer = await gateway.client.post(f"/restore?task={task}{query}", content=ultra_hdr())
    assert answer.status_code == 200
    assert answer.headers["x-dropped"] == "gain-map"
    assert b"hdrgm" not in answer.content
    assert b"21496" not in answer.content
    response = await gateway.client.post(
        f"/restore?task={task}{query}", content=ultra_hdr(), headers={"Accept": "application/json"}
    )
    assert response.json()["dropped"] == ["gain-map"]


MOTION = (
    '<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" '
    'GCamera:MotionPhotoVersion="1" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg"/>'
)


async def test_a_motion_photos_video_is_gone_and_no_longer_claimed(gateway: RunningApp) -> None:
    answer = await restored(gateway, jpeg(xmp=RDF.format(MOTION).encode()) + b"\0\0\0\x18ftypmp42" + b"video" * 50)
    assert answer.headers["x-dropped"] == "motion-video"
    assert b"GCamera" not in answer.content
    assert b"video" not in answer.content
    assert b"dc:format" in answer.content


async def test_the_case_of_a_gain_map_claims_only_what_it_has(gateway: RunningApp) -> None:
    answer = await restored(gateway, case("jpeg-xmp-of-what-is-gone"))
    kept = getattr(Image.open(BytesIO(answer.content)), "n_frames", 1) == 2
    assert (b"hdrgm" in answer.content) == kept
    gone = await restored(gateway, case("jpeg-xmp-of-what-is-gone"), "&format=png")
    assert b"hdrgm" not in gone.content
    assert b"Container" not in gone.content


TURNED = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def with_raw_profile() -> bytes:
    """A PNG as ImageMagick writes one: EXIF in hexadecimal, in a text."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    block = exif.tobytes()
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(block):8d}\n{block.hex()}\n", zip=True)
    return file_of(picture(size=64)[:32], "PNG", pnginfo=text)


NOT_IN_EXIF: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("orientation-not-in-exif"),
    "WebP": lambda: file_of(picture(size=64)[:32], "WEBP", lossless=True, xmp=RDF.format(TURNED).encode()),
    "AVIF": lambda: file_of(picture(size=64)[:32], "AVIF", quality=95, xmp=RDF.format(TURNED).encode()),
    "PNG's text": with_raw_profile,
}


@pytest.mark.parametrize("source", NOT_IN_EXIF)
@pytest.mark.parametrize("query", ["", "&metadata=none"])
async def test_an_orientation_that_viewers_do_not_obey_is_none(gateway: RunningApp, source: str, query: str) -> None:
    sent = NOT_IN_EXIF[source]()
    answer = (await restored(gateway, sent, query)).content
    assert dict(Image.open(BytesIO(answer)).getexif().items()).get(Base.Orientation, 1) == 1 or b"tiff:Orientation" in answer
    before, after = shown(sent), shown(answer)
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).mean() < 3


PLACES = (
    '<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="52,30N" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'photoshop:State="Berlin" photoshop:Country="Germany" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="kept">'
    '<Iptc4xmpExt:LocationShown xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><rdf:Bag><rdf:li>Berlin</rdf:li></rdf:Bag>'
    "</Iptc4xmpExt:LocationShown></rdf:Description>"
)
UTF_16 = "﻿" + RDF.format(PLACES)
SOMEWHERE: dict[str, Callable[[], bytes]] = {
    "JPEG, UTF-16": lambda: jpeg(xmp=UTF_16.encode("utf-16-be")),
    "PNG": lambda: png_with(picture(), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + RDF.format(PLACES).encode())),
    "TIFF, UTF-16": lambda: tiff_of(
        picture(), extratags=[(700, "B", len(UTF_16.encode("utf-16-le")), UTF_16.encode("utf-16-le"), True)]
    ),
    "AVIF": lambda: file_of(picture(), "AVIF", xmp=RDF.format(PLACES).encode()),
}


@pytest.mark.parametrize("source", SOMEWHERE)
async def test_xmp_keeps_everything_but_places(gateway: RunningApp, source: str) -> None:
    sent = SOMEWHERE[source]()
    kept = (await restored(gateway, sent)).content
    assert b"dc:format" in kept
    for word in (b"GPS", b"Berlin", b"Germany", b"52,30N", "Berlin".encode("utf-16-le"), "Berlin".encode("utf-16-be")):
        assert word not in kept
    assert b"Berlin" in (await restored(gateway, sent, "&metadata=all")).content


def geotiff() -> bytes:
    """A big-endian BigTIFF of 16 bits with a place."""
    tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 13.4, 52.5, 0.0), True)]
    keys = (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 2), True)
    return tiff_of(picture(top=65535), byteorder=">", bigtiff=True, extratags=[*tags, keys])


@pytest.mark.parametrize("make", [lambda: case("places-kept"), geotiff], ids=["the case", "big-endian BigTIFF of 16 bits"])
async def test_a_geotiffs_place_is_kept_only_where_all_is(gateway: RunningApp, make: Callable[[], bytes]) -> None:
    tags = {33550, 33922, 34735}
    for format_, policy, expected in (
        ("tiff", "keep", set()),
        ("tiff", "all", tags),
        ("tiff", "none", set()),
        ("jpeg", "all", set()),
    ):
        answer = (await restored(gateway, make(), f"&format={format_}&metadata={policy}")).content
        codes = {tag.code for tag in tifffile.TiffFile(BytesIO(answer)).pages[0].tags} if format_ == "tiff" else set()
        assert codes & tags == expected


BAD_CHECKSUMS: dict[str, Callable[[], bytes]] = {
    "the case": lambda: case("png-ancillary-crc"),
    "a time": lambda: spoiled(png_with(picture(), chunk(b"tIME", bytes(7))), b"tIME"),
    "16 bits, a profile": lambda: spoiled(
        png_with(picture(top=65535), chunk(b"iCCP", b"p\0\0" + zlib.compress(adobe_rgb()))), b"iCCP"
    ),
}


@pytest.mark.parametrize("source", BAD_CHECKSUMS)
async def test_a_wrong_checksum_costs_no_more_than_its_chunk(gateway: RunningApp, source: str) -> None:
    assert_colours((await restored(gateway, BAD_CHECKSUMS[source]())).content)


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT"])
async def test_a_wrong_checksum_of_the_pixels_is_damage(gateway: RunningApp, name: bytes) -> None:
    answer = await gateway.client.post("/restore?task=keeper", content=spoiled(png_with(picture()), name))
    assert answer.status_code == 400


NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 4)).astype(np.uint8)
LOSSLESS: dict[str, tuple[Callable[[], bytes], str]] = {
    "the case": (lambda: case("webp-lossless"), ""),
    "with alpha": (lambda: file_of(NOISE, "WEBP", lossless=True, exact=True), ""),
    "asked for": (lambda: file_of(NOISE, "PNG"), "&format=webp&lossless=true"),
    "JPEG XL": (lambda: bytes(imagecodecs.jpegxl_encode(NOISE, lossless=True)), ""),
    "JPEG XL asked for, 16 bits": (lambda: png_with(NOISE[..., :3].astype(np.uint16) * 200), "&format=jxl&lossless=true"),
}


def stored(data: bytes) -> np.ndarray:
    """The numbers that a file holds."""
    if data.startswith(b"\x89PNG"):
        return np.asarray(imagecodecs.png_decode(data))
    return np.asarray(
        imagecodecs.jpegxl_decode(data) if b"JXL" in data[:12] or data[:2] == b"\xff\n" else Image.open(BytesIO(data))
    )


@pytest.mark.parametrize("source", LOSSLESS)
async def test_what_came_without_loss_goes_without_loss(gateway: RunningApp, source: str) -> None:
    make, query = LOSSLESS[source]
    sent = make()
    answer = (await restored(gateway, sent, query)).content
    assert np.array_equal(stored(answer), stored(sent))
    lossy = (await restored(gateway, sent, f"{query.replace('&lossless=true', '')}&lossless=false")).content
    assert not np.array_equal(stored(lossy), stored(sent))


def through_profile(data: bytes) -> np.ndarray:
    """Pixels in sRGB by LittleCMS, for formats that libvips does not read."""
    file = Image.open(BytesIO(data))
    transformed = ImageCms.profileToProfile(
        file.convert("RGB"), ImageCms.ImageCmsProfile(BytesIO(file.info["icc_profile"])), ImageCms.createProfile("sRGB")
    )
    return np.asarray(transformed)


@pytest.mark.parametrize("query", ["&format=jxl", "&format=jxl&lossless=true"])
@pytest.mark.parametrize("source", ["AVIF, P3", "PNG, P3 and another profile, 16 bits"])
async def test_a_wide_gamut_is_kept_in_a_jpeg_xl(gateway: RunningApp, source: str, query: str) -> None:
    pillow_jxl = pytest.importorskip("pillow_jxl")
    make, expected, _ = BY_CODE_POINTS[source]
    answer = (await restored(gateway, make(), query)).content
    assert pillow_jxl.Decoder
    assert np.abs(quadrants(through_profile(answer)) - np.array(expected)).max() <= 5
    assert_colours((await restored(gateway, answer, "&format=png")).content, expected, 5)
