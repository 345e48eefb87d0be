"""A picture and its mask as a model is given them."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels, enlarged, prepared, repeated, to_image
from rddm.spec import ModelSpec
from service.errors import InvalidValue
from service.pictures.picture import Picture

Image = NDArray[np.float32]


def check_mask(picture: Picture, spec: ModelSpec) -> None:
    """Raises InvalidValue for a mask that the model does not take, or of another size than the picture."""
    if picture.mask is None:
        return
    check_takes_mask(spec)
    if picture.mask.shape != picture.pixels.shape:
        (rows, columns), (height, width) = picture.mask.shape[:2], picture.size
        raise InvalidValue(f"the mask is {columns} x {rows} pixels and the picture {width} x {height}; expected the same")


def check_takes_mask(spec: ModelSpec) -> None:
    """Raises InvalidValue where the model's condition has no mask."""
    if not spec.takes_mask:
        raise InvalidValue(f"model {spec.name} takes no mask")


def to_model_input(pixels: Pixels, mask: Pixels | None, spec: ModelSpec) -> tuple[Image, Image | None, bytes]:
    """Picture and mask as the model is given them, (1, 3, h, w), and SHA-256 of the pixels, which are a fourth as many bytes.

    A mask that is optional and missing marks nothing: it is 0.
    """
    digest = hashlib.sha256()
    for part in (pixels, mask):
        digest.update(b"-" if part is None else f"{part.shape} {part.dtype} ".encode())
        digest.update(b"" if part is None else np.ascontiguousarray(part).data)
    x_in = to_image(prepared(enlarged(pixels, spec.scale), spec.preprocessing))
    masked = np.zeros_like(x_in) if spec.mask_optional else None
    if mask is not None:
        masked = (to_image(repeated(mask, spec.scale)) + np.float32(1)) / np.float32(2)  # networks take masks in [0, 1]
    return x_in, masked, digest.digest()
