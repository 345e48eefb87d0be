"""ICC profiles: into sRGB to work, back into the source's profile to answer. LCMS2 by way of imagecodecs, which keeps 16 bits."""

from functools import cache
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Space = Literal["gray", "rgb", "cmyk"]

SPACES: dict[bytes, Space] = {b"RGB ": "rgb", b"GRAY": "gray", b"CMYK": "cmyk"}
NO_SHORTCUTS = int(imagecodecs.CMS.FLAGS.NOOPTIMIZE)  # the optimised 16-bit path is off by up to 100 levels in the dark
LARGEST_PROFILE = 4 * 1024 * 1024
CHANNELS: dict[Space, int] = {"gray": 1, "rgb": 3, "cmyk": 4}


@cache
def srgb() -> bytes:
    """LCMS2's sRGB profile."""
    return bytes(imagecodecs.cms_profile("srgb"))


def space_of(profile: bytes) -> Space | None:
    """The colour space that the profile's header names; None where it is not one of SPACES."""
    return SPACES.get(profile[16:20])


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


def usable(profile: bytes | None, space: Space) -> bool:
    """Whether LCMS2 can go from the profile to sRGB, and unless it is CMYK back again."""
    if not profile or len(profile) > LARGEST_PROFILE or space_of(profile) != space:
        return False
    sample = np.zeros((1, 1, CHANNELS[space]) if space != "gray" else (1, 1), np.uint8)
    try:
        there = _transform(sample, profile, space, srgb(), "rgb")
        if space != "cmyk":
            _transform(there, srgb(), "rgb", profile, space)
    except imagecodecs.CmsError:
        return False
    return True


def to_srgb(samples: Pixels, profile: bytes, space: Space) -> NDArray[np.uint16]:
    """Samples h w (gray) or h w c in the profile's space -> sRGB, h w 3, 16 bits."""
    return _transform(samples, profile, space, srgb(), "rgb")


def from_srgb(pixels: Pixels, profile: bytes, space: Space) -> NDArray[np.uint16]:
    """sRGB h w 3 -> the profile's space, h w (gray) or h w 3, 16 bits."""
    return _transform(pixels, srgb(), "rgb", profile, space)
