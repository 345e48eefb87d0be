"""A decoded picture: upright sRGB pixels to work on, and all that is needed to give the result back as the picture came."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.image import Depth, Pixels, repeated
from service.errors import Malformed, TooLarge
from service.pictures.cicp import BT709, Chromaticities
from service.pictures.colour import ColourTags, Space
from service.pictures.formats import PictureFormat


@dataclass(frozen=True)
class Bounds:
    """What a picture may be: pixels in all, and along a side."""

    max_pixels: int
    max_side: int

    def check(self, width: int, height: int) -> None:
        """Raises TooLarge, and Malformed for a picture without content."""
        if width < 1 or height < 1:
            raise Malformed(f"a picture of {width} x {height} pixels has no content")
        if max(width, height) > self.max_side:
            raise TooLarge(f"the picture is {width} x {height} pixels; a side may have at most {self.max_side}")
        if width * height > self.max_pixels:
            raise TooLarge(f"the picture has {width} x {height} = {width * height} pixels; at most {self.max_pixels} are allowed")


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples: colour h w (gray) or h w c (rgb, cmyk), and alpha h w, uint8 or uint16."""

    colour: Pixels
    alpha: Pixels | None
    space: Space


@dataclass(frozen=True, eq=False, kw_only=True)
class BesidePixels:
    """What a picture's file holds beside pixels and colours.

    exif: a TIFF block; xmp: a packet, as it is. dpi: pixels per inch, across and down. lossless: whether the file was compressed
    without loss where its format leaves a choice. gain_map: the further picture that makes this one one of high dynamic range.
    further: names of what else the file holds, see LEFT_OUT. compression: the quality, 1..100, that the quantisation tables of a
    JPEG stand for.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    gain_map: bytes | None = None
    further: tuple[str, ...] = ()
    compression: int | None = None

    def beside_pixels(self) -> dict[str, Any]:
        """These, by name."""
        return {each.name: getattr(self, each.name) for each in fields(BesidePixels)}


@dataclass(frozen=True, eq=False)
class Source(BesidePixels):
    """What a format's reader gives.

    samples: as they are stored. depth: bits of a sample, 8 or 16. colours: what the file says of them. orientation: the EXIF value
    1..8 that turns them upright; None where EXIF says it, as it does in formats whose viewers obey it.
    """

    samples: Samples
    depth: Depth
    colours: ColourTags = field(default_factory=ColourTags)
    orientation: int | None = None


@dataclass(frozen=True, eq=False)
class Outgoing:
    """What a format's writer writes. samples: as they are stored, h w or h w c, alpha last; the rest as in Source.

    chromaticities: of samples with sRGB's curve, for a format without profiles.
    quality: 1..100 or None for the format's own; lossless: True or False, or None for the format's own.
    """

    samples: Pixels
    record: PictureFormat
    profile: bytes | None = None
    chromaticities: Chromaticities = BT709
    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    quality: int | None = None
    lossless: bool | None = None
    gain_map: bytes | None = None

    @property
    def channels(self) -> int:
        """1 to 4."""
        return 1 if self.samples.ndim == 2 else int(self.samples.shape[2])

    @property
    def is_grey(self) -> bool:
        """Whether there is one colour channel."""
        return self.channels < 3


LEFT_OUT = {
    "gain-map": "the picture's high dynamic range, as a further picture",
    "motion-video": "the video of a motion photo",
    "further-pictures": "further pictures of the file: depth, other exposures, larger previews",
    "hdr": "light above diffuse white, which was mapped to what a screen shows",
}


@dataclass(frozen=True, eq=False)
class Picture(BesidePixels):
    """A picture as it is worked on, with what its file held beside the pixels. Without more it is one that came as a plain PNG.

    pixels: h w 3, sRGB, upright, uint8, or uint16 where the file has 16 bits or went through its profile.

    format: the file's, by name; depth: bits of its samples, 8 or 16; grey: it had one colour channel; alpha: upright, h w, at its
    depth; orientation: the EXIF value 1..8 in which its pixels were stored; profile: its ICC profile, if one can go back to it;
    beyond: upright, what sRGB cannot hold of its colours, see service.pictures.colour.beyond_srgb; converted: its numbers meant
    other colours than sRGB and the answer's do not; exposure: the light for which the camera was set, EV at ISO 100, where EXIF
    says it; places: whether the file names any. mask: of the shape of the pixels, where it is to be restored, if one was sent.
    """

    pixels: Pixels
    format: str = "png"
    depth: Depth = 8
    grey: bool = False
    alpha: Pixels | None = None
    orientation: int = 1
    profile: bytes | None = None
    beyond: Pixels | None = None
    converted: bool = False
    exposure: float | None = None
    places: bool = False
    mask: Pixels | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def working_depth(self) -> Depth:
        """Bits in which a result is wanted: a colour profile is applied to 16."""
        return 16 if self.depth == 16 or self.profile is not None else 8

    @property
    def is_plain(self) -> bool:
        """Whether its file left nothing that a sender wrote and that is parsed again to give it back."""
        written = (self.alpha, self.profile, self.exif, self.xmp, self.dpi, self.gain_map)
        return self.orientation == 1 and all(one is None for one in written)

    def facts(self) -> dict[str, Any]:
        """What its file is made of, by name, to make it again elsewhere."""
        return {name: value for name, value in vars(self).items() if value is not None and name != "mask"}

    def with_result(self, pixels: Pixels) -> "Picture":
        """The same with the pixels that a model made of it; where they are more, alpha and mask grow by repetition."""
        scale = pixels.shape[0] // self.size[0]

        def grown(plane: Pixels | None) -> Pixels | None:
            return plane if plane is None or scale == 1 else repeated(plane, scale)

        return replace(self, pixels=pixels, alpha=grown(self.alpha), beyond=grown(self.beyond), mask=grown(self.mask))

    def with_derived(self, pixels: Pixels) -> "Picture":
        """A picture about this one (a residual, a strip): upright, opaque colour in 8 bits, no profile, no metadata."""
        return Picture(pixels, self.format, dpi=self.dpi)

    def without_gain_map(self) -> "Picture":
        """The same, as an answer whose brightness is another: the map would make it wrong."""
        return replace(self, gain_map=None, further=("gain-map", *self.further)) if self.gain_map is not None else self


# EXIF orientation -> stored pixels (h w ...) turned upright; 6 and 8 undo one another, the others themselves.
def _turn(quarter: int) -> Any:
    return lambda a: np.rot90(a, quarter)


UPRIGHT: dict[int, Any] = {
    1: lambda a: a,
    2: np.fliplr,
    3: _turn(2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: _turn(-1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: _turn(1),
}
UNDONE_BY = {orientation: {6: 8, 8: 6}.get(orientation, orientation) for orientation in UPRIGHT}


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored pixels h w ... as a viewer shows them."""
    return np.ascontiguousarray(UPRIGHT[orientation](stored))


def as_stored(shown: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Upright pixels h w ... turned back to how they were stored."""
    return upright(shown, UNDONE_BY[orientation])
