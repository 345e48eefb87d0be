"""What a picture's numbers mean: one decision for every format, and the ways to sRGB, in which is worked, and back.

A file may speak of its colours in four ways. Where it speaks in several, the one that its standard puts first is obeyed: in PNG
(third edition, 4.3) cICP, iCCP, sRGB, then gAMA with cHRM; in AVIF and HEIC (ISO/IEC 23000-22, 7.3.6.4) and JPEG XL an ICC profile,
then code points. A file that says nothing is sRGB. What cannot be understood counts as not said; what is understood and cannot be
shown is refused: numbers are never given another meaning.

ICC is LittleCMS 2 by way of imagecodecs, which keeps 16 bits.
"""

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels
from service.errors import UnsupportedMedia
from service.pictures import cicp
from service.pictures.cicp import BT709, CURVES, PRIMARIES, SRGB_CURVE, UNSPECIFIED, Chromaticities, Encoding

Space = Literal["gray", "rgb", "cmyk"]

SPACES: dict[bytes, Space] = {b"RGB ": "rgb", b"GRAY": "gray", b"CMYK": "cmyk"}
NO_SHORTCUTS = int(imagecodecs.CMS.FLAGS.NOOPTIMIZE)  # the optimised 16-bit path is off by up to 100 levels in the dark
LARGEST_PROFILE = 4 * 1024 * 1024
NOTHING_LOST, VISIBLE_LOSS = 32768, 200  # of 65535: less than a level of 8 bits
CHANNELS: dict[Space, int] = {"gray": 1, "rgb": 3, "cmyk": 4}
SRGB = Encoding()
PNG_SRGB_GAMMA = 1 / 2.2  # what gAMA says for sRGB (PNG third edition, 11.3.2.5)


@dataclass(frozen=True)
class CodePoints:
    """Of ITU-T H.273."""

    primaries: int
    transfer: int

    @property
    def encoding(self) -> Encoding | None:
        """None where they say nothing. Raises UnsupportedMedia for what is defined and cannot be shown here."""
        if self.primaries == UNSPECIFIED and self.transfer == UNSPECIFIED:
            return None
        chromaticities = BT709 if self.primaries == UNSPECIFIED else PRIMARIES.get(self.primaries)
        curve = SRGB_CURVE if self.transfer == UNSPECIFIED else self.transfer
        if chromaticities is None or curve not in CURVES:
            raise UnsupportedMedia(
                f"colours of primaries {self.primaries} and transfer characteristics {self.transfer} (ITU-T H.273) are not read "
                f"here; expected primaries of {sorted(PRIMARIES)} and transfer characteristics of {sorted(CURVES)}"
            )
        return Encoding(chromaticities, curve)


@dataclass(frozen=True)
class ColourTags:
    """All that a file says of its colours.

    code_points_first: whether they beat a profile, as in PNG. encoding: what code points would say, in a format's own words.
    gamma: of the encoding, as PNG gives it (1 is linear, 0.45455 is sRGB's).
    """

    profile: bytes | None = None
    code_points: CodePoints | None = None
    encoding: Encoding | None = None
    code_points_first: bool = False
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: Chromaticities | None = None


@dataclass(frozen=True)
class Meaning:
    """What the numbers are: of a usable profile, else of an encoding."""

    profile: bytes | None = None
    encoding: Encoding = SRGB


@dataclass(frozen=True, eq=False)
class Working:
    """Samples to work on: pixels h w 3, sRGB. profile: in which to answer, sRGB if none. beyond: see `beyond_srgb`. tone_mapped:
    they were of high dynamic range."""

    pixels: Pixels
    profile: bytes | None
    beyond: NDArray[np.uint16] | None = None
    converted: bool = False
    tone_mapped: bool = False


def meaning(tags: ColourTags, space: Space) -> Meaning:
    """The one decision. Raises UnsupportedMedia for colours that cannot be shown."""
    profile = tags.profile if readable(tags.profile, space) else None
    inside = code_points_in(profile) if profile is not None else None
    if inside is not None and (encoding := inside.encoding) is not None and encoding.is_hdr:
        return Meaning(encoding=encoding)
    given = None if space == "cmyk" else tags.encoding or (tags.code_points.encoding if tags.code_points is not None else None)
    if given is not None and (tags.code_points_first or profile is None):
        return Meaning(encoding=given)
    if profile is not None:
        return Meaning(profile)
    return Meaning(encoding=SRGB if tags.is_srgb or tags.gamma is None else _by_gamma(tags.gamma, tags.chromaticities))


def _by_gamma(gamma: float, chromaticities: Chromaticities | None) -> Encoding:
    """A gamma of about sRGB's means sRGB's curve, as everything that writes sRGB writes it."""
    if not 0.01 < gamma < 100:
        return SRGB
    curve: int | float = SRGB_CURVE if abs(gamma - PNG_SRGB_GAMMA) < 0.01 else 1 / gamma
    if chromaticities is None or not _is_possible(chromaticities):
        return Encoding(curve=curve)
    return Encoding(chromaticities, curve)


def _is_possible(chromaticities: Chromaticities) -> bool:
    try:
        matrix = cicp.to_bt709(chromaticities)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return False
    return bool(np.isfinite(matrix).all() and np.abs(matrix).max() < 100)


def to_working(samples: Pixels, space: Space, tags: ColourTags) -> Working:
    """Samples h w (gray) or h w c as they are in the file -> pixels to work on."""
    means = meaning(tags, space)
    if means.profile is not None:
        back = means.profile if space != "cmyk" and returnable(means.profile, space) else None
        pixels = profile_to_srgb(samples, means.profile, space)
        beyond = beyond_srgb(_at_sixteen(samples), pixels, back) if back is not None and space == "rgb" else None
        return Working(pixels, back, beyond, converted=back is None)
    if space == "cmyk":
        return Working(_from_inks(samples), None, converted=True)
    if means.encoding.is_srgb:
        return Working(_three(samples), None)
    profile = None if space == "gray" or means.encoding.is_hdr else wide_profile(means.encoding.chromaticities)
    shown = cicp.to_srgb(samples, means.encoding)
    beyond = None if profile is None else beyond_srgb(cicp.with_srgb_curve(samples, means.encoding), shown, profile)
    return Working(_three(shown), profile, beyond, converted=True, tone_mapped=means.encoding.is_hdr)


def beyond_srgb(numbers: Pixels, pixels: Pixels, profile: bytes) -> NDArray[np.uint16] | None:
    """What sRGB cannot hold of colours: half the difference, beside 32768, that is left of 16-bit numbers of the profile.

    numbers: h w 3, of the profile; pixels: the same in sRGB, clipped to it. None where next to nothing is lost. It is put back
    behind the model, so that a saturated colour stays as saturated as it was.
    """
    clipped = ((pixels == 0) | (pixels == np.iinfo(pixels.dtype).max)).any(axis=2)
    if not clipped.any():
        return None
    held = from_srgb(pixels[clipped][None], profile, "rgb")[0]
    lost = numbers[clipped].astype(np.int32) - held
    if np.abs(lost).max() < VISIBLE_LOSS:
        return None
    beyond = np.full(pixels.shape, NOTHING_LOST, np.uint16)
    beyond[clipped] = lost // 2 + NOTHING_LOST
    return beyond


def put_back(numbers: NDArray[np.uint16], beyond: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """16-bit numbers of a profile, and what sRGB could not hold of them."""
    whole = numbers.astype(np.int32) + 2 * (beyond.astype(np.int32) - NOTHING_LOST)
    return whole.clip(0, 65535).astype(np.uint16)


def _at_sixteen(samples: Pixels) -> Pixels:
    return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)


def _three(samples: Pixels) -> Pixels:
    return np.repeat(samples[..., None], 3, axis=2) if samples.ndim == 2 else samples


def _from_inks(inks: Pixels) -> Pixels:
    """CMYK of no known press, h w 4 -> h w 3: each ink takes its share of what black leaves."""
    top = np.float32(np.iinfo(inks.dtype).max)
    white = (top - inks[..., 3]) / top
    return np.stack([np.rint((top - inks[..., ink]) * white).astype(inks.dtype) for ink in range(3)], axis=-1)


@cache
def srgb() -> bytes:
    """LittleCMS's sRGB profile."""
    return bytes(imagecodecs.cms_profile("srgb"))


@cache
def wide_profile(chromaticities: Chromaticities) -> bytes | None:
    """A profile of those primaries with sRGB's curve; None for sRGB's own primaries."""
    if Encoding(chromaticities).has_srgb_primaries:
        return None
    white, primaries = [*chromaticities[:2], 1.0], chromaticities[2:]
    points = [value for at in range(0, 6, 2) for value in (*primaries[at : at + 2], 1.0)]
    curve = np.rint(cicp.srgb_to_linear(np.linspace(0, 1, 1024)) * 65535).astype(np.uint16)
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=points, transferfunction=curve))


def chromaticities_of(profile: bytes) -> Chromaticities:
    """A matrix profile's primaries as they are under D65; sRGB's for a profile of another kind, or an impossible one."""
    columns = [_xyz(profile, name) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    if any(column is None for column in columns):
        return BT709
    matrix = cicp.adapted(np.array(columns, np.float64).T, cicp.D50_XYZ)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = (matrix / matrix.sum(axis=0))[:2].T.round(4)
    measured: Chromaticities = (*cicp.D65, *(float(value) for value in points.ravel()))  # type: ignore[assignment]
    return measured if np.isfinite(points).all() and _is_possible(measured) else BT709


def _xyz(profile: bytes, name: bytes) -> tuple[float, float, float] | None:
    """A tag of type XYZ; None where there is none."""
    place = _tag(profile, name)
    if place is None or profile[place : place + 4] != b"XYZ " or len(profile) < place + 20:
        return None
    x, y, z = (value / 65536 for value in struct.unpack_from(">3i", profile, place + 8))
    return x, y, z


def space_of(profile: bytes) -> Space | None:
    """The colour space that the profile's header names; None where it is not one of SPACES."""
    return SPACES.get(profile[16:20])


def code_points_in(profile: bytes) -> CodePoints | None:
    """The code points of a profile's `cicp` tag (ICC.1:2022, 9.2.17)."""
    place = _tag(profile, b"cicp")
    if place is None or profile[place : place + 4] != b"cicp" or len(profile) < place + 12:
        return None
    return CodePoints(profile[place + 8], profile[place + 9])


def _tag(profile: bytes, name: bytes) -> int | None:
    """Where a tag's data lies."""
    count = int.from_bytes(profile[128:132], "big")
    for at in range(132, min(132 + 12 * min(count, 200), len(profile) - 11), 12):
        if profile[at : at + 4] == name:
            return int.from_bytes(profile[at + 4 : at + 8], "big")
    return None


def _transform(samples: NDArray[Any], source: bytes, space: Space, target: bytes, target_space: Space) -> NDArray[np.uint16]:
    return np.asarray(
        imagecodecs.cms_transform(
            np.ascontiguousarray(samples),
            source,
            target,
            colorspace=space,
            outcolorspace=target_space,
            outdtype="uint16",
            flags=NO_SHORTCUTS,
        )
    )


def readable(profile: bytes | None, space: Space) -> bool:
    """Whether LittleCMS can go from the profile to sRGB: all that a reader needs."""
    if not profile or len(profile) > LARGEST_PROFILE or space_of(profile) != space:
        return False
    sample = np.zeros((1, 1, CHANNELS[space]) if space != "gray" else (1, 1), np.uint8)
    return _goes(sample, profile, space, srgb(), "rgb")


def returnable(profile: bytes, space: Space) -> bool:
    """Whether LittleCMS can go from sRGB to the profile: a scanner's table leads one way only."""
    return _goes(np.zeros((1, 1, 3), np.uint16), srgb(), "rgb", profile, space)


def _goes(sample: NDArray[Any], source: bytes, space: Space, target: bytes, target_space: Space) -> bool:
    try:
        _transform(sample, source, space, target, target_space)
    except imagecodecs.CmsError:
        return False
    return True


def profile_to_srgb(samples: Pixels, profile: bytes, space: Space) -> NDArray[np.uint16]:
    """Samples h w (gray) or h w c in the profile's space -> sRGB, h w 3, 16 bits."""
    return _transform(samples, profile, space, srgb(), "rgb")


def from_srgb(pixels: Pixels, profile: bytes, space: Space) -> NDArray[np.uint16]:
    """sRGB h w 3 -> the profile's space, h w (gray) or h w 3, 16 bits."""
    return _transform(pixels, srgb(), "rgb", profile, space)
