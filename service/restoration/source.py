"""What a request is about: a decoded picture and its mask, and both as a model is given them."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rddm.image import Depth, Pixels, enlarged, prepared, repeated, to_image
from rddm.spec import ModelSpec
from service.errors import InvalidValue
from service.pictures.picture import Picture

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """A decoded picture and its mask, both h w 3."""

    picture: Picture
    mask: Pixels | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.pixels.shape[0], self.picture.pixels.shape[1]

    @property
    def depth(self) -> Depth:
        """Bits in which the result is wanted: a colour profile is applied to 16."""
        return 16 if self.picture.metadata.depth == 16 or self.picture.metadata.profile is not None else 8

    def continued(self, pixels: Pixels) -> "Source":
        """The same with the pixels that a model made of it, for the next one; its mask grows with them."""
        mask = None if self.mask is None else repeated(self.mask, pixels.shape[0] // self.size[0])
        return Source(replace(self.picture, pixels=pixels), mask)

    def check_mask(self, spec: ModelSpec) -> None:
        """Raises InvalidValue for a mask that the model does not take, or of another size than the picture."""
        if self.mask is None:
            return
        check_takes_mask(spec)
        if self.mask.shape != self.picture.pixels.shape:
            (rows, columns), (height, width) = self.mask.shape[:2], self.size
            raise InvalidValue(f"the mask is {columns} x {rows} pixels and the picture {width} x {height}; expected the same")


def check_takes_mask(spec: ModelSpec) -> None:
    """Raises InvalidValue where the model's condition has no mask."""
    if "mask" not in spec.condition:
        raise InvalidValue(f"model {spec.name} takes no mask")


def to_model_input(pixels: Pixels, mask: Pixels | None, spec: ModelSpec) -> tuple[Image, Image | None, bytes]:
    """Picture and mask as the model is given them, (1, 3, h, w), and SHA-256 of the pixels, which are a fourth as many bytes."""
    digest = hashlib.sha256()
    for part in (pixels, mask):
        digest.update(b"-" if part is None else f"{part.shape} {part.dtype} ".encode())
        digest.update(b"" if part is None else np.ascontiguousarray(part).data)
    large = None if mask is None else repeated(mask, spec.scale)
    masked = None if large is None else (to_image(large) + np.float32(1)) / np.float32(2)  # networks take masks in [0, 1]
    return to_image(prepared(enlarged(pixels, spec.scale), spec.preprocessing)), masked, digest.digest()
