"""Pictures to measure with, drawn here: scenes of overlapping discs, darkened as an exposure would, and one that is half lit."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rddm.image import to_image

Floats = NDArray[np.float64]


def scene(height: int, width: int, seed: int = 0, discs: int = 300) -> Floats:
    """Dead leaves: discs of many sizes, shaded and grained, one over the other; h w 3 in 0..1."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.broadcast_to(draw.uniform(0.2, 0.8, 3), (height, width, 3)).copy()
    largest = min(height, width) / 3
    for _ in range(discs):
        radius = largest * draw.uniform(0.03, 1) ** 2
        top, left = draw.uniform(0, height), draw.uniform(0, width)
        rows, columns = _span(top, radius, height), _span(left, radius, width)
        inside = (y[rows, columns] - top) ** 2 + (x[rows, columns] - left) ** 2 < radius**2
        shade = 1 + 0.3 * (x[rows, columns] - left)[..., None] / radius * draw.uniform(-1, 1)
        grain = 1 + draw.uniform(0, 0.1) * draw.standard_normal((*inside.shape, 1))
        picture[rows, columns] = np.where(inside[..., None], draw.uniform(0.05, 0.95, 3) * shade * grain, picture[rows, columns])
    return picture.clip(0, 1)


def _span(centre: float, radius: float, length: int) -> slice:
    return slice(max(0, int(centre - radius)), max(1, min(length, int(centre + radius) + 1)))


def darkened(picture: Floats, stops: Floats | float, seed: int = 0) -> Floats:
    """Fewer stops of exposure in linear light, with shot and read noise; stops is a number or h w 1."""
    draw = np.random.default_rng(seed)
    light = picture**2.2 * 2.0 ** -np.asarray(stops)
    light = light + np.sqrt(light) * 0.01 * draw.standard_normal(light.shape) + 0.001 * draw.standard_normal(light.shape)
    return np.asarray(light.clip(0, 1) ** (1 / 2.2))


def half_lit(height: int, width: int, seed: int = 0) -> Floats:
    """A room of which the left half lies in deep shadow: what one tile sees says nothing of the other half."""
    stops = np.where(np.arange(width) < width / 2, 5.0, 1.0)[None, :, None]
    return darkened(scene(height, width, seed), stops, seed)


def to_x_in(picture: Floats) -> NDArray[np.float32]:
    """h w 3 in 0..1 -> (1, 3, h, w) in [-1, 1], through 8 bits as from a file."""
    return to_image((picture * 255 + 0.5).astype(np.uint8))


def to_png(picture: Floats) -> bytes:
    """The picture as a PNG file."""
    body = BytesIO()
    Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(body, "png", compress_level=1)  # as the callers write theirs
    return body.getvalue()
