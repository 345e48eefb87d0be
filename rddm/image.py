"""Bytes <-> pixels <-> [-1, 1].

Pixels are h w 3, uint8 or uint16, RGB; an image is float32, 1 3 h w, in [-1, 1]. What a picture carries beside its
pixels (profile, orientation, alpha, metadata) is the service's concern.
"""

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # uint8 or uint16
Depth = Literal[8, 16]

MAXIMA: dict[Depth, int] = {8: 255, 16: 65535}


def to_image(pixels: Pixels) -> NDArray[np.float32]:
    """Pixels h w 3 -> image 1 3 h w in [-1, 1]. Raises ValueError for another shape or type."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected uint8 or uint16 pixels h w 3, got {pixels.dtype} {pixels.shape}")
    scale = np.float32(2 / np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32) * scale - np.float32(1)


def to_mask(pixels: Pixels) -> NDArray[np.float32]:
    """Pixels h w 3 -> a mask 1 3 h w in [0, 1], as networks are given it."""
    return (to_image(pixels) + np.float32(1)) / np.float32(2)


def prepared(pixels: Pixels, steps: Sequence[str]) -> Pixels:
    """Pixels after a spec's preprocessing, in its order. Raises ValueError, with the list, for an unknown step."""
    for step in steps:
        if step not in PREPROCESSING:
            raise ValueError(f"unknown preprocessing {step!r}; expected one of {sorted(PREPROCESSING)}")
        pixels = PREPROCESSING[step](pixels)
    return pixels


def enlarged(pixels: Pixels, scale: int) -> Pixels:
    """Pixels h w 3 by Pillow's bicubic filter as scale h, scale w, 3, of the same type: x_in where spec.scale is not 1."""
    if scale == 1:
        return pixels
    from PIL import Image  # noqa: PLC0415 (most need the numbers of a picture only)

    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    planes = (Image.fromarray(np.ascontiguousarray(pixels[..., c], dtype=np.float32)) for c in range(pixels.shape[2]))
    wide = np.stack([np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes], axis=-1)
    rounded: Pixels = np.rint(wide).clip(0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    return rounded


def equalized(pixels: Pixels) -> Pixels:
    """Each channel's histogram made flat: levels stretched by their cumulative share; for bytes OpenCV's equalizeHist, exactly."""
    return np.stack([_equalized_channel(pixels[..., c]) for c in range(pixels.shape[2])], axis=-1)


def _equalized_channel(channel: Pixels) -> Pixels:
    top = int(np.iinfo(channel.dtype).max)
    counts = np.bincount(channel.ravel(), minlength=top + 1)
    first = int(counts[np.flatnonzero(counts)[0]])
    if channel.size == first:
        return channel
    above = (np.cumsum(counts) - first).clip(0).astype(np.float32)
    table = np.rint(above * (np.float32(top) / np.float32(channel.size - first))).clip(0, top).astype(channel.dtype)
    equal: Pixels = table[channel]
    return equal


def repeated(pixels: Pixels, times: int) -> Pixels:
    """Every pixel repeated times x times: x_in has the size of the answer of a network that enlarges by itself."""
    return np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)


PREPROCESSING: dict[str, Callable[[Pixels], Pixels]] = {
    "equalize_histogram": equalized,
    **{f"repeat_{times}": partial(repeated, times=times) for times in (2, 3, 4, 8)},
}


def to_pixels(image: NDArray[np.float32], depth: Depth = 8) -> Pixels:
    """Image 1 3 h w -> pixels h w 3, clipped to [-1, 1] and rounded. Raises ValueError for another shape or depth."""
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"expected an image 1 3 h w, got {image.shape}")
    if depth not in MAXIMA:
        raise ValueError(f"unknown depth {depth!r}; expected one of {list(MAXIMA)}")
    levels = image[0].clip(-1, 1)
    levels += np.float32(1)
    levels *= np.float32(MAXIMA[depth] / 2)
    planes = np.rint(levels, out=levels).astype(np.uint8 if depth == 8 else np.uint16)
    pixels = np.empty((*planes.shape[1:], 3), planes.dtype)
    for channel, plane in enumerate(planes):  # twice as fast as one transposed copy
        pixels[..., channel] = plane
    return pixels


def decode(data: bytes) -> NDArray[np.uint8]:
    """A picture file that is trusted (training, evaluation) as upright RGB pixels h w 3.

    Raises OSError for what Pillow cannot read, ValueError for samples that are neither of 8 nor of 16 bits.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415

    with Image.open(BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
    if upright.mode[0] in "IF":
        return np.repeat(_to_bytes(np.asarray(upright), upright.mode)[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def _to_bytes(levels: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Grey of 16 bits, which Pillow would cut at 255 instead of scaling it."""
    if mode == "F" or levels.min() < 0 or levels.max() > MAXIMA[16]:
        raise ValueError(f"grey samples of Pillow's mode {mode!r} in {levels.min()}..{levels.max()}; expected 0..{MAXIMA[16]}")
    return np.asarray(np.rint(levels / 257), np.uint8)


def encode(pixels: NDArray[np.uint8], format: str = "png", **options: object) -> bytes:
    """RGB pixels h w 3 as a file of a format that Pillow writes."""
    from PIL import Image  # noqa: PLC0415

    file = BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()
