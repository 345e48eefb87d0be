"""A decoded picture: upright sRGB pixels to work on, and all that is needed to give the result back as the picture came."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rddm.image import Depth, Pixels

Policy = Literal["keep", "all", "none"]


@dataclass(frozen=True, eq=False)
class SourceMetadata:
    """What a picture had beside its colours.

    kind: name of its format; depth: bits of a sample, 8 or 16; grey: it had one colour channel; alpha: upright, h w, at its depth;
    orientation: the EXIF value 1..8 in which its pixels were stored; profile: its ICC profile, if usable; exif, xmp: as found;
    dpi: pixels per inch, across and down.
    """

    kind: str
    depth: Depth = 8
    grey: bool = False
    alpha: Pixels | None = None
    orientation: int = 1
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the source left nothing but its kind, depth and greyness: nothing that is parsed again to give it back."""
        return self.orientation == 1 and all(one is None for one in (self.alpha, self.profile, self.exif, self.xmp, self.dpi))

    def facts(self) -> dict[str, Any]:
        """What is known, by name, to make it again elsewhere."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def enlarged_to(self, height: int, width: int) -> "SourceMetadata":
        """The same for a result of this upright size: a model that enlarges gets an alpha that is enlarged by repetition."""
        if self.alpha is None or self.alpha.shape == (height, width):
            return self
        down, across = height // self.alpha.shape[0], width // self.alpha.shape[1]
        return replace(self, alpha=np.repeat(np.repeat(self.alpha, down, 0), across, 1))

    def for_derived_picture(self) -> "SourceMetadata":
        """The same for a picture about this one (a residual, a strip): upright, opaque colour, no profile, no metadata."""
        return replace(self, depth=8, grey=False, alpha=None, orientation=1, profile=None, exif=None, xmp=None)


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: h w 3, sRGB, upright, uint8, or uint16 where the source has 16 bits or went through its profile."""

    pixels: Pixels
    metadata: SourceMetadata


PLAIN = SourceMetadata("png")


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
