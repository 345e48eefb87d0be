"""What a picture is judged by: a thumbnail of the whole, six windows at full size, and numbers that need no network.

Training and the service judge by the same, made here. Pixels are h w 3, uint8, of any size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

FAULTS = ("noise", "jpeg", "drops", "rain", "haze", "dark")
THUMBNAIL, WINDOW, ROWS, COLUMNS = 128, 80, 2, 3  # sides in pixels; windows lie in so many rows and columns
BLOCK = 8  # of JPEG, pixels
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
DARK_SIDE = 8  # cells of the dark channel, in pixels of the thumbnail
MAD_TO_DEVIATION = 0.6745  # median of |N(0, 1)|
YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # of JPEG: luma (BT.601), two colours
BT601, TO_YCC = np.array(YCC[0], np.float32), np.array(YCC, np.float32).T
SCALES = 3  # of the grain: 1, 1/2, 1/4

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Views:
    """thumbnail: THUMBNAIL x THUMBNAIL x 3, each pixel a mean of its part of the picture. windows: 6 x WINDOW x WINDOW x 3."""

    thumbnail: Bytes
    windows: Bytes


@dataclass(frozen=True)
class PixelFacts:
    """percentiles: of the luma (BT.601), 0..255, at PERCENTILES. mean: of all values, 0..1.

    dark_channel: the mean over cells of the smallest value in each, 0..1; 0.05 in clear air, more in haze (He et al. 2009).
    noise: deviation of white noise in levels of 255, from the diagonal Haar wavelets' median (Donoho 1994): a colour each.
    grain: the same of luma and the two colour differences, at full, half and quarter size: camera noise is coarse, and coloured
    where clean pictures are smooth. blocks: how much larger steps between pixels are at the borders of 8x8 blocks than elsewhere, 1
    in pictures without them.
    """

    percentiles: tuple[float, ...]
    mean: float
    dark_channel: float
    noise: tuple[float, float, float]
    grain: tuple[float, ...]
    blocks: float

    @property
    def coloured_grain(self) -> float:
        """The mean deviation of both colour differences at half size, in levels: what cameras at a high sensitivity leave."""
        return (self.grain[4] + self.grain[5]) / 2


def views_of(pixels: Bytes) -> Views:
    """Thumbnail and windows. A picture smaller than a window is mirrored at its border."""
    return Views(shrunk(pixels), windows_of(pixels))


def shrunk(pixels: Bytes) -> Bytes:
    """The picture as THUMBNAIL x THUMBNAIL x 3, by means over areas; whole rows and columns are averaged first."""
    from PIL import Image  # noqa: PLC0415 (a gateway that judges no picture does without: 20 ms of its start)

    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0))


def windows_of(pixels: Bytes) -> Bytes:
    """Six windows, 6 x WINDOW x WINDOW x 3, from the middles of two rows and three columns; corners lie on JPEG's 16x16 grid."""
    missing = [(0, max(WINDOW - side, 0)) for side in pixels.shape[:2]]
    whole = np.pad(pixels, (*missing, (0, 0)), mode="symmetric") if any(after for _, after in missing) else pixels
    tops, lefts = (corners(side, count) for side, count in zip(whole.shape[:2], (ROWS, COLUMNS), strict=True))
    return np.stack([whole[top : top + WINDOW, left : left + WINDOW] for top in tops for left in lefts])


def corners(side: int, count: int) -> list[int]:
    """Where `count` windows begin along a side of WINDOW or more pixels."""
    middles = [(2 * k + 1) * side // (2 * count) for k in range(count)]
    return [max(0, min(middle - WINDOW // 2, side - WINDOW)) // 16 * 16 for middle in middles]


def facts_of(views: Views) -> PixelFacts:
    """The numbers, from the views alone: as quick for a large picture as for a small one."""
    small = views.thumbnail.astype(np.float32)
    cells = small.min(2).reshape(THUMBNAIL // DARK_SIDE, DARK_SIDE, THUMBNAIL // DARK_SIDE, DARK_SIDE).min((1, 3))
    red, green, blue = noise_of(views.windows)
    return PixelFacts(
        tuple(float(value) for value in np.percentile(small @ BT601, PERCENTILES)),
        float(small.mean() / 255),
        float(cells.mean() / 255),
        (red, green, blue),
        grain_of(views.windows),
        blocks_of(views.windows),
    )


def noise_of(windows: Bytes) -> tuple[float, float, float]:
    """The noise's deviation in each colour, in levels of 255."""
    red, green, blue = deviations_of(windows.astype(np.float32))
    return red, green, blue


def grain_of(windows: Bytes) -> tuple[float, ...]:
    """The deviations of luma and colour differences at each of SCALES, finest first."""
    planes, deviations = windows.astype(np.float32) @ TO_YCC, list[float]()
    for _ in range(SCALES):
        deviations += deviations_of(planes)
        planes = (planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]) / 4
    return tuple(deviations)


def deviations_of(planes: Floats) -> list[float]:
    """Of white noise in each channel of windows n h w c: the second smallest of the windows, where texture is least."""
    diagonal = planes[:, ::2, ::2] - planes[:, 1::2, ::2] - planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]
    deviations = np.median(np.abs(diagonal), axis=(1, 2)) / (2 * MAD_TO_DEVIATION)
    return [float(value) for value in np.sort(deviations, axis=0)[1]]


def blocks_of(windows: Bytes) -> float:
    """Steps at the borders of blocks over steps elsewhere, wherever the blocks begin: the larger ratio of rows and columns."""
    luma = windows.astype(np.float32) @ BT601
    ratios = []
    for steps in (np.abs(np.diff(luma, axis=1)).mean((0, 2)), np.abs(np.diff(luma, axis=2)).mean((0, 1))):
        phases = np.array([steps[phase::BLOCK].mean() for phase in range(BLOCK)])
        ratios.append(float((phases.max() + 0.1) / (np.median(phases) + 0.1)))
    return max(ratios)


def numbers_of(facts: PixelFacts) -> Floats:
    """The facts as a network is given them: NUMBERS values about -2..2."""
    noise = [np.log(value + 0.3) for value in facts.noise]
    values = [*(value / 128 - 1 for value in facts.percentiles), 2 * facts.mean - 1, 4 * facts.dark_channel - 1, *noise]
    extremes = [np.log(max(facts.blocks, 0.1)), facts.percentiles[-1] / 128 - facts.percentiles[0] / 128 - 1]
    return np.array([*values, *extremes, *(np.log(value + 0.1) for value in facts.grain)], np.float32)


NUMBERS = len(PERCENTILES) + 7 + 3 * SCALES


def inputs_of(views: Views, facts: PixelFacts) -> dict[str, Floats]:
    """What the classifier's graph takes of one picture: thumbnail (1, 3, h, w), windows (1, 6, 3, h, w), numbers (1, n)."""
    return {
        "thumbnail": to_signed(views.thumbnail[None]),
        "windows": to_signed(views.windows)[None],
        "numbers": numbers_of(facts)[None],
    }


def to_signed(pixels: Pixels) -> Floats:
    """Bytes n h w 3 as float32 n 3 h w in [-1, 1]."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) * np.float32(2 / 255) - np.float32(1)
