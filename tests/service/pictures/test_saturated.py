"""Saturated colours at default quality: what the formats themselves lose, and no more.

Squares of 16 pixels lie side by side, so that a format that halves the resolution of colour (WebP always does) bleeds from one into
the next; away from the borders a few levels go to quantised chroma. libvips, at the same quality, loses as much.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pyvips

from service.pictures.decode import decode
from service.pictures.encode import encode
from service.pictures.formats import FORMATS, FileOptions
from service.pictures.picture import Bounds, Picture

SATURATED = np.array([[[250, 10, 10], [10, 240, 20]], [[15, 10, 250], [245, 240, 5]]], np.uint8)
SQUARES = np.repeat(np.repeat(SATURATED, 16, 0), 16, 1)
BY_VIPS: dict[str, Callable[[Any], bytes]] = {
    "jpeg": lambda image: image.jpegsave_buffer(Q=95, subsample_mode="off"),
    "webp": lambda image: image.webpsave_buffer(Q=95),
}


def middles(pixels: np.ndarray) -> np.ndarray:
    """The four squares' means, off their borders."""
    return np.array([[pixels[r + 5 : r + 11, c + 5 : c + 11].mean((0, 1)) for c in (0, 16)] for r in (0, 16)])


def error(data: bytes) -> float:
    """Levels of the square and channel that is farthest off."""
    return float(np.abs(middles(decode(data, Bounds(10_000, 1000)).pixels) - SATURATED).max())


@pytest.mark.parametrize("kind", sorted(BY_VIPS))
def test_the_default_quality_loses_what_the_format_loses(kind: str) -> None:
    ours = error(encode(Picture(SQUARES), FORMATS[kind]))
    theirs = error(BY_VIPS[kind](pyvips.Image.new_from_array(SQUARES)))
    assert ours <= theirs + 1


@pytest.mark.parametrize("kind", ["webp", "jxl", "png", "tiff"])
def test_nothing_is_lost_where_no_loss_is_asked_for(kind: str) -> None:
    assert error(encode(Picture(SQUARES), FORMATS[kind], FileOptions(lossless=True))) == 0


def test_webp_bleeds_colour_across_a_border_as_its_chroma_is_halved() -> None:
    webp = decode(encode(Picture(SQUARES), FORMATS["webp"]), Bounds(10_000, 1000)).pixels.astype(int)
    jpeg = decode(encode(Picture(SQUARES), FORMATS["jpeg"]), Bounds(10_000, 1000)).pixels.astype(int)
    at_border = (slice(4, 12), slice(15, 17))
    assert np.abs(webp - SQUARES)[at_border].max() > 3 * np.abs(jpeg - SQUARES)[at_border].max()
