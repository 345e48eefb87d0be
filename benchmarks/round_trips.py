"""Is anything lost on the way through a pair of formats? Colours, transparency, depth, profile and orientation, in and out.

    python -m benchmarks.round_trips [--thin N] [--out benchmarks/results/round-trips.json]

Every format in, in the depths, colours and orientations that a file of it can have, with and without transparency, is decoded and
written in every format out; the result is read by libvips, JPEG XL and AVIF by their own libraries and LittleCMS.
Four squares show (200,110,100) (100,180,120) (110,130,200) (190,190,190), grey ones their own, CMYK what LittleCMS makes of them. A
combination fails where a square is off by more than 2 levels, turned, not as transparent, or where more than 8 bits or the
profile are gone that the format could hold. Files are written at quality 100, without loss where there is a choice: what
compression costs is not asked here, and a level of a saturated colour's darkest channel in a wide gamut is three of sRGB's. JPEG XL
and HEIC files come from `benchmarks.phone_files`.
"""

import argparse
import itertools
import json
import struct
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image, ImageCms

from benchmarks.machine import machine
from rddm.image import Pixels
from service.pictures.decode import decode
from service.pictures.encode import encode
from service.pictures.formats import FORMATS, FileOptions, PictureFormat
from service.pictures.picture import Bounds

BOUNDS = Bounds(10_000, 1000)
COLOURS = np.array([[[200, 110, 100], [100, 180, 120]], [[110, 130, 200], [190, 190, 190]]], float)
GREYS = np.array([[[60], [120]], [[180], [240]]], float)
CLEAR = np.array([[128, 255], [255, 255]], float)  # transparency of the squares
SIDE, LEVELS = 16, 2
SAID_BY_CHUNKS = ("P3 by CICP", "linear by gAMA")
FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
HEIC, PHONE_FILES = FIXTURES / "heic", FIXTURES / "phones.tar.xz"
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])  # of linear sRGB
DISPLAY_P3 = 12, 13  # primaries and transfer of BT.2100's table of code points
# pixels stored upright -> as a file with that EXIF orientation stores them
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}


@dataclass(frozen=True)
class Given:
    """A file to begin with. shows: its squares' colours in sRGB, 2 2 3; clear: their transparency, or None."""

    name: str
    data: bytes
    shows: Any
    clear: Any = None
    deep: bool = False
    profile: bool = False
    facts: tuple[str, ...] = field(default=())


def squares(colours: Any, top: int) -> Pixels:
    """Colours 2 2 c of 0..255 as a picture, a third wider than high, of that depth."""
    wide = np.kron(colours, np.ones((SIDE, SIDE * 4 // 3, 1)))
    return np.rint(wide / 255 * top).astype(np.uint8 if top == 255 else np.uint16)


def to_linear(values: Any) -> Any:
    """sRGB 0..1 -> linear light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_encoded(light: Any) -> Any:
    """And back."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
P3 = bytes(pyvips.Operation.call("profile_load", "p3"))
CMYK = bytes(pyvips.Operation.call("profile_load", "cmyk"))


def in_profile(profile: bytes) -> Any:
    """The numbers, of 255, that show COLOURS by a profile: by LittleCMS, in 16 bits."""
    picture = pyvips.Image.new_from_array(COLOURS.reshape(2, 2, 3) * 257).cast("ushort").copy(interpretation="rgb16")
    with_profile = picture.icc_transform(_file(profile), input_profile="srgb", intent="relative", depth=16)
    return np.asarray(with_profile, float) / 257


def _file(profile: bytes) -> str:
    path = Path(tempfile.gettempdir()) / f"rddm-round-trips-{zlib.crc32(profile):08x}.icc"  # libvips reads profiles from files
    path.write_bytes(profile)
    return str(path)


def colour_kinds() -> dict[str, tuple[Any, Any, bytes | None]]:
    """By name: the numbers of 255 that are stored, what they show, and the ICC profile."""
    p3 = to_encoded(to_linear(COLOURS / 255) @ TO_P3.T) * 255
    cmyk = pyvips.Image.new_from_array(COLOURS).cast("uchar").copy(interpretation="srgb")
    inks = cmyk.icc_transform(_file(CMYK), input_profile="srgb", intent="relative")
    shown = inks.icc_transform("srgb", input_profile=_file(CMYK), intent="relative")
    return {
        "sRGB": (COLOURS, COLOURS, None),
        "P3 by ICC": (in_profile(P3), COLOURS, P3),
        "Adobe RGB by ICC": (in_profile(ADOBE), COLOURS, ADOBE),
        "P3 by CICP": (p3, COLOURS, None),
        "linear by gAMA": (to_linear(COLOURS / 255) * 255, COLOURS, None),
        "grey": (GREYS, np.repeat(GREYS, 3, axis=2), None),
        "CMYK": (np.asarray(inks, float), np.asarray(shown, float), CMYK),
    }


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def exif_of(orientation: int) -> bytes:
    """An EXIF block that says it, with its prefix."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def to_png(stored: Pixels, kind: str, profile: bytes | None, orientation: int) -> bytes:
    """A PNG of 8 or 16 bits."""
    chunks = b"" if orientation == 1 else chunk(b"eXIf", exif_of(orientation)[6:])
    chunks += b"" if profile is None else chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
    chunks += chunk(b"cICP", bytes([*DISPLAY_P3, 0, 1])) if kind == "P3 by CICP" else b""
    chunks += chunk(b"gAMA", struct.pack(">I", 100_000)) if kind == "linear by gAMA" else b""
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(stored.squeeze())))
    return data[:33] + chunks + data[33:]


def to_pillow(stored: Pixels, format_: str, profile: bytes | None, orientation: int, **options: Any) -> bytes:
    """A file that Pillow writes."""
    file = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(stored.squeeze()), "CMYK" if profile == CMYK else None)
    if profile is not None:
        options["icc_profile"] = profile
    if orientation != 1:
        options["exif"] = exif_of(orientation)
    picture.save(file, format_, **options)
    return file.getvalue()


def to_tiff(stored: Pixels, kind: str, profile: bytes | None, orientation: int, clear: bool) -> bytes:
    """A TIFF of 8 or 16 bits."""
    file = BytesIO()
    photometric = {"grey": "minisblack", "CMYK": "separated"}.get(kind, "rgb")
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if clear else {}
    if profile is not None:
        options["iccprofile"] = profile
    tags = [(274, "H", 1, orientation, True)]
    pixels = np.ascontiguousarray(stored.squeeze())
    tifffile.imwrite(file, pixels, photometric=photometric, metadata=None, extratags=tags, planarconfig="contig", **options)
    return file.getvalue()


MAKERS: dict[str, tuple[tuple[str, ...], tuple[int, ...], bool]] = {  # colours, depths, transparency
    "png": (("sRGB", "P3 by ICC", "Adobe RGB by ICC", "P3 by CICP", "linear by gAMA", "grey"), (8, 16), True),
    "jpeg": (("sRGB", "P3 by ICC", "Adobe RGB by ICC", "grey", "CMYK"), (8,), False),
    "webp": (("sRGB", "P3 by ICC", "Adobe RGB by ICC"), (8,), True),
    "avif": (("sRGB", "P3 by ICC", "Adobe RGB by ICC"), (8,), True),
    "tiff": (("sRGB", "P3 by ICC", "Adobe RGB by ICC", "grey", "CMYK"), (8, 16), True),
}


def given_files() -> Iterator[Given]:
    """All files to begin with."""
    kinds = colour_kinds()
    for format_, (names, depths, may_be_clear) in MAKERS.items():
        for name, depth, orientation, clear in itertools.product(names, depths, range(1, 9), (False, True)):
            if (clear and (not may_be_clear or name == "CMYK")) or (name == "linear by gAMA" and depth == 8):
                continue
            yield _given(format_, name, depth, orientation, clear, kinds[name])
    yield from _by_code_points(kinds["P3 by CICP"][0])
    yield from _from_phones(kinds)
    yield from _jpeg_xl_with_loss()
    yield from _heic_with_loss()


def _given(format_: str, name: str, depth: int, orientation: int, clear: bool, colours: tuple[Any, Any, bytes | None]) -> Given:
    numbers, shows, profile = colours
    top = 255 if depth == 8 else 65535
    upright = squares(np.dstack([numbers, CLEAR]) if clear else numbers, top)
    stored = STORED[orientation](upright)
    writers: dict[str, Callable[[], bytes]] = {
        "png": lambda: to_png(stored, name, profile, orientation),
        "jpeg": lambda: to_pillow(stored, "JPEG", profile, orientation, quality=100, subsampling=0),
        "webp": lambda: to_pillow(stored, "WEBP", profile, orientation, lossless=True, exact=True),
        "avif": lambda: to_pillow(stored, "AVIF", profile, orientation, quality=100, subsampling="4:4:4"),
        "tiff": lambda: to_tiff(stored, name, profile, orientation, clear),
    }
    facts = (format_, f"{depth} bits", name, f"orientation {orientation}", *(["alpha"] if clear else []))
    keeps_profile, data = profile is not None and name != "CMYK", writers[format_]()
    if name not in SAID_BY_CHUNKS:  # libvips obeys all but those; what a lossy file shows is not quite what it was made of
        shows = at_squares(seen(data, FORMATS[format_]).colours)
    return Given(", ".join(facts), data, shows, CLEAR if clear else None, depth == 16, keeps_profile, facts)


def _by_code_points(numbers: Any) -> Iterator[Given]:
    for bits in (8, 10, 12):
        levels = squares(numbers, 255 if bits == 8 else 65535)
        levels = levels if bits == 8 else levels >> (16 - bits)
        primaries, transfer = DISPLAY_P3
        data = imagecodecs.avif_encode(
            levels, level=100, bitspersample=bits, primaries=primaries, transfer=transfer, matrix=0, pixelformat="444"
        )
        facts = ("avif", f"{bits} bits", "P3 by CICP", "orientation 1")
        yield Given(", ".join(facts), bytes(data), COLOURS, None, bits > 8, False, facts)


def _jpeg_xl_with_loss() -> Iterator[Given]:
    """What imagecodecs writes with loss, in 8 bits: as sRGB, in a space of its own."""
    for clear, (name, numbers) in itertools.product((False, True), (("sRGB", COLOURS), ("grey", GREYS))):
        pixels = squares(np.dstack([numbers, CLEAR]) if clear else numbers, 255).squeeze()
        facts = ("jxl", "8 bits", name, "with loss", "orientation 1", *(["alpha"] if clear else []))
        data = bytes(imagecodecs.jpegxl_encode(pixels, distance=0.1))
        yield Given(", ".join(facts), data, at_squares(_by_libjxl(data).colours), CLEAR if clear else None, facts=facts)


def _from_phones(kinds: dict[str, tuple[Any, Any, bytes | None]]) -> Iterator[Given]:
    """JPEG XL and HEIC without loss, of every orientation: see benchmarks.phone_files."""
    for name, data in phone_files().items():
        facts = tuple(name.split(", "))
        _, shows, profile = kinds[facts[2]]
        deep, clear = facts[1] != "8 bits", facts[-1] == "alpha"
        yield Given(name, data, shows, CLEAR if clear else None, deep, profile is not None, facts)


def phone_files() -> dict[str, bytes]:
    """By name."""
    with tarfile.open(PHONE_FILES) as archive:
        return {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}


def _heic_with_loss() -> Iterator[Given]:
    """Lossy files that x265 wrote; what libheif shows of them is what counts. See tests/service/pictures/test_heic.py."""
    import pi_heif  # noqa: PLC0415 (an extra)

    for name in ("srgb", "alpha"):
        data = (HEIC / f"{name}.heic").read_bytes()
        pixels = np.asarray(pi_heif.open_heif(data).to_pillow())
        shows = at_squares(pixels[..., :3].astype(float))
        facts = ("heic", "8 bits", "sRGB", "with loss", "orientation 1", *(["alpha"] if name == "alpha" else []))
        clear = at_squares(pixels[..., 3:].astype(float))[..., 0] if name == "alpha" else None
        yield Given(", ".join(facts), data, shows, clear, False, False, facts)


def at_squares(pixels: Any) -> Any:
    """The middles of the four squares, 2 2 c."""
    height, width = pixels.shape[:2]
    return np.array([[pixels[y, x] for x in (width // 4, 3 * width // 4)] for y in (height // 4, 3 * height // 4)])


@dataclass(frozen=True)
class Seen:
    """A file as an independent reader shows it: sRGB of 255 and transparency, both upright; bits of its samples."""

    colours: Any
    clear: Any
    deep: bool
    profile: bool


def seen(data: bytes, record: PictureFormat) -> Seen:
    """By libvips; by libjxl or libavif and LittleCMS, as libvips reads no JPEG XL and rounds AVIF's colours otherwise."""
    readers = {"jxl": _by_libjxl, "avif": _by_libavif}
    return readers.get(record.name, _by_libvips)(data)


INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def _by_libavif(data: bytes) -> Seen:
    facts = Image.open(BytesIO(data))
    levels = STORED[INVERSE[facts.getexif().get(274, 1)]](imagecodecs.avif_decode(data))
    levels = levels[..., None] if levels.ndim == 2 else levels
    deep = levels.dtype == np.uint16
    whole = levels if not deep else np.rint(levels / levels_in(data) * 65535).astype(np.uint16)
    channels = whole.shape[2] - (whole.shape[2] in {2, 4})
    profile, top = facts.info.get("icc_profile"), np.iinfo(whole.dtype).max
    clear = whole[..., channels] / top * 255 if channels < whole.shape[2] else None
    space = {1: "grey16" if deep else "b-w", 3: "rgb16" if deep else "srgb"}[channels]
    picture = pyvips.Image.new_from_array(np.ascontiguousarray(whole[..., :channels])).copy(interpretation=space)
    if profile:
        picture, top = picture.icc_transform("srgb", input_profile=_file(profile), intent="relative", depth=16), 65535
    shown = np.asarray(picture, float).reshape(*whole.shape[:2], -1) / top * 255
    return Seen(np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown, clear, deep, bool(profile))


def levels_in(data: bytes) -> int:
    """The largest sample of an AVIF file of more than 8 bits, by its `pixi` box."""
    place = data.find(b"pixi") + 4
    return int(2 ** data[place + 5]) - 1


def _by_libvips(data: bytes) -> Seen:
    picture = pyvips.Image.new_from_buffer(data, "").autorot()
    deep = picture.format == "ushort"
    has_profile = bool(picture.get_typeof("icc-profile-data"))
    if has_profile:
        inks = picture.interpretation == "cmyk"  # of which a screen shows the perceptual rendering
        picture = picture.icc_transform("srgb", intent="perceptual" if inks else "relative", depth=16 if deep else 8)
    top = 65535 if picture.format == "ushort" else 255
    picture = picture if has_profile else picture.colourspace("rgb16" if top == 65535 else "srgb")
    pixels = np.asarray(picture, float) / top * 255
    clear = pixels[..., 3] if picture.hasalpha() else None
    return Seen(pixels[..., :3], clear, deep, has_profile)


def _by_libjxl(data: bytes) -> Seen:
    import pillow_jxl  # noqa: F401, PLC0415 (registers itself with Pillow)

    levels = imagecodecs.jpegxl_decode(data)
    picture = Image.open(BytesIO(data))
    profile = picture.info.get("icc_profile")
    if levels.ndim == 2 or levels.shape[2] == 2:  # the plug-in of Pillow cuts grey of 16 bits
        grey = levels.reshape(*levels.shape[:2], -1) / np.iinfo(levels.dtype).max * 255
        return Seen(
            np.repeat(grey[..., :1], 3, axis=2), grey[..., 1] if grey.shape[2] == 2 else None, levels.dtype == np.uint16, True
        )
    rgb = picture.convert("RGB")
    if profile:
        rgb = ImageCms.profileToProfile(rgb, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"))
    clear = np.asarray(picture.getchannel("A"), float) if "A" in picture.mode else None
    return Seen(np.asarray(rgb, float), clear, levels.dtype == np.uint16, True)


def problems(given: Given, record: PictureFormat) -> list[str]:
    """What is lost on the way into that format."""
    picture = decode(given.data, BOUNDS)
    shown = seen(encode(picture, record, FileOptions(file_quality=100, lossless=True)), record)
    faults = []
    colours, clear = at_squares(shown.colours), given.clear
    opaque = np.ones((2, 2), bool) if clear is None or record.alpha else clear == 255  # the rest is laid on white
    off = round(float(np.abs(colours - given.shows)[opaque].max()))
    if off > LEVELS:
        faults.append(f"colours are off by {off} levels")
    if clear is not None and record.alpha:
        away = None if shown.clear is None else float(np.abs(at_squares(shown.clear[..., None])[..., 0] - clear).max())
        if away is None or away > LEVELS:
            faults.append("transparency is gone" if away is None else f"transparency is off by {away:.1f} levels")
    if given.deep and record.depth > 8 and not shown.deep:
        faults.append("more than 8 bits are gone")
    if given.profile and record.profiles and not shown.profile:
        faults.append("the profile is gone")
    return faults


def matrix(thin: int = 1) -> dict[str, Any]:
    """The report. thin: every so many combinations only."""
    counts, failures = Counter[str](), []
    combinations = itertools.product(given_files(), FORMATS.values())
    for given, record in itertools.islice(combinations, 0, None, thin):
        counts[f"{given.facts[0]} -> {record.name}"] += 1
        try:
            wrong = problems(given, record)
        except Exception as error:  # a file that cannot be read or written is a failure as well
            wrong = [f"{type(error).__name__}: {error}"]
        failures += [f"{given.name} -> {record.name}: {words}" for words in wrong]
    return {
        "combinations": counts.total(),
        "failed": len(failures),
        "failures": failures,
        "by_formats": dict(sorted(counts.items())),
    }


def main() -> int:
    """Exit status 1 where anything is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.round_trips", description=str(__doc__).splitlines()[0])
    parser.add_argument("--thin", type=int, default=1, help="every so many combinations only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "round-trips.json")
    arguments = parser.parse_args()
    report = {"machine": machine()} | matrix(arguments.thin)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps({name: report[name] for name in ("combinations", "failed")}), *report["failures"][:20], sep="\n")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
