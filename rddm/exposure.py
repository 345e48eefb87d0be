"""The tone curve by which a low-light network brightens a picture before its convolutions, in NumPy, once a picture.

Training learns it (`training.networks.exposure`, in torch); export moves it out of the graph. It depends on the picture alone, so
the service computes it once a picture rather than in every network call, and gives the network the brightened picture
(`exposed`) and what was seen of the whole (`code`) as parts of its condition.

Per channel c: v -> srgb(gain_c * linear(v)) ^ gamma_c. The gain begins as the one that brings the context's mean to the wanted
one; a small network of the context's statistics learns the rest. The wanted mean is TARGET, or what `Brightness` makes of the
context: how bright the scene probably was, which contrast, noise and highlights tell about.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

ROOT = np.float32(1 / 2.4)  # of the sRGB curve
TARGET, STEP = np.float32(0.43), np.float32(0.5)
STOPS = 18
LEVELS = (0.04, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93)
POOL = 4  # the context is averaged over squares of this side, in linear light
HIDDEN, STATISTICS = 64, 2 + 2 * 3 * (len(LEVELS) + 2)
GUESSING = 32  # values between the two layers of Brightness
DARKEST, BRIGHTEST = np.float32(0.02), np.float32(0.75)  # means that Brightness can give
PART = 1 << 14  # values
FILE_LEVELS = 65535  # of a 16-bit file; the 255 of an 8-bit one are among them


@dataclass(frozen=True, eq=False)
class Exposure:
    """The learned part: two layers from statistics to the code, and one from the code to (shift, log gamma) per channel."""

    first: tuple[Image, Image]  # weight (HIDDEN, STATISTICS), bias
    second: tuple[Image, Image]  # weight (width, HIDDEN), bias
    curve: tuple[Image, Image]  # weight (6, width), bias

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Of base64 of little-endian float32: first, second, curve, each weight then bias.

        Raises ValueError for text that does not hold such layers.
        """
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
        width, rest = divmod(len(values) - HIDDEN * (STATISTICS + 1) - 6, HIDDEN + 1 + 6)
        if rest or width < 1 or not np.isfinite(values).all():
            raise ValueError(f"an exposure of {len(values)} values has no layers from {STATISTICS} statistics to a code")
        shapes = ((HIDDEN, STATISTICS), (HIDDEN,), (width, HIDDEN), (width,), (6, width), (6,))
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        parts = [values[start:end].reshape(shape) for (start, end), shape in zip(pairwise(ends), shapes, strict=True)]
        return cls((parts[0], parts[1]), (parts[2], parts[3]), (parts[4], parts[5]))

    def to_text(self) -> str:
        """The layers as text."""
        return as_text(*self.first, *self.second, *self.curve)

    @property
    def width(self) -> int:
        """Values of the code."""
        return len(self.second[1])

    def of(self, context: Image, brightness: "Brightness | None" = None) -> "Curve":
        """The curve of each picture from its context (b 3 h w in [-1, 1]); the wanted mean is brightness's, or TARGET."""
        scene = Scene.of(context)
        stops, statistics = scene.brought_to(TARGET)
        if brightness is not None:
            stops, statistics = scene.brought_to(brightness.of(statistics))
        code = silu(_dense(self.second, silu(_dense(self.first, statistics))))
        shift, gamma = np.split(_dense(self.curve, code), 2, axis=1)
        return Curve(code, np.exp2(stops + shift), np.exp(gamma))


@dataclass(frozen=True, eq=False)
class Brightness:
    """The learned estimate of how bright the scene was: two layers from the statistics at TARGET to a mean, DARKEST..BRIGHTEST."""

    first: tuple[Image, Image]  # weight (GUESSING, STATISTICS), bias
    second: tuple[Image, Image]  # weight (1, GUESSING), bias

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Of base64 of little-endian float32: first, second, each weight then bias. Raises ValueError for other text."""
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
        shapes = ((GUESSING, STATISTICS), (GUESSING,), (1, GUESSING), (1,))
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        if len(values) != ends[-1] or not np.isfinite(values).all():
            raise ValueError(f"a brightness has {ends[-1]} finite values, not {len(values)}")
        parts = [values[start:end].reshape(shape) for (start, end), shape in zip(pairwise(ends), shapes, strict=True)]
        return cls((parts[0], parts[1]), (parts[2], parts[3]))

    def to_text(self) -> str:
        """The layers as text."""
        return as_text(*self.first, *self.second)

    def of(self, statistics: Image) -> Image:
        """The mean of the sRGB values of each scene, (b 1), from its statistics at TARGET (b STATISTICS)."""
        guess = _sigmoid(_dense(self.second, silu(_dense(self.first, statistics))))
        return np.asarray(DARKEST + (BRIGHTEST - DARKEST) * guess, np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """What a curve is chosen by: the context's pooled linear light (b 3 h w), its root, and its statistics as it is."""

    light: Image
    root: Image
    given: Image

    @classmethod
    def of(cls, context: Image) -> Self:
        """Of b 3 h w in [-1, 1]."""
        light = pooled(over_levels(linear, context))
        root = to_root(light)
        return cls(light, root, described(encoded(light, root)))

    @cached_property
    def means(self) -> Image:
        """The brightness under each gain of the grid, (b STOPS + 1)."""
        gains = np.exp2(STEP * np.arange(STOPS + 1, dtype=np.float32))
        return np.stack([_brightness(self.light * gain, self.root * _power(gain, ROOT)) for gain in gains], 1)

    def stops_to(self, wanted: Image | np.float32) -> Image:
        """log2 of the gain that brings the mean of the encoded light to the wanted one, (b 1), by interpolation on a grid of gains.

        What would clip counts twice, so that a night scene's lights hold the gain down. It is never below 1.
        """
        reached = (wanted - self.means[:, :-1]) / (self.means[:, 1:] - self.means[:, :-1]).clip(1e-5)
        stops: Image = STEP * reached.clip(0, 1).sum(1, keepdims=True)
        return stops

    def brought_to(self, wanted: Image | np.float32) -> tuple[Image, Image]:
        """(stops to the wanted mean, b 1; the statistics there, b STATISTICS)."""
        stops = self.stops_to(wanted)
        gain: Image = np.exp2(stops)[:, :, None, None]
        exposed = encoded(self.light * gain, self.root * _power(gain, ROOT))
        return stops, np.concatenate([stops / 8, exposed.mean((1, 2, 3))[:, None], described(exposed), self.given], 1)


@dataclass(frozen=True, eq=False)
class Curve:
    """What one network sees of each picture's exposure: the code (b width), gain and gamma of each channel (b 3)."""

    code: Image
    gain: Image
    gamma: Image

    def expose(self, image: Image) -> Image:
        """The brightened picture, b 3 h w in [-1, 1], of one in [-1, 1]."""
        exposed = np.empty_like(image)
        for row, channel in np.ndindex(len(image), 3):
            bright = partial(_brightened, *(values[row, channel, None] for values in (self.gain, self.gamma)))
            exposed[row, channel] = over_levels(bright, image[row, channel])
        return exposed

    def plane(self, height: int, width: int) -> Image:
        """The code as one channel, b 1 height width: its first values, row by row, are the code's, the others 0."""
        plane = np.zeros((len(self.code), height * width), np.float32)
        plane[:, : self.code.shape[1]] = self.code
        return plane.reshape(len(self.code), 1, height, width)


@dataclass(frozen=True, eq=False)
class Exposed:
    """A picture (b 3 h w) after its curve, computed where it is looked at: `exposed[..., rows, columns]`, or all as an array."""

    curve: Curve
    image: Image

    def __getitem__(self, place: Any) -> Image:
        return self.curve.expose(self.image[place])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Image:
        return self.curve.expose(self.image).astype(dtype or np.float32, copy=False)


@lru_cache(maxsize=8)
def exposure_of(text: str) -> Exposure:
    """`Exposure.from_text`, kept."""
    return Exposure.from_text(text)


@lru_cache(maxsize=8)
def brightness_of(text: str) -> Brightness:
    """`Brightness.from_text`, kept."""
    return Brightness.from_text(text)


def as_text(*parts: Image) -> str:
    """Arrays, one after another, as base64 of little-endian float32."""
    return base64.b64encode(np.concatenate([part.ravel() for part in parts]).astype("<f4").tobytes()).decode("ascii")


def over_levels(curve: Callable[[Image], Image], image: Image) -> Image:
    """curve(image), pointwise, at the cost of the distinct values where the picture's are those of a file: 256 or 65,536 levels.

    By parts that stay in a core's cache with their indices, which NumPy makes of eight bytes each: half the time of whole planes.
    """
    flat, curved = image.reshape(-1), np.empty(image.size, np.float32)
    values, table = np.full(FILE_LEVELS + 1, np.nan, np.float32), np.zeros(FILE_LEVELS + 1, np.float32)
    for start in range(0, image.size, PART):
        part = flat[start : start + PART]
        index = np.rint((part + 1) * np.float32(FILE_LEVELS / 2)).clip(0, FILE_LEVELS).astype(np.intp)
        if not np.array_equal(known := values.take(index), part):
            new = np.isnan(known)
            values[index[new]] = part[new]
            if not np.array_equal(values.take(index), part):
                return curve(image)
            levels = np.unique(index[new])
            table[levels] = curve(values[levels])
        table.take(index, out=curved[start : start + PART], mode="clip")
    return curved.reshape(image.shape)


def linear(image: Image) -> Image:
    """A picture in [-1, 1] as linear light in 0..1."""
    srgb = ((image + 1) / 2).clip(0, 1)
    bright = _power((srgb.clip(0.04) + np.float32(0.055)) / np.float32(1.055), np.float32(2.4))
    return np.where(srgb <= 0.04045, srgb / np.float32(12.92), bright)


def to_root(light: Image) -> Image:
    """light ** ROOT, kept off zero. That of light times a gain is root times gain ** ROOT."""
    return _power(light.clip(1e-6), ROOT)


def encoded(light: Image, root: Image) -> Image:
    """Linear light and its root as sRGB in 0..1, clipped."""
    return np.where(light <= 0.0031308, np.float32(12.92) * light, np.float32(1.055) * root - np.float32(0.055)).clip(0, 1)


def described(picture: Image) -> Image:
    """Per channel: mean, root mean square and a soft cumulative histogram, (b, 3 (levels + 2))."""
    below = [_sigmoid((np.float32(level) - picture) * 20).mean((2, 3)) for level in LEVELS]
    moments = [picture.mean((2, 3)), np.sqrt((picture**2).mean((2, 3)))]
    return np.stack([*moments, *below], 1).reshape(len(picture), -1)


def pooled(light: Image) -> Image:
    """Means over squares of POOL pixels; what is left over at the edges is not counted."""
    batch, channels, height, width = light.shape
    rows, columns = height // POOL, width // POOL
    squares = light[..., : rows * POOL, : columns * POOL].reshape(batch, channels, rows, POOL, columns, POOL)
    means: Image = squares.mean((3, 5), dtype=np.float32)
    return means


def silu(values: Image) -> Image:
    """v * sigmoid(v)."""
    return values * _sigmoid(values)


def _sigmoid(values: Image) -> Image:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def _dense(layer: tuple[Image, Image], values: Image) -> Image:
    weight, bias = layer
    product: Any = np.einsum("oi,bi->bo", weight, values) + bias  # no BLAS: that rounds as its number of threads wants
    return np.asarray(product, np.float32)


def _brightness(light: Image, root: Image) -> Image:
    """Mean of the encoded picture plus mean of what is lost above white, (b,)."""
    brightness: Image = (encoded(light, root) + (light - 1).clip(0, 1)).mean((1, 2, 3))
    return brightness


def _brightened(gain: Image, gamma: Image, image: Image) -> Image:
    bright = linear(image) * gain
    return _power(encoded(bright, to_root(bright)).clip(1e-4), gamma) * 2 - 1


def _power(values: Image, exponent: Image | np.float32) -> Image:
    powers: Image = np.power(values, exponent, dtype=np.float32)
    return powers
