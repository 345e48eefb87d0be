"""TIFF files as tifffile reads them: 8 or 16 unsigned bits, grey, RGB or CMYK, with or without alpha, however they are laid out.

Pillow has no mode for half of these and cuts others to 8 bits. It reads the rest: fewer bits, palettes, YCbCr, LAB, JPEG, fax.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from rddm.image import Depth, Pixels
from service.pictures.colour import CHANNELS, Space
from service.pictures.kinds import BIG_TIFF

SPACES: dict[int, Space] = {0: "gray", 1: "gray", 2: "rgb", 5: "cmyk"}  # by PhotometricInterpretation
WHITE_IS_ZERO = 0
PLAIN_CODES = {1, 5, 8, 32773, 32946, 50000}  # Compression: none, LZW, deflate, PackBits, deflate, Zstandard
ASSOCIATED, STRAIGHT = 1, 2  # ExtraSamples: colours are multiplied by alpha, or not
CENTIMETRES = 2.54
PROFILE, XMP, EXTRA_SAMPLES, INK_SET = 34675, 700, 338, 332


@dataclass(frozen=True, eq=False)
class TiffImage:
    """The first picture of a TIFF. size: width, height; alone: no other follows; info: profile, XMP, dpi under Pillow's names."""

    data: bytes
    tags: ImageFileDirectory_v2
    depth: Depth
    alone: bool

    @classmethod
    def opened(cls, data: bytes) -> "TiffImage | None":
        """None where Pillow is to read it. Raises whatever Pillow's reader of directories raises for damage."""
        tags = ImageFileDirectory_v2(data[: 16 if data[:4] == BIG_TIFF else 8])
        file, first = BytesIO(data), tags.next
        file.seek(first)
        tags.load(file)
        bits, signs = set(tags.get(Base.BitsPerSample, (1,))), set(tags.get(Base.SampleFormat, (1,)))
        plain = tags.get(Base.Compression, 1) in PLAIN_CODES and tags.get(INK_SET, 1) == 1
        if not plain or tags.get(Base.PhotometricInterpretation) not in SPACES or signs != {1} or bits not in ({8}, {16}):
            return None
        return cls(data, tags, 16 if bits == {16} else 8, tags.next in {0, first})

    @property
    def size(self) -> tuple[int, int]:
        return int(self.tags[Base.ImageWidth]), int(self.tags[Base.ImageLength])

    @property
    def space(self) -> Space:
        return SPACES[self.tags[Base.PhotometricInterpretation]]

    @property
    def exif(self) -> Image.Exif:
        """All tags."""
        exif = Image.Exif()
        exif.load(self.data)
        return exif

    @property
    def info(self) -> Mapping[str, Any]:
        unit = CENTIMETRES if self.tags.get(Base.ResolutionUnit, 2) == 3 else 1.0
        dpi = [float(self.tags[tag]) * unit for tag in (Base.XResolution, Base.YResolution) if tag in self.tags]
        return {"icc_profile": self.tags.get(PROFILE), "xmp": self.tags.get(XMP), "dpi": tuple(dpi)}

    def samples(self) -> tuple[Pixels, Pixels | None]:
        """Colour h w (gray) or h w c as they are stored, and alpha h w. What the file calls neither is left out."""
        with tifffile.TiffFile(BytesIO(self.data)) as file:
            page: Any = file.pages[0]
            array: NDArray[Any] = np.asarray(page.asarray())
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
                array = np.moveaxis(array, 0, -1)
        array = array[..., None] if array.ndim == 2 else array
        count = CHANNELS[self.space]
        if array.ndim != 3 or array.shape[2] < count:
            raise ValueError(f"samples of shape {array.shape}")
        alpha, kind = self._alpha(array[..., count:])
        colour = array[..., :count]
        if self.tags[Base.PhotometricInterpretation] == WHITE_IS_ZERO:
            colour = np.iinfo(colour.dtype).max - colour
        if alpha is not None and kind == ASSOCIATED:
            colour = divided(colour, alpha)
        return colour[..., 0] if count == 1 else colour, alpha

    def _alpha(self, further: Pixels) -> tuple[Pixels | None, int]:
        """The first of the further samples that is alpha, and of which kind; the first where the file is silent about them."""
        told = self.tags.get(EXTRA_SAMPLES, (STRAIGHT,) if further.shape[2] else ())
        for index, kind in enumerate(told[: further.shape[2]]):
            if kind in {ASSOCIATED, STRAIGHT}:
                return further[..., index], kind
        return None, 0


def divided(colour: Pixels, alpha: Pixels) -> Pixels:
    """Colours h w c that were multiplied by alpha h w, without it; 0 where nothing shows."""
    top = np.float32(np.iinfo(colour.dtype).max)
    share = np.divide(top, alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0)
    return np.asarray(np.rint(colour * share[..., None]).clip(0, top), colour.dtype)
